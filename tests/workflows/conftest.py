"""The small cohort in a folder of its own, and the program called as from a shell."""

import contextlib

import program
import pytest
from cohort_of_balls import write_cohort


@pytest.fixture
def cohort(tmp_path, monkeypatch):
    """A folder with 16 subjects, labels.csv and small.yaml, which is the current one."""
    write_cohort(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """A folder with a cohort and a finished run called `first`, and what training said."""
    folder = tmp_path_factory.mktemp("trained")
    write_cohort(folder)
    with contextlib.chdir(folder):
        return folder, program.run("train", "small.yaml", "--run", "first")


@pytest.fixture
def trained(once, monkeypatch):
    """What `once` gives; its folder is the current one."""
    monkeypatch.chdir(once[0])
    return once


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(monkeypatch):
    monkeypatch.delenv("TFMRI_RUNS", raising=False)
    monkeypatch.delenv("TFMRI_CACHE", raising=False)


@pytest.fixture
def tfmri():
    """Calls the command line, in a process of its own as from a shell; gives its exit code and what it said."""

    def call(*arguments: str) -> tuple[int, str]:
        done = program.tfmri(*arguments)
        return done.returncode, done.stdout + done.stderr

    return call
