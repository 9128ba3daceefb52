"""The state from which training goes on as if it had never stopped.

A checkpoint is one `.npz`: every variable of model and optimizer (dropout's seed state is among the model's), the
arrays collected so far in the epoch, and a JSON text with everything else; the file's last 32 bytes are the SHA-256 of
all before. It lands whole or not at all; the last two are kept, and a damaged newest falls back to the one before.
"""

import io
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import numpy as np

from tfmri.errors import InputError, Problem
from tfmri.files import whole_path

KEPT = 2
DIGEST = 32  # bytes
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Args:
        variables: values, in the order of the model's and then the optimizer's variables.
        arrays: named arrays beside them.
        state: plain data.
    """

    variables: list[np.ndarray]
    arrays: dict[str, np.ndarray]
    state: dict[str, Any]


def save(
    folder: Path, step: int, variables: Sequence, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]
) -> None:
    """Writes the checkpoint of `step` (counted over the whole training) and drops all but the last two."""
    entries = {f"variable_{index:05d}": np.asarray(variable) for index, variable in enumerate(variables)}
    entries |= {f"array_{name}": array for name, array in arrays.items()}
    entries["state"] = np.frombuffer(json.dumps(state).encode(), np.uint8)
    for left in folder.glob(".writing-*"):  # by a process that was killed; nobody else writes here
        left.unlink()
    with whole_path(folder / f"step-{step:08d}.npz") as path:
        np.savez(path, allow_pickle=False, **entries)
        with path.open("r+b") as file:
            file.write(file_digest(file, "sha256").digest())
    for old in sorted(folder.glob("step-*.npz"))[:-KEPT]:
        old.unlink()


def exists(folder: Path) -> bool:
    """Whether there is a checkpoint, sound or damaged."""
    return any(folder.glob("step-*.npz"))


def newest_step(folder: Path) -> int:
    """The step, counted over the whole training, of the newest checkpoint; 0 where there is none."""
    return max((int(path.stem.removeprefix("step-")) for path in folder.glob("step-*.npz")), default=0)


def load_newest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that can be read; None where there is none.

    Raises:
        InputError: if there are checkpoints and none can be read.
    """
    path = None
    for path in sorted(folder.glob("step-*.npz"), reverse=True):
        try:
            content = path.read_bytes()
        except OSError as error:
            log.warning("%s cannot be read and is passed over: %s", path, error.strerror)
            continue
        if sha256(content[:-DIGEST]).digest() != content[-DIGEST:]:
            log.warning("%s is damaged and is passed over", path)
            continue
        with np.load(io.BytesIO(content[:-DIGEST]), allow_pickle=False) as archive:
            entries = {name: archive[name] for name in archive.files}
        state = json.loads(entries.pop("state").tobytes())
        return Checkpoint(
            [entries[name] for name in sorted(entries) if name.startswith("variable_")],
            {name.removeprefix("array_"): array for name, array in entries.items() if name.startswith("array_")},
            state,
        )
    if path is not None:
        raise InputError(Problem(str(folder), "no checkpoint here can be read", advice="Begin a new run"))
    return None
