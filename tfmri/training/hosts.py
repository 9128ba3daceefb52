"""Several processes that train one model together, a host each: who they are, and which of them this one is."""

import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from tfmri.errors import InputError, Problem

PORT = 29400  # where no port is given


@dataclass(frozen=True)
class Team:
    """The processes that train together.

    Args:
        addresses: `host:port` of each.
        index: of this process among them; the first one writes.
    """

    addresses: tuple[str, ...]
    index: int

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes the run."""
        return self.index == 0

    def join(self) -> None:
        """Says so to TensorFlow, by TF_CONFIG."""
        cluster = {"worker": list(self.addresses)}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": self.index}})


def find_team(hosts: Path | None, index: int | None) -> Team | None:
    """The team that a file or TF_CONFIG tells of; None where this process trains alone.

    Args:
        hosts: a line a host: `name`, `name:port`, or the lines of Grid Engine's $PE_HOSTFILE.
        index: of this host's line, from 0; None to find it by this machine's name.

    Raises:
        InputError: no such file, no host in it, or none or several that are this machine.
    """
    if hosts is None:
        if index is not None:
            raise InputError(Problem("--host-index", str(index), "--hosts FILE with it"))
        return _from_environment()
    if not hosts.is_file():
        raise InputError(Problem("--hosts", f"{hosts}: there is no such file", "a file with a line for each host"))
    lines = [line.split("#")[0].split() for line in hosts.read_text().splitlines()]
    names = [words[0] for words in lines if words]
    if not names:
        raise InputError(Problem(f"--hosts {hosts}", "no host stands in it", "a line for each host: name:port"))
    addresses = tuple(name if ":" in name else f"{name}:{PORT}" for name in names)
    if again := next((each for each in addresses if addresses.count(each) > 1), None):
        raise InputError(Problem(f"--hosts {hosts}", f"{again} stands there twice", "an address for each process"))
    if index is not None and not 0 <= index < len(names):
        raise InputError(Problem("--host-index", str(index), f"0 to {len(names) - 1}, for {len(names)} hosts"))
    found = _own(addresses, hosts) if index is None else index
    return Team(addresses, found) if len(addresses) > 1 else None


def _from_environment() -> Team | None:
    try:
        given = json.loads(os.environ.get("TF_CONFIG") or "{}")
        workers = given.get("cluster", {}).get("worker", [])
        index = int(given["task"]["index"]) if len(workers) > 1 else 0
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        expected = '{"cluster": {"worker": ["a:29400", "b:29400"]}, "task": {"type": "worker", "index": 0}}'
        raise InputError(Problem("TF_CONFIG", f"cannot be read ({error})", expected)) from None
    return Team(tuple(workers), index) if len(workers) > 1 else None


def _own(addresses: tuple[str, ...], hosts: Path) -> int:
    full = socket.gethostname()
    here = {full, full.partition(".")[0], socket.getfqdn()}
    known = [address.rpartition(":")[0] for address in addresses]
    own = [place for place, name in enumerate(known) if name in here or name.partition(".")[0] in here]
    if len(own) != 1:
        found = f"{'none' if not own else len(own)} of {', '.join(known)} is this machine, {full}"
        raise InputError(Problem(f"--hosts {hosts}", found, advice="Say which line this is: --host-index 0, 1, ..."))
    return own[0]
