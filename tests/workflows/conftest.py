"""The small cohort in a folder of its own, and the program called as from a shell."""

import sys

import pytest
from cohort_of_balls import write_cohort


@pytest.fixture
def cohort(tmp_path, monkeypatch):
    """A folder with 16 subjects, labels.csv and small.yaml, which is the current one."""
    write_cohort(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(monkeypatch):
    monkeypatch.delenv("TFMRI_RUNS", raising=False)
    monkeypatch.delenv("TFMRI_CACHE", raising=False)


@pytest.fixture
def tfmri(monkeypatch, capfd):
    """Calls the command line in this process; gives its exit code and what it said."""
    from tfmri.cli import main

    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["tfmri", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        captured = capfd.readouterr()
        return end.value.code or 0, captured.out + captured.err

    return call
