"""The command line in a process of its own, forked from one that has TensorFlow and the like imported already.

Importing takes most of the time of a short command. TensorFlow starts its threads at the first operation, so a fork
before that is as good as a process begun from nothing: a training in one has the bits of a training in the other.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PRELOADED = ["tensorflow", "keras", "matplotlib.figure", "sklearn.metrics", "tfmri.workflows.evaluate"]


def tfmri(*arguments: str) -> subprocess.CompletedProcess:
    """Runs `tfmri ARGUMENTS` in the current folder and environment, to its end."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # as `load_tensorflow` sets them, before the import
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with tempfile.TemporaryDirectory() as folder:
        said = [Path(folder) / name for name in ("out", "err")]
        process = context.Process(target=_program, args=(arguments, Path.cwd(), dict(os.environ), said))
        process.start()
        process.join()
        return subprocess.CompletedProcess(arguments, process.exitcode, *(path.read_text() for path in said))


def run(*arguments: str, code: int = 0) -> str:
    """Runs `tfmri ARGUMENTS`, which has to end with `code`; gives all that it said."""
    done = tfmri(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def _program(arguments: tuple[str, ...], folder: Path, environment: dict[str, str], said: list[Path]) -> None:
    for number, path in enumerate(said, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["tfmri", *arguments]
    from tfmri.cli import main

    main()
