"""`tfmri interactive`: a shell, or a command, on a node of the cluster, with GPUs."""

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tfmri.cluster.queue import none_here
from tfmri.cluster.site import Needs, load_site, words
from tfmri.errors import InputError, Problem
from tfmri.experiment.schema import JobTime, Memory

PER_GPU = 4  # GB of memory, where nothing else is asked for


def qrsh(
    gpus: int = 1,
    time: str = "0:30:0",
    memory: str | None = None,
    site: str | None = None,
    wait: bool = False,
    command: Sequence[str] = (),
) -> list[str]:
    """The words of `qrsh` for a session on a node, in the site's way of asking.

    Args:
        gpus: how many; 0 for none.
        time: after which Grid Engine ends it, `HH:MM:SS`.
        memory: of the whole session, such as `16G`; None for 4G a GPU.
        site: of `sge/sites/`; None for the person's.
        wait: until a node is free, in a queue of batch jobs; else it is now or not at all.
        command: what runs there, each word as it is; a shell without one.

    Raises:
        InputError: what cannot be asked for there.
    """
    memory = memory or f"{PER_GPU * max(gpus, 1)}G"
    _check("--memory", memory, Memory, "a number with K, M, G or T: 16G")
    _check("--time", time, JobTime, "HH:MM:SS, such as 2:0:0")
    asked = words(load_site(site), Needs(memory, time, gpus))
    folder = ["-cwd"] if command else []  # a shell begins in the home folder: qrsh refuses -cwd for one
    return ["qrsh", *folder, *(["-now", "no"] if wait else []), *asked, *map(shlex.quote, command)]


def interactive(words: list[str]) -> None:
    """Shows the command, and becomes it: its exit code is that of what ran on the node.

    Raises:
        InputError: there is no Grid Engine here.
    """
    if shutil.which(words[0]) is None:
        raise InputError(none_here(words[0]))
    print(shlex.join(words), file=sys.stderr, flush=True)
    os.execvp(words[0], words)


def _check(option: str, text: str, kind: Any, expected: str) -> None:
    try:
        TypeAdapter(kind).validate_python(text)
    except ValidationError:
        raise InputError(Problem(option, f"'{text}'", expected)) from None
