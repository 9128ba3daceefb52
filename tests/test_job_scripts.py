"""The job scripts of sge/ as plain scripts: what they hand to the program, and how they fail."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
SCRIPTS = [*sorted((PROJECT / "sge").glob("*.sh")), PROJECT / ".ci" / "run"]


def run_train(*arguments: str, folder: Path, path: str) -> subprocess.CompletedProcess:
    command = ["bash", str(PROJECT / "sge" / "train.sh"), *arguments]
    environment = {"PATH": path, "HOME": os.environ.get("HOME", "/"), "NSLOTS": "2"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_scripts_are_sound_shell(script: Path):
    subprocess.run(["bash", "-n", script], check=True)
    assert os.access(script, os.X_OK) or script.name == "environment.sh"  # which is sourced
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "--external-sources", script], check=True, cwd=PROJECT)


def test_the_job_hands_its_arguments_to_tfmri_train_and_ends_with_its_exit_code(tmp_path: Path):
    folder = tmp_path / "a checkout with blanks"
    shutil.copytree(PROJECT / "sge", folder / "sge")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = run_train("no such experiment", "--set", "training.epochs=1", folder=folder, path=path)
    assert done.returncode == 2, done.stderr
    assert "no such experiment" in done.stderr
    assert "2 slots" in done.stdout

    helped = run_train("--help", folder=folder, path=path)
    assert helped.returncode == 0, helped.stderr
    assert "tfmri train" in helped.stdout


def test_the_job_says_what_is_missing_outside_a_checkout_and_before_setup(tmp_path: Path):
    done = run_train("sex_clf", folder=tmp_path, path="/usr/bin:/bin")
    assert done.returncode == 2
    assert "submit from the folder of the code" in done.stderr
    shutil.copytree(PROJECT / "sge", tmp_path / "sge")
    done = run_train("sex_clf", folder=tmp_path, path="/usr/bin:/bin")
    assert done.returncode == 2
    assert "make setup EXTRAS=gpu" in done.stderr
