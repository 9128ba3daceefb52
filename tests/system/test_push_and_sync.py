"""`tfmri push` and `tfmri sync` against two real ssh servers on this machine, one of them the way to the other."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest
from two_hosts import (
    MISSING,
    PROGRAM,
    USER,
    Hosts,
    Site,
    connections,
    ctrl_c,
    free_port,
    new_key,
    new_site,
    start_server,
    two_hosts,
    write,
)

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]
RUN = "runs/sex_clf/first run"
EVENTS = f"{RUN}/fits/whole/logs/train/events.out.tfevents.1"


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    with two_hosts(tmp_path_factory.mktemp("hosts")) as hosts:
        yield hosts


@pytest.fixture(scope="module")
def session() -> Iterator[Path]:
    with connections() as session:
        yield session


@pytest.fixture
def site(hosts: Hosts, session: Path, tmp_path: Path) -> Site:
    """Its connections are those of the tests before it, as an afternoon's are."""
    return new_site(hosts, tmp_path, session)


@pytest.fixture
def fresh_site(hosts: Hosts, tmp_path: Path) -> Iterator[Site]:
    """Nobody has been there yet."""
    with connections() as session:
        yield new_site(hosts, tmp_path, session)


def began(run: Path, when: str = "2026-11-01T10:00:00+00:00", host: str = "node1") -> Path:
    """A run that began there and then."""
    write(run / "provenance.json", json.dumps({"started": when, "host": host}))
    return run


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() or path.is_symlink()}


# Code and data there


def test_push_copies_the_code_and_nothing_else(site: Site):
    names = (
        "tfmri/images/read.py",
        "experiments/my own.yaml",
        "it's a file.txt",
        "-n.txt",
        "#a.txt",
        "größe\nzwei.txt",
    )
    for name in names:
        write(site.home / name)
    ignored = (".venv/bin/python", "runs/a/b/history.csv", "cache/x.npy", "data/demo/labels.csv")
    for name in (*ignored, "tfmri/__pycache__/read.pyc"):
        write(site.home / name)

    said = site.tfmri("push")

    assert {"Makefile", *names} <= files(site.cluster)
    assert not files(site.cluster) & {*ignored, "tfmri/__pycache__/read.pyc", "sge/user.mk"}
    assert os.access(site.cluster / "sge/train.sh", os.X_OK)
    assert (site.cluster / "sge/logs").is_dir(), "Grid Engine needs the folder of its logs to be there"
    assert f"ssh -J {USER}@127.0.0.1:{site.hosts.jump.port} -p {site.hosts.login.port} {USER}@127.0.0.1" in said
    assert "make setup EXTRAS=gpu" in said and "tfmri submit sex_clf" in said


def test_what_is_pushed_is_what_git_would_take_and_says_which_commit_it_is(site: Site):
    write(site.home / "tfmri" / "a.py", "first\n")
    write(site.home / "gone.txt")
    write(site.home / "cache" / "kept.txt")
    git = ["git", "-C", str(site.home), "-c", "user.name=A", "-c", "user.email=a@example.org"]
    for arguments in (["init", "-q"], ["add", "-A"], ["add", "-f", "cache/kept.txt"], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *arguments], check=True)
    write(site.home / "tfmri" / "a.py", "second\n")
    write(site.home / "new.yaml")
    (site.home / "gone.txt").unlink()
    site.tfmri("push")
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
    assert (site.cluster / ".revision" / "commit").read_text() == commit
    assert "+second" in (site.cluster / ".revision" / "uncommitted.diff").read_text()
    assert {"cache/kept.txt", "new.yaml"} <= files(site.cluster)
    assert not [name for name in files(site.cluster) if name.startswith((".git/", "gone"))]


def test_a_second_push_brings_changes_and_leaves_what_was_made_there(site: Site):
    write(site.home / "tfmri/cli.py", "first")
    site.tfmri("push")
    made_there = [
        site.cluster / name for name in ("runs/sex_clf/1/history.csv", ".venv/x", "cache/y.npy", "labels.csv")
    ]
    for path in made_there:
        write(path, "made there")
    write(site.home / "tfmri/cli.py", "second")
    write(site.home / "runs/sex_clf/1/history.csv", "another run of the same name")

    site.tfmri("push")

    assert (site.cluster / "tfmri/cli.py").read_text() == "second"
    assert [path.read_text() for path in made_there] == ["made there"] * 4


def test_data_go_with_the_code_when_they_are_named(site: Site):
    scans = site.home.parent / "scans of 'north'"
    write(scans / "labels.csv", "subject,path\ns1,-s1.nii.gz\n")
    write(scans / "-s1.nii.gz", "a scan")
    write(site.home.parent / "disk" / "s2.nii.gz", "another")
    (scans / "s2.nii.gz").symlink_to(site.home.parent / "disk" / "s2.nii.gz")
    write(site.home / "data" / "mine" / "labels.csv", "mine")

    said = site.tfmri("push", "--data", str(scans), "--data", "data/mine")

    there = site.cluster / "data" / "scans of 'north'"
    assert files(there) == {"labels.csv", "-s1.nii.gz", "s2.nii.gz"}
    assert not (there / "s2.nii.gz").is_symlink() and (there / "s2.nii.gz").read_text() == "another"
    assert (site.cluster / "data" / "mine" / "labels.csv").read_text() == "mine"
    assert """submit sex_clf --set data.labels='data/scans of '"'"'north'"'"'/labels.csv'""" in said
    assert "no such file or folder" in site.tfmri("push", "--data", "nowhere", code=2)


# Results home


def test_curves_grow_in_the_file_that_a_reader_has_open_and_results_come_whole(site: Site):
    events, history = site.cluster / EVENTS, site.cluster / RUN / "fits/whole/history.csv"
    events.parent.mkdir(parents=True)
    events.write_bytes(os.urandom(100_000))
    write(history, "epoch\n1\n")
    site.tfmri("sync")
    near = site.home / EVENTS
    inode = near.stat().st_ino

    with near.open("rb") as reader, (site.home / RUN / "fits/whole/history.csv").open() as reader_of_results:
        assert reader.read() == events.read_bytes()
        more = os.urandom(50_000)
        with events.open("ab") as writer:
            writer.write(more)
        history.write_text("epoch\n1\n2\n")
        site.tfmri("sync")
        assert reader.read() == more
        assert reader_of_results.read() == "epoch\n1\n", "what was opened stays what it was"
    assert near.stat().st_ino == inode
    assert near.read_bytes() == events.read_bytes()
    assert (site.home / RUN / "fits/whole/history.csv").read_text() == "epoch\n1\n2\n"


def test_sync_fetches_what_one_looks_at_and_deletes_nothing(site: Site):
    run = began(site.cluster / RUN)
    looked_at = (
        "experiment.yaml",
        "warnings.log",
        "scans.csv",
        "fits/whole/history.csv",
        "fits/whole/learning_curves.png",
        "fits/whole/logs/validation/events.out.tfevents.2",
        "evaluation/test/metrics.json",
        "evaluation/test/report.html",
        'evaluation/test/it\'s "quoted" größe\nzwei.png',
        "evaluation/test/-rf.csv",
        "evaluation/test/explain/maps/s1.nii.gz",
    )
    rest = (
        "fits/whole/checkpoints/state.npz",
        "fits/whole/checkpoints/a.json",
        "fits/whole/model.keras",
        "export/x.pb",
    )
    hidden = ("fits/whole/.writing-k2-history.csv", "fits/whole/.lock")
    for name in (*looked_at, *rest, *hidden):
        write(run / name)
    (run.parent / "latest").symlink_to(run.name)
    write(site.cluster / "sge/logs/tfmri_train.o17", "epoch 1")
    own = write(site.home / "runs/age_reg/2/history.csv", "made at home")
    write(site.home / RUN / "notes.txt", "mine")

    said = site.tfmri("sync")

    assert files(site.home / RUN) == {*looked_at, "provenance.json", "notes.txt"}
    assert not (site.home / RUN / "export").exists()
    assert (site.home / "runs/sex_clf/latest").readlink() == Path(run.name)
    assert (site.home / "sge/logs/tfmri_train.o17").read_text() == "epoch 1"
    assert own.read_text() == "made at home"
    assert "13 files" in said

    site.tfmri("sync", "--weights")
    assert files(site.home / RUN) == {*looked_at, *rest, "provenance.json", "notes.txt"}
    assert "0 files" in site.tfmri("sync", "--weights")


def test_one_run_can_be_fetched_alone(site: Site):
    for name in ("sex_clf/first [a]*", "sex_clf/first b", "age_reg/1"):
        write(began(site.cluster / "runs" / name) / "experiment.yaml")
    (site.cluster / "runs/sex_clf/latest").symlink_to("first [a]*")
    site.tfmri("sync", "--run", "sex_clf/latest")
    fetched = {f"sex_clf/first [a]*/{name}" for name in ("provenance.json", "experiment.yaml")}
    assert files(site.home / "runs") == {*fetched, "sex_clf/latest"}
    site.tfmri("sync", "--run", "age_reg/1")
    assert (site.home / "runs/age_reg/1/experiment.yaml").exists()
    said = site.tfmri("sync", "--run", "age_reg/2", code=2)
    assert "no run of that name" in said and "Did you mean 'age_reg/1'" in said


def test_a_run_of_this_machine_is_not_overwritten_by_one_of_its_name(site: Site):
    write(began(site.cluster / "runs/sex_clf/first") / "history.csv", "theirs")
    write(began(site.cluster / "runs/sex_clf/second") / "history.csv", "theirs")
    (site.cluster / "runs/sex_clf/latest").symlink_to("second")
    write(began(site.home / "runs/sex_clf/first", "2026-11-02T10:00:00+00:00", "laptop") / "history.csv", "ours")
    (site.home / "runs/sex_clf/latest").symlink_to("first")
    said = site.tfmri("sync")
    assert "left out, since another run is here under its name: sex_clf/first" in said
    assert (site.home / "runs/sex_clf/first/history.csv").read_text() == "ours"
    assert (site.home / "runs/sex_clf/second/history.csv").read_text() == "theirs"
    assert (site.home / "runs/sex_clf/latest").readlink() == Path("first"), "it was worked on here"


def test_nothing_from_there_gets_out_of_the_runs(site: Site):
    run = began(site.cluster / RUN)
    outside = write(site.home.parent / "outside" / "history.csv", "mine")
    write(site.cluster / "elsewhere" / "secret.csv", "secret")
    for name, target in {
        "etc": "/etc",
        "up": "../../../..",
        "twisted": "fits/../../../../elsewhere",
        "door": str(outside.parent),
        "history.csv": str(outside),
        "secret.csv": "../../../elsewhere/secret.csv",
    }.items():
        (run / name).symlink_to(target)
    os.mkfifo(run / "pipe.csv")
    for name in ("..hidden.csv", "$(touch x).csv", "`touch y`.csv", ";touch z.csv", "a\\..\\b.csv", "\x1b[31m.csv"):
        write(run / name)
    before = files(site.home.parent / "outside")

    said = site.tfmri("sync", "--weights")

    assert not [path for path in (site.home / "runs").rglob("*") if path.is_symlink()]
    assert {"$(touch x).csv", "`touch y`.csv", ";touch z.csv", "a\\..\\b.csv", "\x1b[31m.csv"} <= files(site.home / RUN)
    assert "left out, links to elsewhere there" in said and "\x1b" not in said
    # what was a link there is a folder and a file now: they must not be written through a link of ours
    for name in ("door", "history.csv"):
        (run / name).unlink()
    write(run / "door" / "history.csv", "theirs")
    write(run / "history.csv", "theirs")
    (site.home / RUN / "history.csv").symlink_to(outside)
    (site.home / "runs" / "linked").symlink_to(outside.parent)
    write(began(site.cluster / "runs" / "linked" / "1") / "history.csv", "theirs")
    assert "left out, since a link is here under its name: linked/1" in site.tfmri("sync")
    assert outside.read_text() == "mine" and files(site.home.parent / "outside") == before
    assert not {"x", "y", "z"} & (files(site.home) | files(site.cluster))


def test_an_interrupted_transfer_goes_on_where_it_stopped(site: Site):
    """A model and an event file of 8 MB at 6 MB a second: Ctrl-C, then a connection that is cut, then to the end."""
    model, events = site.cluster / RUN / "fits/whole/model.keras", site.cluster / EVENTS
    for path in (model, events):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(8_000_000))

    process = site.start("sync", "--weights", "--bwlimit", "6m")
    until(process, lambda: begun(site.home / EVENTS, 1_000_000))
    said = ctrl_c(process)
    assert process.returncode == 130 and "goes on from there" in said and "Traceback" not in said
    came = (site.home / EVENTS).stat().st_size
    assert 0 < came < 8_000_000

    process = site.start("sync", "--weights", "--bwlimit", "6m")
    part = site.home / RUN / "fits/whole"
    until(process, lambda: any(begun(path, 1_000_000) for path in part.glob(".model.keras.*")))
    site.hosts.jump.end_sessions()  # as when a network goes
    said = "".join(process.communicate(timeout=60))
    assert process.returncode == 2 and "the connection was lost" in said and "goes on where" in said
    assert not (part / "model.keras").exists(), "half a model is none"
    assert begun(part / ".rsync-partial" / "model.keras", 500_000)

    said = site.tfmri("sync", "--weights")
    assert (site.home / EVENTS).read_bytes() == events.read_bytes()
    assert (part / "model.keras").read_bytes() == model.read_bytes()
    assert not (part / ".rsync-partial").exists()
    assert float(said.split(" MB")[0].split()[-1]) < 7.9, "what had come was fetched again"


def begun(path: Path, least: int) -> bool:
    return path.exists() and path.stat().st_size > least


def until(process: subprocess.Popen, condition: Callable[[], bool]) -> None:
    """Waits for it to happen while the process runs."""
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def test_watching_goes_on_until_ctrl_c_also_when_a_round_fails(site: Site):
    process = site.start("sync", "--watch", "1")
    assert process.stdout is not None and process.stderr is not None
    assert "no such folder" in process.stderr.readline()
    write(site.cluster / RUN / "experiment.yaml", "seed: 0")
    waited(process.stdout, "1 file,")
    write(site.cluster / RUN / "experiment.yaml", "seed: 0  # again")
    waited(process.stdout, "1 file,")
    waited(process.stdout, "0 files,")
    assert "Traceback" not in ctrl_c(process)
    assert process.returncode in (0, 130)
    assert (site.home / RUN / "experiment.yaml").read_text() == "seed: 0  # again"


def waited(lines: IO[str], words: str) -> None:
    """Reads on until a line holds these words."""
    assert any(words in line for line in lines), "it ended before it said so"


# The way there


def test_each_host_is_logged_in_to_once(fresh_site: Site):
    write(fresh_site.cluster / RUN / "experiment.yaml")
    before = (fresh_site.hosts.login.logins, fresh_site.hosts.jump.logins)
    fresh_site.tfmri("push")
    fresh_site.tfmri("sync")
    fresh_site.tfmri("sync")
    assert (fresh_site.hosts.login.logins, fresh_site.hosts.jump.logins) == (before[0] + 1, before[1] + 1)
    folder = fresh_site.session / "tfmri"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert len([path for path in folder.iterdir() if path.is_socket()]) == 2


def test_ones_own_settings_of_ssh_hold(fresh_site: Site):
    """Names of one's own for the hosts, and one's own way of sharing connections."""
    sockets = fresh_site.session / "mine"
    sockets.mkdir(mode=0o700)
    fresh_site.ssh_settings(
        f"Host big\n  HostName 127.0.0.1\n  Port {fresh_site.hosts.login.port}\n  ProxyJump door",
        f"Host door\n  HostName 127.0.0.1\n  Port {fresh_site.hosts.jump.port}",
        f"Host *\n  User {USER}\n  ControlPath {sockets}/%C",
    )
    settings = (fresh_site.home / "sge/user.mk").read_text().splitlines()
    own = [line for line in settings if line.startswith(("REMOTE", "SSH_CONFIG"))]
    (fresh_site.home / "sge/user.mk").write_text("\n".join([*own, "HOST = big", "JUMP ="]) + "\n")
    before = (fresh_site.hosts.login.logins, fresh_site.hosts.jump.logins)
    fresh_site.tfmri("push")
    fresh_site.tfmri("push")
    assert (fresh_site.hosts.login.logins, fresh_site.hosts.jump.logins) == (before[0] + 1, before[1] + 1)
    assert len(list(sockets.iterdir())) == 2


def test_a_folder_of_sockets_that_others_can_enter_is_refused(fresh_site: Site):
    (fresh_site.session / "tfmri").mkdir(mode=0o755)
    assert "not yours alone" in fresh_site.tfmri("push", code=2)


def said_of(site: Site, *sentences: str, command: str = "sync") -> None:
    """The command fails with one sentence that holds these words."""
    said = site.tfmri(command, code=2)
    for words in sentences:
        assert words in said, said
    assert said.startswith("tfmri: ") and len(said.splitlines()) == 1 and "Traceback" not in said


def test_a_host_that_cannot_be_reached_is_told_with_what_to_do(fresh_site: Site):
    jump = f"{USER}@127.0.0.1:{fresh_site.hosts.jump.port}"
    fresh_site.settings(JUMP="nobody.invalid")
    said_of(fresh_site, "nobody.invalid: no host of that name is known here", "VPN")
    fresh_site.settings(JUMP="", HOST="nobody.invalid")
    said_of(fresh_site, "nobody.invalid: no host of that name is known here", "VPN")
    fresh_site.settings(JUMP=f"{USER}@127.0.0.1:{free_port()}")
    said_of(fresh_site, "refuses the connection", "VPN")
    fresh_site.settings(JUMP=jump, PORT=str(free_port()))
    said_of(fresh_site, f"{jump}, on the way, does not reach it", "PORT")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        fresh_site.ssh_settings("ConnectTimeout 1")
        fresh_site.settings(JUMP="", PORT=str(silent.getsockname()[1]))
        said_of(fresh_site, "does not answer", "VPN")


def test_keys_that_do_not_fit_are_told_with_what_to_do(fresh_site: Site, tmp_path: Path):
    fresh_site.ssh_settings(f"IdentityFile {new_key(tmp_path / 'another')}")
    fresh_site.ssh_config.write_text(
        fresh_site.ssh_config.read_text().replace(f"IdentityFile {fresh_site.hosts.key}\n", "")
    )
    said = fresh_site.tfmri("sync", "--watch", "60", code=2)
    assert "does not let you in" in said and "ssh-copy-id" in said and "LOGIN" in said and len(said.splitlines()) == 1
    fresh_site.ssh_settings()
    right = fresh_site.known_hosts.read_text()
    fresh_site.known_hosts.write_text("")
    said_of(fresh_site, "does not know its key yet", f"ssh {USER}@127.0.0.1:{fresh_site.hosts.jump.port}")
    wrong = (tmp_path / "another.pub").read_text()
    fresh_site.known_hosts.write_text(
        right.splitlines()[1] + "\n" + f"[127.0.0.1]:{fresh_site.hosts.login.port} {wrong}"
    )
    said_of(fresh_site, "its key is not the one it had before", "ssh-keygen -f", "-R")


def test_what_is_missing_there_is_told_with_what_to_do(site: Site, tmp_path: Path):
    said_of(site, "there is no such folder there", "tfmri push")
    site.cluster.mkdir()
    said_of(site, "there are no runs yet")
    write(site.cluster / "runs")
    said_of(site, "there are no runs yet")
    site.settings(REMOTE=f"{site.cluster}/runs/code")
    said_of(site, "the folder cannot be made", "REMOTE", command="push")

    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "mkdir"):
        (programs / name).symlink_to(str(shutil.which(name)))
    talks = 'ForceCommand echo Welcome; eval "$SSH_ORIGINAL_COMMAND"'
    for setting, words in ((f"SetEnv PATH={programs}", "the program rsync is not found there"), (talks, "~/.bashrc")):
        server = start_server(tmp_path, f"odd{len(words)}", site.hosts.key, setting)
        try:
            write(site.known_hosts, site.known_hosts.read_text() + f"[127.0.0.1]:{server.port} {server.public_key}")
            site.settings(PORT=str(server.port))
            said_of(site, words, command="push")
        finally:
            server.process.terminate()
            server.process.wait(10)
    environment = site.environment | {"PATH": str(programs)}
    done = subprocess.run([*PROGRAM, "sync"], cwd=site.home, env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and "not installed here" in done.stderr and "apt install" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a small disk")
@pytest.mark.parametrize("where", ["there", "here"])
def test_a_full_disk_is_told_and_what_came_is_kept(site: Site, where: str):
    disk = site.cluster if where == "there" else site.home / "runs"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=True)
    try:
        if where == "there":
            (site.home / "big.txt").write_bytes(os.urandom(3_000_000))
            said_of(site, f"{USER}@127.0.0.1: ", "no space is left on the disk", "quota", command="push")
        else:
            write(site.cluster / RUN / "a.csv").write_bytes(os.urandom(3_000_000))
            said_of(site, "this machine: no space is left on the disk")
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)  # the rsync there may be about to end
