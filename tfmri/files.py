"""Files that land whole: written beside their place, flushed to disk, renamed. A crash leaves the old file or none."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def whole_path(path: Path) -> Iterator[Path]:
    """Yields a path beside `path` to write a file to; on leaving, that file is flushed and renamed to `path`.

    The yielded path keeps the suffixes of `path`, since many writers choose a format by it. If the block raises,
    `path` is left as it was and nothing stays behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".writing-", suffix="-" + path.name)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files only their owner can read; a lab shares its results
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yields an empty folder beside `path` to fill; on leaving, it takes the place of whatever is at `path`.

    If the block raises, `path` is left as it was and nothing stays behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".writing-{path.name}-"))
    try:
        for name in ("new", "old"):
            (beside / name).mkdir()  # with the rights of any folder; mkdtemp's is its owner's alone
        yield beside / "new"
        if path.exists():
            path.rename(beside / "old")
        (beside / "new").rename(path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes `data` to `path`, whole or not at all."""
    with whole_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8 to `path`, whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: Path, data: Any) -> None:
    """Writes `data` as indented JSON to `path`, whole or not at all. NaN is refused: it is no JSON."""
    write_text(path, json.dumps(data, indent=2, allow_nan=False) + "\n")


def write_csv(path: Path, table: "pd.DataFrame") -> None:
    """Writes `table` without its index as CSV to `path`, whole or not at all."""
    write_text(path, table.to_csv(index=False))
