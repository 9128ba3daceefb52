"""TensorBoard for this machine alone, which calls the curves of a fit `sex_clf/first/whole/train`.

TensorBoard names curves for the folders that events lie in, and follows links: `runs/` itself would show
`sex_clf/first/fits/whole/logs/train`, and once more below `latest`. So it is given a folder of links of its own, with
the names to be shown, to which events that appear later are added.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from tfmri.errors import InputError, Problem
from tfmri.runs.directory import find_run, runs_root

EVERY = 5  # seconds between looks for new events, as TensorBoard's own
UNNAMED = ("fits", "logs")  # folders that say nothing to a reader


def serve(name: str | None, port: int) -> int:
    """Runs TensorBoard until Ctrl-C. Gives the exit code.

    Args:
        name: the run or experiment to show, all otherwise.
        port: of 127.0.0.1.

    Raises:
        InputError: no such run, or the port is taken.
    """
    root = runs_root().absolute()
    shown = root if name is None else _folder(root, name)
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            advice = f"Open http://127.0.0.1:{port}/, or take another port (BOARD={port + 1}, --port {port + 1})"
            raise InputError(Problem(f"port {port}", "another program answers there already", advice=advice))
    with tempfile.TemporaryDirectory(prefix="tfmri-tensorboard-") as links:
        link_events(shown, root, Path(links))
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", links, "--host", "127.0.0.1"]
        process = subprocess.Popen([*command, "--port", str(port)])
        before = signal.signal(signal.SIGTERM, lambda number, frame: process.terminate())
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    return process.wait(EVERY)
                link_events(shown, root, Path(links))
        except KeyboardInterrupt:
            process.wait()
            return 0
        finally:
            signal.signal(signal.SIGTERM, before)
            process.kill()


def _folder(root: Path, name: str) -> Path:
    """The folder of an experiment or a run, of the run itself for `latest`."""
    folder = root / name
    if name.strip("/") and folder.is_dir() and folder.is_relative_to(root) and ".." not in folder.parts:
        return folder.resolve() if folder.is_symlink() else folder
    return find_run(name).path.absolute()


def link_events(shown: Path, root: Path, links: Path) -> None:
    """Links each event file below `shown`, in a folder named for its place below `root`; takes back what has gone.

    TensorBoard's profiles lie in `plugins/` beside events, and go along.
    """
    for folder, inside, files in os.walk(shown):  # not through links: `latest` is a run that is there already
        inside[:] = [name for name in inside if not name.startswith(".")]
        events = [name for name in files if name.startswith("events.out.tfevents.")]
        place = Path(folder)
        below = place.relative_to(root) if place.is_relative_to(root) else place.relative_to(shown.parent)
        target = links.joinpath(*(part for part in below.parts if part not in UNNAMED))
        for name in (*events, *(["plugins"] if events and "plugins" in inside else [])):
            target.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                (target / name).symlink_to(place / name)
        inside[:] = [name for name in inside if name != "plugins"]
    for link in links.rglob("*"):
        if link.is_symlink() and not link.exists():
            link.unlink()
