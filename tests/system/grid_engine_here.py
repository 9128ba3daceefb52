"""A real Grid Engine of one node on this machine, shaped like a GPU cluster, with ports and folders of its own.

Complexes `gpu`, `gpu_type`, `tmem`, `tscratch`; parallel environments `gpu` and `smp`; one queue with four slots. It
takes the programs of Debian's gridengine-master, gridengine-exec and gridengine-client, and runs as the calling user.
"""

import getpass
import os
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LIBRARY, SHARED = Path("/usr/lib/gridengine"), Path("/usr/share/gridengine")
MISSING = [name for name in ("qsub", "qconf", "qstat", "qacct", "qdel") if not shutil.which(name)]
MISSING += ["sge_qmaster"] * (not (LIBRARY / "sge_qmaster").exists())
COMPLEXES = """\
gpu gpu BOOL == YES NO 0 0
tmem tmem MEMORY <= YES YES 0 0
tscratch tscratch MEMORY <= YES YES 0 0
gpu_type gpu_type RESTRING == YES NO NONE 0
"""
PARALLEL = """\
pe_name {name}
slots 8
user_lists NONE
xuser_lists NONE
start_proc_args NONE
stop_proc_args NONE
allocation_rule $pe_slots
control_slaves FALSE
job_is_first_task TRUE
urgency_slots min
accounting_summary FALSE
qsort_args NONE
"""
QUEUE = {
    "qname": "all.q",
    "hostlist": "@allhosts",
    "slots": "4",
    "pe_list": "gpu smp",
    "rerun": "TRUE",
    "notify": "00:00:10",
    "shell": "/bin/bash",
    "load_thresholds": "NONE",
    "min_cpu_interval": "00:00:05",
}
SCHEDULER = {"schedule_interval": "0:0:1", "flush_submit_sec": "1", "flush_finish_sec": "1"}


@contextmanager
def grid_engine(folder: Path) -> Iterator[dict[str, str]]:
    """Inside, it runs; gives the variables by which its programs find it."""
    ports = _free_ports()
    variables = {
        "SGE_ROOT": str(folder),
        "SGE_CELL": "default",
        "SGE_QMASTER_PORT": ports[0],
        "SGE_EXECD_PORT": ports[1],
    }
    environment = os.environ | variables

    def call(*command: str | Path, check: bool = True) -> str:
        done = subprocess.run(
            [str(word) for word in command], env=environment, cwd=folder, capture_output=True, text=True
        )
        assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def answers(*command: str, seconds: int = 30) -> None:
        for _ in range(10 * seconds):
            if subprocess.run(command, env=environment, capture_output=True).returncode == 0:
                return
            time.sleep(0.1)
        raise RuntimeError(f"no answer in {seconds} s: {' '.join(command)}")

    def given(name: str, text: str) -> Path:
        (folder / name).write_text(text)
        return folder / name

    _make_cell(folder, call, given)
    try:
        call(LIBRARY / "sge_qmaster")
        answers("qconf", "-sh")
        call("qconf", "-ah", "localhost", check=False)
        call("qconf", "-as", "localhost", check=False)
        call(LIBRARY / "sge_execd")
        call("qconf", "-Mc", given("complexes", call("qconf", "-sc") + COMPLEXES))
        for name in ("gpu", "smp"):
            call("qconf", "-Ap", given(f"pe-{name}", PARALLEL.format(name=name)))
        call("qconf", "-Ahgrp", given("hosts", "group_name @allhosts\nhostlist localhost\n"))
        call("qconf", "-Aq", given("queue", _changed(call("qconf", "-sq"), QUEUE)))
        answers("qconf", "-se", "localhost")
        has = "gpu=TRUE,tmem=64G,tscratch=10G,gpu_type=rtx4090"
        call("qconf", "-aattr", "exechost", "complex_values", has, "localhost")
        call("qconf", "-Msconf", given("scheduler", _changed(call("qconf", "-ssconf"), SCHEDULER)))
        yield variables
    finally:
        call("qdel", "-f", "-u", getpass.getuser(), check=False)
        call("qconf", "-ke", "localhost", check=False)
        time.sleep(1)
        call("qconf", "-km", check=False)
        _gone(folder)


def _make_cell(folder: Path, call, given) -> None:
    user, common = getpass.getuser(), folder / "default" / "common"
    for path in (
        common,
        folder / "spool" / "qmaster" / "job_scripts",
        folder / "spool" / "spooldb",
        folder / "spool" / "execd",
    ):
        path.mkdir(parents=True)
    (folder / "util").symlink_to(SHARED / "util")
    for name in ("bin", "lib", "utilbin"):
        (folder / name).symlink_to(Path("/var/lib/gridengine") / name)
    bootstrap = {
        "admin_user": user,
        "default_domain": "none",
        "ignore_fqdn": "true",
        "spooling_method": "berkeleydb",
        "spooling_lib": "libspoolb",
        "spooling_params": f"{folder}/spool/spooldb",
        "binary_path": "/usr/sbin",
        "qmaster_spool_dir": f"{folder}/spool/qmaster",
        "security_mode": "none",
        "listener_threads": "2",
        "worker_threads": "2",
        "scheduler_threads": "1",
    }
    given(
        "default/common/bootstrap", "Version: 6.2\n" + "".join(f"{name} {value}\n" for name, value in bootstrap.items())
    )
    given("default/common/act_qmaster", "localhost\n")
    given("default/common/host_aliases", f"localhost {platform.node()}\n")  # stands in for DNS
    call(SHARED / "scripts" / "init_cluster", folder, "default", folder / "spool" / "spooldb", user)
    settings = {
        "execd_spool_dir": f"{folder}/spool/execd",
        "min_uid": "0",
        "min_gid": "0",
        "load_report_time": "00:00:02",
        "reporting_params": "accounting=true reporting=false flush_time=00:00:01 joblog=false sharelog=00:00:00",
    }
    text = _changed((SHARED / "default-configuration").read_text(), settings)
    call(LIBRARY / "spooldefaults", "configuration", given("configuration", text))


def _changed(text: str, values: dict[str, str]) -> str:
    """Lines `name value` with other values; those that a value goes on in are left as they are."""
    lines = []
    for line in text.splitlines():
        name = line.partition(" ")[0]
        lines.append(f"{name} {values[name]}" if name in values else line)
    return "\n".join(lines) + "\n"


def _free_ports() -> list[str]:
    probes = [socket.socket() for _ in range(2)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [str(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _gone(folder: Path) -> None:
    """Waits for the daemons' end, and ends them if need be."""
    pids = [folder / "spool" / "qmaster" / "qmaster.pid", *folder.glob("spool/execd/*/execd.pid")]
    for _ in range(50):
        alive = [path for path in pids if path.exists() and Path(f"/proc/{path.read_text().strip()}").exists()]
        if not alive:
            return
        time.sleep(0.2)
    for path in alive:
        with suppress(OSError, ValueError):
            os.kill(int(path.read_text()), 9)
