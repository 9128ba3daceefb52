"""`make push` and `make sync` against two real ssh servers on this machine, one of them the way to the other."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
MISSING = [name for name in ("make", "rsync", "ssh", "ssh-keygen") if not shutil.which(name)] + ["sshd"] * (not SSHD)

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]


@dataclass(frozen=True)
class Server:
    port: int
    process: subprocess.Popen
    log: Path


def start_server(directory: Path, name: str, authorized_key: Path) -> Server:
    """An sshd of our own on the loopback interface: own host key, own port, one key allowed in."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    host_key, config, log = directory / f"{name}_key", directory / f"{name}_config", directory / f"{name}.log"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", host_key], check=True)
    config.write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {host_key}\nAuthorizedKeysFile {authorized_key}.pub\nPidFile none\n"
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd started by root insists on it
    process = subprocess.Popen([str(SSHD), "-D", "-f", config, "-E", log])
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return Server(port, process, log)
        time.sleep(0.1)
    process.kill()
    raise RuntimeError(f"sshd did not start: {log.read_text() if log.exists() else 'no log'}")


@dataclass(frozen=True)
class Site:
    """A checkout at home and a folder on the 'cluster', both with blanks in their paths."""

    home: Path
    cluster: Path
    jump_log: Path

    def make(self, *arguments: str) -> subprocess.CompletedProcess:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home)}
        command = ["make", "--no-print-directory", *arguments]
        return subprocess.run(command, cwd=self.home, env=environment, capture_output=True, text=True, timeout=60)

    def succeed(self, *arguments: str) -> None:
        done = self.make(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    servers: list[Server] = []
    try:
        for name in ("login", "jump"):
            servers.append(start_server(tmp_path, name, key))
        login, jump = servers
        known_hosts, ssh_config = tmp_path / "known_hosts", tmp_path / "ssh_config"
        known_hosts.write_text(
            f"[127.0.0.1]:{login.port} {(tmp_path / 'login_key.pub').read_text()}"
            f"[127.0.0.1]:{jump.port} {(tmp_path / 'jump_key.pub').read_text()}"
        )
        ssh_config.write_text(
            f"IdentityFile {key}\nIdentitiesOnly yes\nUserKnownHostsFile {known_hosts}\nBatchMode yes\n"
            "StrictHostKeyChecking yes\n"
        )
        home, cluster = tmp_path / "at home" / "my code", tmp_path / "project space" / "tfmri code"
        cluster.parent.mkdir()
        home.mkdir(parents=True)
        shutil.copy(PROJECT / "Makefile", home)
        shutil.copy(PROJECT / ".gitignore", home)
        shutil.copytree(PROJECT / "sge", home / "sge")
        user = getpass.getuser()
        (home / "sge" / "site.mk").write_text(
            f"HOST = {user}@127.0.0.1\nPORT = {login.port}\nJUMP = {user}@127.0.0.1:{jump.port}\n"
            f"REMOTE = {cluster}\nSSH_OPTIONS = -F {ssh_config}\n"
        )
        yield Site(home, cluster, jump.log)
    finally:
        for server in servers:
            server.process.terminate()
            server.process.wait(10)


def write(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_push_copies_the_code_and_nothing_else(site: Site):
    for name in ("tfmri/images/read.py", "experiments/my own.yaml", "it's a file.txt", "-n.txt"):
        write(site.home / name)
    ignored = (".venv/bin/python", "runs/a/b/history.csv", "cache/x.npy", "data/demo/labels.csv", ".git/config")
    for name in (*ignored, "tfmri/__pycache__/read.pyc"):
        write(site.home / name)

    site.succeed("push")

    assert "Accepted publickey" in site.jump_log.read_text()
    there = {str(path.relative_to(site.cluster)) for path in site.cluster.rglob("*") if path.is_file()}
    assert {"Makefile", "tfmri/images/read.py", "experiments/my own.yaml", "it's a file.txt", "-n.txt"} <= there
    assert not there & {*ignored, "tfmri/__pycache__/read.pyc", "sge/site.mk"}
    assert os.access(site.cluster / "sge/train.sh", os.X_OK)
    assert (site.cluster / "sge/logs").is_dir(), "Grid Engine needs the folder of its logs to be there"


def test_what_is_pushed_says_which_commit_it_is(site: Site):
    write(site.home / "tfmri" / "a.py", "first\n")
    git = ["git", "-C", str(site.home), "-c", "user.name=A", "-c", "user.email=a@example.org"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *arguments], check=True)
    write(site.home / "tfmri" / "a.py", "second\n")
    site.succeed("push")
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
    assert (site.cluster / ".revision" / "commit").read_text() == commit
    assert "+second" in (site.cluster / ".revision" / "uncommitted.diff").read_text()


def test_a_second_push_brings_changes_and_leaves_what_was_made_there(site: Site):
    write(site.home / "tfmri/cli.py", "first")
    site.succeed("push")
    made_there = [
        site.cluster / name for name in ("runs/sex_clf/1/history.csv", ".venv/x", "cache/y.npy", "labels.csv")
    ]
    for path in made_there:
        write(path, "made there")
    write(site.home / "tfmri/cli.py", "second")
    write(site.home / "runs/sex_clf/1/history.csv", "another run of the same name")

    site.succeed("push")

    assert (site.cluster / "tfmri/cli.py").read_text() == "second"
    assert [path.read_text() for path in made_there] == ["made there"] * 4


def test_a_growing_event_file_grows_at_home_in_the_file_that_a_reader_has_open(site: Site):
    name = "runs/sex_clf/first run/fits/whole/logs/train/events.out.tfevents.1"
    far = site.cluster / name
    far.parent.mkdir(parents=True)
    far.write_bytes(os.urandom(100_000))
    site.succeed("sync")
    near = site.home / name
    inode = near.stat().st_ino

    with near.open("rb") as reader:
        assert reader.read() == far.read_bytes()
        more = os.urandom(50_000)
        with far.open("ab") as writer:
            writer.write(more)
        site.succeed("sync")
        assert reader.read() == more
    assert near.stat().st_ino == inode
    assert near.read_bytes() == far.read_bytes()


def test_sync_fetches_results_and_deletes_nothing(site: Site):
    run = site.cluster / "runs/sex_clf/1"
    results = ("evaluation/test/metrics.json", 'evaluation/test/it\'s "quoted".png', "fits/whole/history.csv", "-rf")
    weights = ("fits/whole/checkpoints/state.npz", "fits/whole/model.keras")
    for name in (*results, *weights, "fits/whole/.writing-k2-history.csv"):
        write(run / name)
    (run.parent / "latest").symlink_to("1")
    (run.parent / "elsewhere").symlink_to("/etc")
    own = write(site.home / "runs/age_reg/2/history.csv", "made at home")

    site.succeed("sync")

    here = site.home / "runs/sex_clf"
    fetched = {str(path.relative_to(here / "1")) for path in (here / "1").rglob("*") if path.is_file()}
    assert fetched == set(results)
    assert (here / "latest").readlink() == Path("1")
    assert not (here / "elsewhere").is_symlink(), "a link that leaves the runs must not come home"
    assert own.read_text() == "made at home"

    site.succeed("sync", "WEIGHTS=1")
    assert all((here / "1" / name).is_file() for name in weights)


def test_a_host_that_cannot_be_reached_is_a_failure(site: Site):
    done = site.make("sync", "JUMP=127.0.0.1:1")
    assert done.returncode != 0
    assert "127.0.0.1 port 1" in done.stderr
