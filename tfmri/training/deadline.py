"""The moment by which training has to have saved and left, such as the end of a Grid Engine job's time (h_rt)."""

import os
import re
import subprocess
from pathlib import Path
from time import time

from tfmri.errors import InputError, Problem

SPARE = 30.0  # s, for leaving and for what a cluster's clocks differ by; of a short time, a tenth of it


class Deadline:
    """Knows when to begin to leave: the deadline less twice the longest save and the longest pause so far.

    Args:
        seconds: from the start of the job (`TFMRI_STARTED`, seconds since 1970), or else of this process; None for no
            deadline.
    """

    def __init__(self, seconds: float | None):
        self.end = None if seconds is None else _start() + seconds
        self.spare = min(SPARE, (seconds or 0.0) / 10)
        self.longest_save = self.longest_pause = 0.0  # s; a pause: a step, or a validation

    def near(self) -> bool:
        """Whether one more step might leave no time to save."""
        if self.end is None:
            return False
        return time() + 2 * self.longest_save + self.longest_pause + self.spare > self.end


def deadline_seconds(given: str | None) -> float | None:
    """Seconds that a process has: as given, else those of the Grid Engine job that it runs in, else None.

    Args:
        given: `HH:MM:SS` or seconds, as Grid Engine writes h_rt.

    Raises:
        InputError: text that is no time.
    """
    if given is not None:
        return _seconds(given, "--deadline")
    job = os.environ.get("JOB_ID")
    if not job:
        return None
    try:
        told = subprocess.run(["qstat", "-j", job], capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None  # not every cluster lets its compute nodes ask
    found = re.search(r"^hard[_ ]resource_list:.*\bh_rt=([0-9:]+)", told, re.MULTILINE)
    return _seconds(found[1], "h_rt") if found else None


def _seconds(text: str, where: str) -> float:
    if not re.fullmatch(r"\d+(:\d{1,2}){0,2}", text):
        raise InputError(Problem(where, f"'{text}' is no time", "HH:MM:SS, or seconds"))
    seconds = 0
    for part in text.split(":"):
        seconds = 60 * seconds + int(part)
    return float(seconds)


def _start() -> float:
    """When the time began that the deadline counts from: a job script says when its job did."""
    return float(os.environ.get("TFMRI_STARTED") or _process_start())


def _process_start() -> float:
    """When this process began, in seconds since 1970: from its entry in /proc, whose ticks count from the boot."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime"))
    return int(boot.split()[1]) + int(fields[19]) / os.sysconf("SC_CLK_TCK")
