"""A cluster behind a jump host on this machine: two real ssh servers, a checkout at home, a folder on the cluster."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[2]
SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
MISSING = [name for name in ("git", "make", "rsync", "ssh", "ssh-keygen") if not shutil.which(name)]
MISSING += ["sshd"] * (not SSHD)
USER = getpass.getuser()
PROGRAM = [
    sys.executable,
    "-P",
    "-c",
    "from tfmri.cli import main; main()",
]  # -P: a tfmri/ in the current folder is none


@dataclass(frozen=True)
class Server:
    port: int
    process: subprocess.Popen
    log: Path
    public_key: str

    @property
    def logins(self) -> int:
        return self.log.read_text().count("Accepted publickey")

    def end_sessions(self) -> None:
        """Ends every connection; the server goes on."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGTERM)


def new_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_server(directory: Path, name: str, authorized_key: Path, *settings: str) -> Server:
    """An sshd of our own on the loopback interface: own host key, own port, one key allowed in."""
    port, host_key = free_port(), new_key(directory / f"{name}_key")
    config, log = directory / f"{name}_config", directory / f"{name}.log"
    lines = [
        f"ListenAddress 127.0.0.1:{port}\nHostKey {host_key}\nAuthorizedKeysFile {authorized_key}.pub\nPidFile none",
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no",
        *settings,
    ]
    config.write_text("\n".join(lines) + "\n")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd started by root insists on it
    process = subprocess.Popen([str(SSHD), "-D", "-f", config, "-E", log])
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return Server(port, process, log, host_key.with_suffix(".pub").read_text())
        time.sleep(0.05)
    process.kill()
    raise RuntimeError(f"sshd did not start: {log.read_text() if log.exists() else 'no log'}")


@dataclass(frozen=True)
class Hosts:
    """The login node and the jump host, and the key that both let in."""

    folder: Path
    key: Path
    login: Server
    jump: Server


@contextmanager
def two_hosts(folder: Path) -> Iterator[Hosts]:
    key, servers = new_key(folder / "key"), []
    try:
        for name in ("login", "jump"):
            servers.append(start_server(folder, name, key))
        yield Hosts(folder, key, *servers)
    finally:
        for server in servers:
            server.process.terminate()
            server.process.wait(10)


@dataclass(frozen=True)
class Site:
    """A checkout at home and a folder on the 'cluster', both with what is hard on a shell in their paths."""

    home: Path
    cluster: Path
    hosts: Hosts
    ssh_config: Path
    known_hosts: Path
    session: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH", "LANG")}
        return kept | {"HOME": str(self.home), "XDG_RUNTIME_DIR": str(self.session)}

    def settings(self, **changes: str) -> None:
        """Writes sge/user.mk."""
        lines = {
            "HOST": f"{USER}@127.0.0.1",
            "PORT": str(self.hosts.login.port),
            "JUMP": f"{USER}@127.0.0.1:{self.hosts.jump.port}",
            "REMOTE": str(self.cluster),
            "SSH_CONFIG": str(self.ssh_config),
        }
        text = "".join(f"{name} = {value}\n" for name, value in (lines | changes).items())
        (self.home / "sge" / "user.mk").write_text(text)

    def ssh_settings(self, *first: str) -> None:
        """Writes what is the person's own of ssh's settings; the first of a name holds."""
        lines = [*first, f"IdentityFile {self.hosts.key}", "IdentitiesOnly yes", "BatchMode yes"]
        lines += [f"UserKnownHostsFile {self.known_hosts}", "StrictHostKeyChecking yes"]
        self.ssh_config.write_text("\n".join(lines) + "\n")

    def start(self, *arguments: str) -> subprocess.Popen:
        """`tfmri ARGUMENTS` at home, as a shell starts it: in a process group of its own, that Ctrl-C reaches."""
        return subprocess.Popen(
            [*PROGRAM, *arguments], cwd=self.home, env=self.environment, text=True, process_group=0,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def tfmri(self, *arguments: str, code: int = 0) -> str:
        """Runs `tfmri ARGUMENTS`, which has to end with `code`; gives all that it said."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=60)
        assert process.returncode == code, out + err
        return out + err


def ctrl_c(process: subprocess.Popen) -> str:
    """What a terminal does of Ctrl-C; gives what the program said until it ended."""
    os.killpg(process.pid, signal.SIGINT)
    return "".join(process.communicate(timeout=30))


@contextmanager
def connections() -> Iterator[Path]:
    """A folder for what XDG_RUNTIME_DIR holds of a session; connections that are open in the end are closed."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="tfmri-") as name:  # pytest's paths are too long for sockets
        try:
            yield Path(name)
        finally:
            for path in Path(name).glob("*/*"):  # one that goes through another may have ended with it
                subprocess.run(
                    ["ssh", "-o", f"ControlPath={path}", "-O", "exit", "x"], capture_output=True, check=False
                )


def new_site(hosts: Hosts, folder: Path, session: Path) -> Site:
    home, cluster = folder / "at home" / "my code", folder / 'it\'s a "project" $HOME' / "tfmri code"
    home.mkdir(parents=True)
    cluster.parent.mkdir()
    for name in ("Makefile", ".gitignore"):
        shutil.copy(PROJECT / name, home)
    shutil.copytree(PROJECT / "sge", home / "sge", ignore=shutil.ignore_patterns("user.mk"))
    known_hosts = folder / "known_hosts"
    servers = (hosts.login, hosts.jump)
    known_hosts.write_text("".join(f"[127.0.0.1]:{server.port} {server.public_key}" for server in servers))
    site = Site(home, cluster, hosts, folder / "ssh_config", known_hosts, session)
    site.settings()
    site.ssh_settings()
    return site


def write(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
