"""The jobs that have ended: what `qacct` knows of them.

It reads a file of every job that the cluster ever ran, which takes a while on a busy one: it is asked once for all jobs
that one wants to know of. A job's entry comes some seconds after its end; a job that was deleted before it began has
none, and one that Grid Engine ran again has one for each time. Measured on 8.1.9.
"""

import getpass
import re
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from tfmri.cluster.queue import ask


@dataclass(frozen=True)
class Account:
    """How a job, or a task of one, ran and ended.

    Args:
        number: of the job.
        task: of an array; None of a job that is none.
        failed: Grid Engine's own code of what went wrong, 0 for nothing (man sge_status).
        failure: the same in its words.
        exit_status: of the job script; 128 + n when signal n ended it.
        seconds: it ran for.
        resident: bytes of memory that its largest process held at once.
        virtual: bytes that it had reserved at most.
        node: where it ran.
        ended: when, in Grid Engine's words; '' if it never began.
    """

    number: str
    task: int | None
    failed: int
    failure: str
    exit_status: int
    seconds: float
    resident: float
    virtual: float
    node: str
    ended: str

    @property
    def again(self) -> bool:
        """Whether Grid Engine was to run it again after this."""
        return self.failed in (24, 25)

    def as_json(self) -> dict[str, Any]:
        """What `Account(**...)` makes it of again."""
        return asdict(self)


def accounts(since: datetime, owner: str | None = None) -> list[Account]:
    """The entries of a person's jobs that began since then, oldest first; this person's without an `owner`.

    Raises:
        InputError: there is no qacct here, it may not read its file, or it takes too long.
    """
    begin = since.astimezone().strftime("%Y%m%d%H%M")
    return parse_accounts(ask(["qacct", "-o", owner or getpass.getuser(), "-b", begin, "-j"]))


def parse_accounts(text: str) -> list[Account]:
    """What `qacct -j` says, an entry for each time that a task ran."""
    found = []
    for part in re.split(r"^=+$", text, flags=re.MULTILINE):
        facts = {name: value.strip() for name, value in re.findall(r"^(\w+)[ \t]+(.*)$", part, re.MULTILINE)}
        if "jobnumber" not in facts:
            continue
        task, (failed, _, failure) = facts.get("taskid", ""), facts.get("failed", "0").partition(":")
        ended = facts.get("end_time", "")
        found.append(
            Account(
                number=facts["jobnumber"],
                task=int(task) if task.isdecimal() else None,
                failed=int(failed),
                failure=failure.strip(),
                exit_status=int(facts.get("exit_status", "0").split()[0]),
                seconds=float(facts.get("ru_wallclock", "0").rstrip("s")),
                resident=1024 * _bytes(facts.get("ru_maxrss", "0")),  # which it counts in KB, and prints as bytes
                virtual=_bytes(facts.get("maxvmem", "0")),
                node=facts.get("hostname", "").partition(".")[0],
                ended="" if ended.startswith("-/-") else ended,
            )
        )
    return found


def _bytes(text: str) -> float:
    """`5.234MB`, `0.000B` or a plain number."""
    found = re.fullmatch(r"([\d.]+)([KMGT]?)B?", text)
    return float(found[1]) * 1024 ** ("KMGT".index(found[2]) + 1 if found[2] else 0) if found else 0.0
