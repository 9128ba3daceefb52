"""One rsync between this machine and a cluster: what went over, or why it did not."""

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfmri.cluster.site import Site
from tfmri.cluster.ssh import FAILED, last_line, no_connection, ssh
from tfmri.errors import InputError, Problem

WRITING = 11  # rsync: a file could not be read or written
VANISHED = 24  # rsync: files that went while it looked, as temporary ones do
STOPPED = (20, -signal.SIGINT)  # rsync's exit codes after Ctrl-C
FULL = re.compile(r"No space left on device|Disk quota exceeded|\((28|122)\)")
PROGRESS = re.compile(rb"([\d,.]+\w? +\d+% +[\d.]+\w+/s +[\d:]+)")  # bytes, share, speed, time left
AGAIN = "Run the same command again: it goes on where this one stopped"


@dataclass(frozen=True)
class Moved:
    """What went over: how many files, and how many bytes that took; the links that were left out."""

    files: int = 0
    size: int = 0
    links: tuple[str, ...] = ()

    def __add__(self, other: "Moved") -> "Moved":
        return Moved(self.files + other.files, self.size + other.size, self.links + other.links)

    def __str__(self) -> str:
        size = f"{self.size / 1e6:.1f} MB" if self.size >= 1e5 else f"{self.size / 1e3:.1f} kB"
        return f"{self.files} file{'s' * (self.files != 1)}, {size}"


def rsync(
    site: Site, options: Sequence[str], source: str, target: str, listed: bytes = b"", shown: bool = True
) -> Moved:
    """Runs rsync, with its progress on a terminal.

    Raises:
        InputError: it failed.
        KeyboardInterrupt: Ctrl-C, once rsync has put aside what it had of a file.
    """
    with tempfile.TemporaryDirectory() as name:
        said, log, names = (Path(name) / each for each in ("said", "log", "names"))
        names.write_bytes(listed)
        # --protect-args: names reach the rsync there without passing through a shell
        command = ["rsync", "--times", "--compress", "--protect-args", f"--rsh={shlex.join(ssh(site))}", *options]
        command += [f"--log-file={log}", "--log-file-format=%i %b", "--info=name1,nonreg0,symsafe1,progress2"]
        with said.open("wb") as err, names.open("rb") as given:  # no pipe: a connection that stays keeps that open
            process = subprocess.Popen([*command, source, target], stdin=given, stdout=subprocess.PIPE, stderr=err)
            output = _to_its_end(process, shown and sys.stdout.isatty())
        words, logged = (each.read_text(errors="replace") if each.exists() else "" for each in (said, log))
    code = process.returncode
    if code in STOPPED:
        raise KeyboardInterrupt
    if code not in (0, VANISHED):
        raise InputError(_failure(site, code, words, to_there=target.startswith(site.host)))
    sizes = [int(size) for size in re.findall(r"\] [<>]f\S* (\d+)$", logged, re.MULTILINE)]
    links = re.findall(r'ignoring unsafe symlink "(.*)" -> "', output)
    return Moved(len(sizes), sum(sizes), tuple(links))


def _to_its_end(process: subprocess.Popen, shown: bool) -> str:
    """What it prints, its progress shown. Ctrl-C reaches it as well, on a terminal; it then puts files aside."""
    assert process.stdout is not None
    output = b""
    try:
        while chunk := os.read(process.stdout.fileno(), 1 << 16):
            output += chunk
            if shown and (progress := PROGRESS.findall(chunk)):
                print(f"\r{progress[-1].decode()}  ", end="", flush=True)
        process.wait()
    except KeyboardInterrupt:
        try:
            process.communicate(timeout=3)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            process.communicate()
        raise
    finally:
        process.stdout.close()
        if shown:
            print("\r\033[K", end="", flush=True)  # the line is taken back
    return output.decode(errors="replace")


def _failure(site: Site, code: int, said: str, to_there: bool) -> Problem:
    if FULL.search(said):
        return full(site.host if to_there else "this machine")
    if "is your shell clean" in said:
        advice = "Let ~/.bashrc and the like print nothing there where there is no terminal"
        return Problem(site.host, "what your shell there prints is in the way of rsync", advice=advice)
    if code == FAILED and re.search("Permission denied|resolve hostname|verification failed|refused|timed out", said):
        return no_connection(site.host, [], said)
    if code in (FAILED, 10, 12, 30, 35):
        return Problem(site.host, f"the connection was lost ({last_line(said)})", advice=AGAIN)
    if code == WRITING and to_there:  # what the far side says of it may be lost when it breaks off
        return full(site.host, "most likely ")
    failed = [line for line in said.splitlines() if line.startswith("rsync: ")]
    more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    return Problem(site.host, f"not all went over: {last_line(failed[0] if failed else said)}{more}", advice=AGAIN)


def full(where: str, how: str = "") -> Problem:
    """No space there; `how` sure that is."""
    advice = "Free some, look at your quota, and run the same command again: it goes on where this one stopped"
    return Problem(where, f"{how}no space is left on the disk", advice=advice)
