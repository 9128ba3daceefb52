"""`tfmri doctor` as a program."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from two_hosts import MISSING, USER, connections, new_key, two_hosts

from tfmri.cluster.site import Site
from tfmri.doctor.reach import check_host

pytestmark = pytest.mark.system
PROJECT = Path(__file__).parents[2]


def doctor(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", "from tfmri.cli import main; main()", "doctor", *arguments]
    env = {name: value for name, value in os.environ.items() if name != "JOB_ID"} | environment
    return subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True)


def test_the_doctor_looks_at_everything_and_tells_of_problems_by_its_exit_code(tmp_path):
    libraries = tmp_path / "lib"
    libraries.mkdir()
    (libraries / "libcudnn.so.8").touch()
    done = doctor("--json", LD_LIBRARY_PATH=str(libraries), TMPDIR="/sys", PATH="/nothing", XLA_FLAGS="")
    assert done.returncode == 3, done.stderr
    found = {each["about"]: each for each in json.loads(done.stdout)}
    assert found["Python"]["state"] == "ok" and found["TensorFlow"]["state"] == "ok"
    assert found["scratch"]["state"] == "problem"
    assert found["LD_LIBRARY_PATH"]["state"] != "ok" and "libcudnn.so.8" in found["LD_LIBRARY_PATH"]["found"]
    assert found["the way there"]["state"] == "problem" and "ssh" in found["the way there"]["found"]
    assert set(found) >= {"packages", "GPU", "CUDA libraries", "runs", "cache", "Grid Engine"}


def test_a_site_that_is_none_is_a_mistake():
    done = doctor("--site", "comik")
    assert done.returncode == 2 and "Did you mean 'comic'" in done.stderr


@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
def test_the_way_there_is_looked_at_host_by_host_and_nobody_is_asked_for_a_password(tmp_path, monkeypatch):
    at_home = tmp_path / "bin"  # without Grid Engine
    at_home.mkdir()
    for name in ("ssh", "sh"):
        (at_home / name).symlink_to(str(shutil.which(name)))
    settings = tmp_path / "ssh_config"
    with two_hosts(tmp_path) as hosts, connections() as session:
        other_key = new_key(tmp_path / "other")
        monkeypatch.setenv("PATH", str(at_home))
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(session))
        jump = f"{USER}@127.0.0.1:{hosts.jump.port}"
        site = Site(host=f"{USER}@127.0.0.1", port=hosts.login.port, jump=jump, ssh_config=str(settings))
        known = "StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nIdentitiesOnly yes\n"

        settings.write_text(f"{known}IdentityFile {other_key}\n")
        stranger = check_host(site)
        assert stranger.state == "note" and stranger.found.startswith(f"{jump} answers")
        settings.write_text(f"{known}IdentityFile {hosts.key}\n")
        there = check_host(site)
        assert there.state in ("ok", "note") and f"through {jump} lets you in" in there.found
        hosts.login.process.terminate()
        hosts.login.process.wait(10)
        behind = check_host(Site(host=f"{USER}@localhost", port=hosts.login.port, jump=jump, ssh_config=str(settings)))
        assert behind.state == "problem" and "on the way, does not reach it" in behind.found
