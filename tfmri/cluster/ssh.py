"""The way to a cluster: one ssh connection to each host on it, kept open and shared by all that goes there.

A host asks for a password at most once in ten minutes: the first connection to it stays open in the background and the
next ones go through it (ssh's ControlMaster), also those to a jump host, which `-o` would not reach. So it stands in a
settings file that ssh hands on to the ssh it starts for the jump. One's own settings come first in it, and hold.
"""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from tfmri.cluster.site import Site
from tfmri.errors import InputError, Problem
from tfmri.files import write_text

SETTINGS = """\
Include "{own}"
Include /etc/ssh/ssh_config
Host *
    ControlMaster auto
    ControlPath "{sockets}/%C"
    ControlPersist 10m
    ConnectTimeout 15
    ServerAliveInterval 15
    ServerAliveCountMax 4
"""
LONGEST = 104 - 40 - 18  # of a folder of sockets: macOS takes paths of 104 bytes, %C has 40, ssh adds 17 for a moment
UNATTENDED = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=5"]
NOT_LET_IN = "it does not let you in"
FAILED = 255  # ssh's own exit code when there is no connection; else it is that of the command there
VPN = "Where a cluster is not open to everywhere, switch the VPN on, or name its jump host (JUMP = in sge/user.mk)"


def ssh(site: Site) -> list[str]:
    """The words of an ssh to the site; its host comes after them.

    Raises:
        InputError: ssh is not installed.
    """
    jump = ["-J", site.jump] if site.jump else []
    return ["ssh", "-F", str(_settings(site)), *(["-p", str(site.port)] if site.port else []), *jump]


def run_there(site: Site, script: str, unattended: bool = False) -> subprocess.CompletedProcess[str]:
    """Runs a script of the POSIX shell in the home folder on the site's host, whatever one's own shell there is.

    Args:
        site: where.
        script: what.
        unattended: ask nobody for a password, and wait for no host longer than a few seconds.

    Raises:
        InputError: if a host on the way cannot be reached, or does not let us in.
    """
    hops = site.jump.split(",") if site.jump else []
    quick = UNATTENDED if unattended else []
    settings = str(_settings(site))
    for number, hop in enumerate(hops):  # each by itself: what goes wrong behind a jump, ssh does not tell
        before = ["-J", ",".join(hops[:number])] if number else []
        address = hop if hop.startswith("ssh://") else f"ssh://{hop}"
        _run(["ssh", "-F", settings, *quick, *before, address, "exit"], hop, hops[:number], alone=unattended)
    return _run([*ssh(site), *quick, site.host, "sh"], site.host, hops, script, unattended)


def _run(
    command: list[str], host: str, hops: list[str], script: str = "", alone: bool = False
) -> subprocess.CompletedProcess[str]:
    """Runs an ssh; `alone` without a terminal, on which that of a jump host could ask."""
    with tempfile.TemporaryFile("w+", errors="replace") as said:  # no pipe: a connection that stays keeps that open
        done = subprocess.run(
            command,
            input=script,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            errors="replace",
            check=False,
            start_new_session=alone,
        )
        said.seek(0)
        done.stderr = said.read()
    if done.returncode == FAILED:
        raise InputError(no_connection(host, hops, done.stderr))
    return done


def no_connection(host: str, hops: list[str], said: str) -> Problem:
    """Why there is no connection to a host, and what to do, from what ssh said.

    Args:
        host: `user@name`.
        hops: the hosts on the way to it.
        said: ssh's messages.
    """
    way = shlex.join(["ssh", *(["-J", ",".join(hops)] if hops else []), host])
    if "Could not resolve hostname" in said:
        return Problem(host, "no host of that name is known here", advice=f"Look at the spelling. {VPN}")
    if "IDENTIFICATION HAS CHANGED" in said:
        forget = re.search(r"^\s*(ssh-keygen -f .* -R .*)$", said, re.MULTILINE)
        remove = forget[1].strip() if forget else f"ssh-keygen -R {host.rpartition('@')[2]}"
        advice = f"If its administrators say that it has a new key, forget the old one: {remove}"
        return Problem(host, "its key is not the one it had before, so that another may pose as it", advice=advice)
    if "Host key verification failed" in said:
        advice = f"Compare its fingerprint with the published one and say yes to it, once: {way}"
        return Problem(host, "this machine does not know its key yet", advice=advice)
    if "Permission denied" in said or "Too many authentication failures" in said:
        advice = (f"Look at the name (LOGIN = in sge/user.mk) and the password; with a key, unlock it (ssh-add) and "
                  f"bring it there once (ssh-copy-id). To see more: {way}")  # fmt: skip
        return Problem(host, NOT_LET_IN, advice=advice)
    if "Connection refused" in said:
        return Problem(host, "it refuses the connection", advice=f"Look at the port (PORT = in sge/user.mk). {VPN}")
    if re.search("timed out|No route to host|Network is unreachable", said):
        return Problem(host, "it does not answer", advice=VPN)
    if hops and re.search("closed by|stdio forwarding failed", said, re.IGNORECASE):
        advice = "Look at the spelling of the name and at the port (PORT = in sge/user.mk), or try again later"
        return Problem(host, f"{hops[-1]}, on the way, does not reach it", advice=advice)
    return Problem(host, f"the connection failed: {last_line(said) or 'ssh does not say why'}", advice=f"Try: {way}")


def last_line(said: str) -> str:
    """The last line that says something, without what could move the cursor of a terminal."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return "".join(sign if sign.isprintable() else "?" for sign in lines[-1]) if lines else ""


def _settings(site: Site) -> Path:
    """The file of ssh's settings, in a folder that only this person can enter."""
    if not shutil.which("ssh"):
        advice = "Install it (Debian, Ubuntu: sudo apt install openssh-client)"
        raise InputError(Problem("ssh", "the program is not installed here", advice=advice))
    folder = _private_folder()
    own = Path(site.ssh_config).expanduser().absolute() if site.ssh_config else "~/.ssh/config"
    text = SETTINGS.format(own=own, sockets=folder)
    path = folder / f"config-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    if not path.exists():
        write_text(path, text)
    return path


def _private_folder() -> Path:
    """Where the sockets of open connections are: whoever can use one is on the cluster in this person's name."""
    session = os.environ.get("XDG_RUNTIME_DIR", "")
    named = Path(session) / "tfmri"
    folder = named if session and len(os.fsencode(named)) <= LONGEST else Path(f"/tmp/tfmri-{os.geteuid()}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except FileNotFoundError:  # a session that has ended
        folder = Path(f"/tmp/tfmri-{os.geteuid()}")
        folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        advice = "Remove it: open connections to the cluster would be in reach of others"
        raise InputError(Problem(str(folder), "this folder is not yours alone", "one with mode 0700", advice))
    return folder
