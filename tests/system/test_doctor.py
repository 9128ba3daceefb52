"""`tfmri doctor` as a program."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
