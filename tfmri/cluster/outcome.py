"""How a job ended, in words: from its entry in Grid Engine's accounting, what it asked for, and the end of its log.

The log stands in where there is no entry yet, or nobody may read the accounting: the job scripts write `... ended with
CODE` as their last line. Where Grid Engine only tells that something killed a job, its memory and time against what it
asked for tell what.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfmri.cluster.accounting import Account

PARTLY, REQUEUE, PREPARE_FAILED = 3, 99, 100  # exit codes
END = 64 * 1024  # bytes of a log that are looked at
ALMOST = 0.9  # of the memory asked for: a process that was killed there wanted more
SPARE = 90  # s before its time is over in which a job has met its end; clocks differ

NODE = {1, 3, 4, 6, 7, 8, 9, 10, 11, 18, 19, 20, 21, 27, 29, 31, 32, 33, 34, 35, 36, 38}  # it could not begin, or broke
AFTER = {12, 13, 14, 15, 16}  # it had ended, and what the cluster does then failed
SAVED = "Stopped and saved. This goes on with it:"  # as training says it
LATER = "Ask again in a minute"
SIGNALS = {129: "HUP", 130: "INT", 138: "USR1", 140: "USR2", 143: "TERM"}
OF_GPU = re.compile(r"CUDA_ERROR_OUT_OF_MEMORY|OOM when allocating.*GPU|Out of memory while trying to allocate", re.I)
OF_NODE = re.compile(
    r"\bMemoryError\b|std::bad_alloc|OOM when allocating|Cannot allocate memory|Unable to allocate [\d.]+ [KMG]iB|"
    r"a worker process died"
)
FULL = re.compile(r"no space is left on the disk|No space left on device|Disk quota exceeded")


@dataclass(frozen=True)
class Asked:
    """What a job asked for.

    Args:
        memory: bytes of the whole job; 0 where it is not known.
        seconds: of its time; 0 where it is not known.
        keys: of the experiment's settings that say so: `cluster`, `cluster.prepare`.
    """

    memory: float
    seconds: float
    keys: str = "cluster"


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Args:
        state: done, again (it saved and is to be run once more), ended (from outside), failed, or unknown.
        kind: of a failure: memory, time, node, disk, settings (a person's mistake), code (a bug); else ''.
        reason: what happened, a sentence without its stop.
        advice: what to do about it; '' for nothing.
    """

    state: str
    kind: str = ""
    reason: str = ""
    advice: str = ""


def outcome(account: Account | None, asked: Asked, log: Path, cancelled: bool = False) -> Outcome:
    """How a job ended that Grid Engine no longer holds.

    Args:
        account: its last entry in the accounting; None where there is none.
        asked: what it asked for.
        log: its log, which need not be there.
        cancelled: whether its person ended it.
    """
    lines = end_of(log)
    if account and account.again and written_code(lines) not in (None, REQUEUE):
        account = None  # it has been run again since, and its entry is still to come
    code = account.exit_status if account else written_code(lines)
    if account is None and code is None:
        return _without_a_trace(cancelled, log)
    assert code is not None
    failed = account.failed if account else 0
    if code == 0 and failed in {0, *AFTER}:
        return Outcome("done")
    if cancelled and (code in {REQUEUE, 137, *SIGNALS} or failed == 25):
        saved = " after it had saved" if SAVED in lines[-20:] or written_code(lines) == REQUEUE else ""
        return Outcome("ended", "", f"tfmri cancel ended it{saved}")
    if failed in NODE or failed in (26, 28):
        return _of_node(account.failure if account else "", failed, account.node if account else "")
    if short := _short_of_something(account, asked, lines, killed=code == 137 or failed in (17, 37, 100)):
        return short
    if code == REQUEUE or failed in (24, 25):
        return Outcome("again", "", "it saved and left, to be run again", "")
    return _of_code(code, lines, log)


def of_error(reason: str, log: Path) -> Outcome:
    """How a job failed that Grid Engine keeps in its error state (Eqw), by the reason that it gives."""
    if str(PREPARE_FAILED) in re.findall(r"exit_status of job start = (\d+)", reason):
        found = _of_code(PREPARE_FAILED, end_of(log), log)
        return Outcome("failed", found.kind, found.reason, found.advice)
    if re.search(r"output file|stdout|stderr", reason):
        return Outcome("failed", "disk", reason, "Look whether the folder of the logs is there, and at your quota")
    return Outcome("failed", "node", reason, "Submit again; should it fail once more, tell the cluster's support")


def end_of(log: Path) -> list[str]:
    """The last lines of a log; none where there is no log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - END))
            return file.read().decode(errors="replace").splitlines()
    except OSError:
        return []


def written_code(lines: Sequence[str]) -> int | None:
    """The exit code of the program as a job script wrote it down last; None while it runs, or if it was killed."""
    for line in reversed(lines):
        if found := re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  tfmri \S+ ended with (\d+)$", line):
            return int(found[1])
        if re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  job \d+, task ", line):
            return None  # begun again since
    return None


def _without_a_trace(cancelled: bool, log: Path) -> Outcome:
    if cancelled:
        return Outcome("ended", "", f"tfmri cancel ended it{'' if log.exists() else ' before it began'}")
    if log.exists():
        return Outcome("unknown", "", "it has ended, and the accounting has no entry of it yet", LATER)
    advice = f"{LATER}. Should it stay so, it was deleted before it began"
    return Outcome("unknown", "", "it is gone, and the accounting has no entry of it", advice)


def _of_node(words: str, failed: int, node: str) -> Outcome:
    where = f"the node {node}" if node else "the node"
    if failed == 26:
        advice = "Look whether sge/logs/ is there, and at your quota"
        return Outcome("failed", "disk", "its log could not be opened", advice)
    if failed == 28:
        advice = "Submit from a folder that the nodes see too"
        return Outcome("failed", "node", f"{where} could not enter the folder of the code", advice)
    advice = "Submit again; should it fail there once more, tell the cluster's support"
    return Outcome("failed", "node", f"{where} could not run it: '{words}'", advice)


def _short_of_something(account: Account | None, asked: Asked, lines: Sequence[str], killed: bool) -> Outcome | None:
    """Memory, disk or time that ran out; None where it was none of them."""
    text = "\n".join(lines[-200:])
    keys, seconds = asked.keys, account.seconds if account else 0.0
    if OF_GPU.search(text):
        advice = "A smaller training.batch_size or image.shape, or a kind of GPU with more (cluster.gpu_type)"
        return Outcome("failed", "memory", "the memory of the GPU did not suffice", advice)
    if FULL.search(text):
        advice = "Free some space (tfmri doctor; tfmri prepare --prune), and submit again"
        return Outcome("failed", "disk", "no space was left on the disk", advice)
    more = f"Ask for more ({keys}.tmem), and submit again"
    if OF_NODE.search(text):
        return Outcome("failed", "memory", f"the memory did not suffice{_against(0, asked.memory)}", more)
    if not killed:
        return None
    if account and asked.seconds and seconds >= asked.seconds - min(SPARE, asked.seconds / 5):
        advice = f"Ask for more ({keys}.h_rt), and submit again: it goes on from its last checkpoint"
        return Outcome("failed", "time", f"its time was over (h_rt, {_clock(asked.seconds)})", advice)
    if account and asked.memory and account.resident >= ALMOST * asked.memory:
        return Outcome("failed", "memory", f"it was killed with{_against(account.resident, asked.memory)}", more)
    if account and account.failed == 37:
        advice = f"Ask for more ({keys}.h_rt, {keys}.tmem)"
        return Outcome("failed", "time", "Grid Engine ended it: it went past its time or memory", advice)
    return None


def _of_code(code: int, lines: Sequence[str], log: Path) -> Outcome:
    """By the exit code of the program, or of the shell around it."""
    own = written_code(lines)
    said = next((line for line in reversed(lines) if line.startswith(("tfmri: ", "sge: "))), "").partition(": ")[2]
    if code == PREPARE_FAILED and own is not None:
        code = own
    if code == PARTLY:
        remark = next((line for line in reversed(lines) if "has not ended" in line or "have not ended" in line), "")
        return Outcome("done", "", remark or "not all is well", f"Its log tells more: {log}")
    if code == 2 and said:
        return Outcome("failed", "settings", said, "Put it right, and submit again")
    if code == 137:
        advice = "If it was not deleted (qdel), it may have wanted more memory, or its node broke. Submit again"
        return Outcome("failed", "killed", "something killed it", advice)
    if code in SIGNALS:
        return Outcome("ended", "", f"a signal ended it (SIG{SIGNALS[code]}), as qdel does", "Submit again")
    if code > 128:
        return Outcome("failed", "code", f"it crashed (signal {code - 128})", f"Its log tells more: {log}")
    raised = next((line for line in reversed(lines) if re.match(r"[\w.]+(Error|Exception|Interrupt)\b", line)), "")
    return Outcome("failed", "code", said or raised or f"it ended with {code}", f"Its log tells more: {log}")


def _against(held: float, asked: float) -> str:
    if not asked:
        return ""
    return f" {held / 2**30:.1f} of the {asked / 2**30:.3g} GB it asked for" if held else f" ({asked / 2**30:.3g} GB)"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 3600}:{int(seconds) % 3600 // 60:02}:{int(seconds) % 60:02}"
