"""Room on disks: a node's scratch, runs and cache, quotas of bytes and of the number of files."""

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tfmri.doctor.finding import Finding

LITTLE, NOTHING = 10 * 2**30, 2**30  # bytes that are free
FEW, NONE = 20_000, 1_000  # files that can still be made
FULL = 0.9  # of a quota


def check_writable(about: str, folder: Path) -> Finding:
    """Whether a file can be written in a folder, or in the nearest one above that is there, with its free space.

    Args:
        about: what it is: runs, cache, scratch.
        folder: need not be there yet.
    """
    place = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".tfmri-") as file:
            file.write(bytes(1 << 16))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        advice = f"Use another place ({ELSEWHERE.get(about, 'TMPDIR')}), or free some space"
        return Finding(about, "problem", f"nothing can be written to {place} ({error.strerror})", advice)
    return check_room(about, place)


ELSEWHERE = {"runs": "TFMRI_RUNS", "cache": "TFMRI_CACHE"}  # variables that name another place


def check_room(about: str, place: Path, little: int = LITTLE, few: int = FEW) -> Finding:
    """Whether the disk of a folder has room, in bytes and in files.

    Args:
        about: what it is.
        place: the folder.
        little: bytes, below which it is told.
        few: files, below which it is told.
    """
    disk = os.statvfs(place)
    free, files = (
        disk.f_bavail * disk.f_frsize,
        disk.f_favail if disk.f_files else None,
    )  # some disks do not count files
    shown = f"{_bytes(free)} free in {place}"
    advice = f"tfmri prepare --prune, delete old runs; or another place ({ELSEWHERE.get(about, 'TMPDIR')})"
    if free < little:
        return Finding(about, "problem" if free < min(NOTHING, little) else "note", f"only {shown}", advice)
    if files is not None and files < few:
        found = f"{shown}, but only {files} more files"
        return Finding(about, "problem" if files < min(NONE, few) else "note", found, advice)
    return Finding(about, "ok", shown)


@dataclass(frozen=True)
class Quota:
    """What a person has of a disk, against the limit at which writing fails.

    Args:
        disk: its name.
        used, limit: KB; a limit of 0 is none.
        files, most: their number; a limit of 0 is none.
    """

    disk: str
    used: int
    limit: int
    files: int
    most: int


def check_quota() -> Finding | None:
    """Whether the quotas of this person are nearly met; None where nothing is told of any."""
    if shutil.which("quota") is None:
        return None
    try:  # exits with 1 where one is met
        said = subprocess.run(
            ["quota", "-w", "-p"], capture_output=True, text=True, errors="replace", timeout=30
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    return judge_quotas(parse_quotas(said))


def parse_quotas(text: str) -> list[Quota]:
    """What `quota -w -p` says, a line for each disk; it marks with * what is over."""
    lines = re.findall(
        r"^\s*(\S+)\s+(\d+)\*?\s+(\d+)\s+(\d+)\s+\d+\s+(\d+)\*?\s+(\d+)\s+(\d+)\s+\d+\s*$", text, re.MULTILINE
    )
    return [
        Quota(disk, int(used), int(hard) or int(soft), int(files), int(most) or int(many))
        for disk, used, soft, hard, files, many, most in lines
    ]


def judge_quotas(quotas: list[Quota]) -> Finding | None:
    """The quota that is nearest to its limit; None without any."""
    shares = [(quota.used / quota.limit, "space", quota) for quota in quotas if quota.limit]
    shares += [(quota.files / quota.most, "files", quota) for quota in quotas if quota.most]
    if not shares:
        return None
    share, what, quota = max(shares, key=lambda each: each[0])
    used = f"{_bytes(1024 * quota.used)} of {_bytes(1024 * quota.limit)}"
    shown = f"{used if what == 'space' else f'{quota.files} of {quota.most} files'} on {quota.disk}"
    if share < FULL:
        return Finding("quota", "ok", shown)
    advice = "Delete old runs and caches (tfmri prepare --prune), or keep them elsewhere (TFMRI_RUNS, TFMRI_CACHE)"
    return Finding("quota", "problem" if share >= 1 else "note", shown, advice)


def _bytes(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} TB"
