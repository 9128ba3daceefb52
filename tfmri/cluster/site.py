"""What a Grid Engine cluster is like: a file of `sge/sites/`, with what is the person's own on top of it.

    sge/sites/comic.yaml    a site: its hosts, its folders, and how jobs ask for memory, time, GPUs there
    sge/sites/comic.sh      what a job on its nodes begins with, where there is something: Python, scratch
    sge/user.mk             lines `NAME = value` that are the person's own; git ignores it, `make` reads it too:
                            SITE, LOGIN (the name on the cluster), and in place of the site's own HOST, JUMP
                            (empty for none), PORT, REMOTE (its `folder`), REMOTE_RUNS, SSH_CONFIG

The site is that of `--site`, else of `TFMRI_SITE`, else of `SITE` in `sge/user.mk`, else comic.
"""

import getpass
import os
import re
import shlex
from dataclasses import dataclass
from typing import Literal

from pydantic import field_validator

from tfmri.errors import InputError, Problem, did_you_mean
from tfmri.experiment.load import read_settings, validate_as
from tfmri.experiment.schema import Count, JobTime, Memory, Section, bytes_of, seconds_of
from tfmri.project import in_project

DEFAULT = "comic"
OWN = {  # sge/user.mk -> site
    "HOST": "host",
    "JUMP": "jump",
    "PORT": "port",
    "REMOTE": "folder",
    "REMOTE_RUNS": "runs",
    "SSH_CONFIG": "ssh_config",
}


class Ask(Section):
    """How a job asks for what it needs: words of qsub, in which {...} is filled in; empty where nobody asks for it."""

    memory: str = "-l h_vmem={memory}"
    memory_per: Literal["slot", "job"] = "slot"  # what {memory} is of
    time: str = "-l h_rt={time}"
    gpu: str = "-l gpu=1"  # one of them
    gpus: str = "-l gpu={gpus}"  # several
    slots_per_gpu: Count | None = None  # where a parallel environment gives the GPUs, what each counts as; else none
    gpu_type: str = ""
    slots: str = "-pe smp {slots}"  # several processors
    scratch: str = ""  # disk of the node
    other: str = ""  # of every job: a project, a queue

    @field_validator("memory", "time", "gpu", "gpus", "gpu_type", "slots", "scratch", "other")
    @classmethod
    def _fills_in(cls, words: str) -> str:
        known = {"memory", "time", "gpus", "gpu_type", "slots", "scratch"}
        if unknown := set(re.findall(r"\{(.*?)\}", words)) - known:
            raise ValueError(f"nothing is filled in for {{{min(unknown)}}}; expected {', '.join(sorted(known))}")
        return words


class Limits(Section):
    """The most that a job may ask for; none where it is not known."""

    gpus: Count | None = None
    memory: Memory | None = None  # of a whole job
    time: JobTime | None = None


class Site(Section):
    """A cluster, as a person reaches and uses it. In hosts and folders {user} is the name on the cluster."""

    name: str = ""
    host: str  # where jobs are submitted
    jump: str | None = None  # through which host it is reached
    port: Count | None = None  # of the host's ssh
    folder: str = "tfmri"  # the code there: below the home folder, or absolute
    runs: str | None = None  # the runs there; none: `runs` in the folder
    ssh_config: str | None = None  # ssh's settings on this machine; none: ~/.ssh/config
    ask: Ask = Ask()
    limits: Limits = Limits()


@dataclass(frozen=True)
class Needs:
    """What a job needs.

    Args:
        memory: of the whole job, such as `16G`.
        time: `HH:MM:SS`.
        gpus: how many.
        slots: processors.
        gpu_type: which kinds of GPU, in the site's words: `!(titanxp|gtx1080ti)`; '' for any.
        scratch: disk on the node, such as `20G`; '' for none.
    """

    memory: str
    time: str
    gpus: int = 0
    slots: int = 1
    gpu_type: str = ""
    scratch: str = ""


def load_site(name: str | None = None) -> Site:
    """The site of that name, or the person's, with hosts and folders as they are for this person.

    Raises:
        InputError: no such site, or a file that cannot be.
    """
    own = own_settings()
    name = name or os.environ.get("TFMRI_SITE") or own.get("SITE") or DEFAULT
    folder = in_project("sge/sites")
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = sorted(file.stem for file in folder.glob("*.yaml"))
        expected = f"one of {', '.join(known)}" if known else "a file of sge/sites/: work in the folder of the code"
        raise InputError(Problem(f"site '{name}'", f"there is no {path}", expected, did_you_mean(name, known)))
    site = validate_as(Site, read_settings(path) | {"name": name}, str(path))
    changes = {key: own[name] or None for name, key in OWN.items() if own.get(name) or (name == "JUMP" and name in own)}
    site = validate_as(Site, site.model_dump() | changes, str(path))
    user = own.get("LOGIN") or getpass.getuser()
    for_user = {key: text.replace("{user}", user) for key in ("host", "jump", "folder", "runs")
                if isinstance(text := getattr(site, key), str)}  # fmt: skip
    return site.model_copy(update=for_user)


def own_settings() -> dict[str, str]:
    """The lines of `sge/user.mk`: what is the person's own.

    Raises:
        InputError: a line that is no `NAME = value`.
    """
    path, found = in_project("sge/user.mk"), {}
    for number, line in enumerate(path.read_text().splitlines() if path.is_file() else [], start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        name, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"[A-Z_]+", name.rstrip(" :?")):
            raise InputError(Problem(f"{path}, line {number}", f"'{text}'", "NAME = value"))
        found[name.rstrip(" :?")] = value.strip()
    return found


def words(site: Site, needs: Needs) -> list[str]:
    """What of qsub's (or qrsh's) words asks for the needs of a job there.

    Memory counts per slot on many sites: it is then divided by the slots the job gets, rounded up to whole megabytes.

    Raises:
        InputError: more than the site's limits.
    """
    _check(site, needs)
    ask = site.ask
    slots = needs.gpus * ask.slots_per_gpu if needs.gpus > 1 and ask.slots_per_gpu else needs.slots
    parts = slots if ask.memory_per == "slot" else 1
    filled = {
        "memory": f"{-(-bytes_of(needs.memory) // (parts * 2**20)):.0f}M" if parts > 1 else needs.memory,
        "time": needs.time,
        "gpus": str(needs.gpus),
        "gpu_type": needs.gpu_type,
        "slots": str(needs.slots),
        "scratch": needs.scratch,
    }
    asked = [
        ask.memory,
        ask.time,
        ask.gpu if needs.gpus == 1 else ask.gpus if needs.gpus else "",
        ask.gpu_type if needs.gpus and needs.gpu_type else "",
        ask.slots if needs.slots > 1 and slots == needs.slots else "",
        ask.scratch if needs.scratch else "",
        ask.other,
    ]
    return [re.sub(r"\{(\w+)\}", lambda found: filled[found[1]], word) for each in asked for word in shlex.split(each)]


def _check(site: Site, needs: Needs) -> None:
    where, limits = f"cluster (site {site.name})", site.limits
    if limits.gpus is not None and needs.gpus > limits.gpus:
        raise InputError(Problem(f"{where}, gpus", str(needs.gpus), f"at most {limits.gpus}"))
    if limits.memory is not None and bytes_of(needs.memory) > bytes_of(limits.memory):
        raise InputError(Problem(f"{where}, memory", needs.memory, f"at most {limits.memory}"))
    if limits.time is not None and seconds_of(needs.time) > seconds_of(limits.time):
        raise InputError(Problem(f"{where}, h_rt", needs.time, f"at most {limits.time}"))
