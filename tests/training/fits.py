"""Runs `synthetic.fit` in processes of their own, forked from one that has imported TensorFlow and not yet used it.

TensorFlow starts its threads at the first operation, hence such a fork is sound; each child sets up its own devices.
"""

import multiprocessing
import os
import sys
import traceback
from pathlib import Path

import numpy as np
import pandas as pd
import synthetic

TIMINGS = ["seconds", "waiting", "volumes_per_second"]
PRELOADED = [
    "tfmri.training.loop",
    "tfmri.augment.apply",
    "tfmri.models.sfcn",
    "tfmri.tasks.classification",
    "tfmri.training.callbacks.best_model",
]


def start(function, folder: Path, *arguments, environment=None, **settings) -> multiprocessing.Process:
    """Begins `function(folder, ...)` in a process of its own; what it says goes to FOLDER/said.txt."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    Path(folder).mkdir(parents=True, exist_ok=True)
    process = context.Process(target=_child, args=(function, folder, arguments, environment or {}, settings))
    process.start()
    return process


def end(process: multiprocessing.Process, folder: Path, code: int | None = 0) -> int:
    """Waits for it, and has it leave with `code` (None: with any)."""
    process.join(300)
    if process.is_alive():
        process.kill()
    said = (Path(folder) / "said.txt").read_text()[-4000:]
    assert code is None or process.exitcode == code, f"{process.exitcode}: {said}"
    return process.exitcode


def fit(folder: Path, code: int = 0, **settings) -> tuple[dict[str, np.ndarray], pd.DataFrame | None]:
    """Runs a fit to its end; gives its variables by name and its history."""
    end(start(synthetic.fit, folder, **settings), folder, code)
    return result(folder)


def result(folder: Path) -> tuple[dict[str, np.ndarray], pd.DataFrame | None]:
    """Variables by name, and the history without what a clock tells."""
    history = pd.read_csv(folder / "history.csv").drop(columns=TIMINGS) if (folder / "history.csv").exists() else None
    return dict(np.load(folder / "weights.npz")), history


def _child(function, folder, arguments, environment, settings):
    said = os.open(Path(folder) / "said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.environ.update(environment)
    try:
        code = function(folder, *arguments, **settings)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    os._exit(code or 0)
