"""What `tfmri jobs`, `cancel`, `interactive` and `doctor` say on a real Grid Engine.

Most jobs here are scripts of a few lines that fail in one way each; one is a training.
"""

import json
import os
import pty
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from grid_engine_here import MISSING, grid_engine

from tfmri.cluster.site import load_site
from tfmri.doctor.reach import check_grid_engine

ROOT = Path(__file__).parents[2]
PATIENCE = 240  # s
PROGRAM = [sys.executable, "-c", "from tfmri.cli import main; main()"]
SMALL = {
    "data.labels": "scans/labels.csv", "image.spacing": "8", "image.shape": "[24,24,24]", "model.name": "small_cnn",
    "model.filters": "[4,8]", "augment": "none", "training.epochs": "5000", "training.batch_size": "4",
    "training.threads": "1", "cluster.tmem": "3G", "cluster.prepare": "{slots: 2, tmem: 3G}",
    "cluster.evaluate": "{tmem: 3G}",
}  # fmt: skip
BEGINS = """#!/bin/bash
#$ -S /bin/bash
#$ -cwd
#$ -j y
"""
pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]


@dataclass(frozen=True)
class Login:
    """The folder of the code on a login node, where a real Grid Engine takes jobs."""

    folder: Path
    environment: dict[str, str]

    def tfmri(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [*PROGRAM, *arguments], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def submit(self, run: str, **settings: str) -> None:
        changed = SMALL | {key.replace("__", "."): value for key, value in settings.items()}
        words = [word for key, value in changed.items() for word in ("--set", f"{key}={value}")]
        self.tfmri("submit", "sex_clf", "--run", run, *words)

    def jobs(self, run: str) -> dict[str, dict]:
        """Step, or fit, -> its line."""
        lines = json.loads(self.tfmri("jobs", f"sex_clf/{run}", "--json"))
        return {line["fit"] or line["step"]: line for line in lines}

    def wait(self, run: str, done: Callable[[dict[str, dict]], bool]) -> dict[str, dict]:
        end = time.monotonic() + PATIENCE
        while not done(lines := self.jobs(run)):
            assert time.monotonic() < end, json.dumps(lines, indent=2)
            time.sleep(0.5)
        return lines

    def script(self, step: str, text: str) -> None:
        """Puts another job script in the place of a step's."""
        path = self.folder / "sge" / f"{step}.sh"
        path.write_text(BEGINS + text)
        path.chmod(0o755)

    def real_scripts(self) -> None:
        for path in (ROOT / "sge").glob("*.sh"):
            shutil.copy(path, self.folder / "sge")


@pytest.fixture(scope="module")
def login(tmp_path_factory):
    folder = tmp_path_factory.mktemp("a login node").resolve()
    shutil.copytree(ROOT / "sge", folder / "sge", ignore=shutil.ignore_patterns("*.log", "*.json", "user.mk"))
    shutil.copytree(ROOT / "experiments", folder / "experiments")
    (folder / "sge" / "sites" / "comic.sh").write_text(f"export PYTHONPATH='{ROOT}'\n")
    bin_folder = folder / ".venv" / "bin"  # what a job finds of tfmri
    bin_folder.mkdir(parents=True)
    (bin_folder / "activate").write_text(f"export PATH='{bin_folder}':$PATH\n")
    (bin_folder / "tfmri").write_text(f"#!/bin/sh\nexec '{sys.executable}' -c '{PROGRAM[2]}' \"$@\"\n")
    (bin_folder / "tfmri").chmod(0o755)
    unset = ("TFMRI_RUNS", "TFMRI_CACHE", "TFMRI_SITE", "JOB_ID", "SGE_TASK_ID")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    with grid_engine(tmp_path_factory.mktemp("sge").resolve()) as variables:
        login = Login(folder, environment | variables | {"PYTHONPATH": str(ROOT)})
        assert "Nothing was submitted from here yet" in login.tfmri("jobs")
        login.tfmri("demo", "scans", "--subjects", "30")
        yield login
        login.tfmri("cancel", "--all")


@pytest.fixture
def scripts(login):
    """Puts job scripts that do as a test says in place of the real ones, which come back after it."""
    yield login.script
    login.real_scripts()


def test_failures_are_told_in_words(login, scripts):
    scripts(
        "prepare",
        """echo 'tfmri: labels.csv: there is no such file'
        echo "$(date '+%F %T')  tfmri prepare ended with 2"
        exit 100
        """,
    )
    login.submit("mistake")
    scripts("prepare", "exit 0\n")
    scripts(
        "train",
        """case $SGE_TASK_ID in
            1) echo 'epoch 1'; exit 0 ;;
            2) ulimit -v 200000; exec python3 -c 'bytearray(10**10)' ;;
            3) kill -9 $$ ;;
            4) sleep 100 ;;
            5) [ "$RESTARTED" = 0 ] && exit 99
               echo 'Grid Engine runs this job again: it goes on where it was.' ;;
        esac
        """,
    )
    scripts("evaluate", "#$ -S /no/such/shell\n")
    login.submit("folds", split__folds="5", cluster__h_rt="0:0:4")
    login.submit("greedy", cluster__prepare="{slots: 1, tmem: 900G}")

    ended = ("done", "failed")
    folds = login.wait("folds", lambda lines: all(line["state"] in ended for line in lines.values()))
    assert {name: (line["state"], line["kind"]) for name, line in folds.items()} == {
        "prepare": ("done", ""),
        "fold-1": ("done", ""),
        "fold-2": ("failed", "memory"),
        "fold-3": ("failed", "killed"),
        "fold-4": ("failed", "time"),
        "fold-5": ("done", ""),
        "evaluate": ("failed", "node"),
    }
    assert "0:00:04" in folds["fold-4"]["reason"] and "cluster.h_rt" in folds["fold-4"]["advice"]
    assert folds["fold-5"]["again"] == 1 and "/no/such/shell" in folds["evaluate"]["reason"]

    mistake = login.jobs("mistake")
    assert (mistake["prepare"]["kind"], mistake["prepare"]["reason"]) == (
        "settings",
        "labels.csv: there is no such file",
    )
    for step in ("whole", "evaluate"):
        assert mistake[step]["state"] == "held" and "never starts" in mistake[step]["reason"]
    greedy = login.jobs("greedy")
    assert greedy["prepare"]["state"] == "waiting" and "tmem" in greedy["prepare"]["reason"]

    table = login.tfmri("jobs")
    for words in (
        "failed: memory",
        "failed: time",
        "sex_clf/greedy",
        "To go on with sex_clf/folds:",
        "its log: sge/logs/",
    ):
        assert words in table
    said = login.tfmri("cancel", "sex_clf/mistake")
    assert "Ended of sex_clf/mistake" in said and "tfmri submit sex_clf --run mistake" in said
    after = login.wait(
        "mistake", lambda lines: all(line["state"] not in ("held", "waiting") for line in lines.values())
    )
    assert {line["state"] for line in after.values()} <= {"ended", "failed"}
    assert "nothing to end" in login.tfmri("cancel", "sex_clf/mistake")


def test_each_job_that_ended_is_asked_for_once(login, scripts):
    for step in ("prepare", "train", "evaluate"):
        scripts(step, "exit 0\n")
    login.submit("quick")
    login.wait("quick", lambda lines: {line["state"] for line in lines.values()} == {"done"})
    (record,) = (login.folder / "sge" / "logs").glob("sex_clf_quick_*.json")
    login.wait("quick", lambda lines: len(json.loads(record.read_text()).get("accounts", {})) == 3)
    accounting = next(Path(login.environment["SGE_ROOT"]).glob("default/common/accounting"))
    hidden = accounting.rename(accounting.with_suffix(".hidden"))
    try:
        assert {line["state"] for line in login.jobs("quick").values()} == {"done"}
        assert "from their logs alone" not in login.tfmri("jobs", "sex_clf/quick")
    finally:
        hidden.rename(accounting)


def test_a_training_shows_its_epochs_and_saves_when_it_is_cancelled(login):
    login.submit("long")
    lines = login.wait("long", lambda lines: (lines["whole"]["epoch"] or 0) >= 2)
    assert lines["prepare"]["state"] == "done" and lines["evaluate"]["state"] == "held"
    training = lines["whole"]
    assert training["state"] == "running" and training["epochs"] == 5000 and training["node"] == "localhost"
    assert 0 < training["seconds_left"] < 12 * 3600 and training["seconds_to_go"] > 10
    said = login.tfmri("cancel", "sex_clf/long")
    assert "train whole" in said and "which ran" in said and "saves before it leaves" in said
    lines = login.wait("long", lambda lines: {line["state"] for line in lines.values()} == {"done", "ended"})
    assert lines["whole"]["reason"] == "tfmri cancel ended it after it had saved"
    assert list((login.folder / "runs" / "sex_clf" / "long" / "fits" / "whole" / "checkpoints").iterdir())
    assert "tfmri submit sex_clf --run long" in login.tfmri("jobs", "sex_clf/long")


def test_a_command_runs_on_a_node_with_what_was_asked_for(login):
    code = 'import os; print("two  blanks", os.environ["NSLOTS"]); raise SystemExit(5)'
    said = login.tfmri("interactive", "--gpus", "2", "--memory", "6G", sys.executable, "-c", code, code=5)
    assert "two  blanks 2" in said
    assert "qrsh -cwd -l tmem=3072M -l h_rt=0:30:0 -l gpu=true -pe gpu 2" in said
    assert "'16'; expected a number with K, M, G or T" in login.tfmri("interactive", "--memory", "16", code=2)


def test_a_shell_opens_on_a_node(login):
    terminal, theirs = pty.openpty()
    command = [*PROGRAM, "interactive", "--gpus", "2"]
    shell = subprocess.Popen(
        command,
        cwd=login.folder,
        env=login.environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    said = b""
    with suppress(OSError):  # which is how a terminal ends
        while more := os.read(terminal, 4096):
            said += more
            if b"sum" not in said and said.rstrip().endswith((b"$", b"#", b"%")):  # the shell's prompt
                os.write(terminal, b"echo sum:$((40 + 2)); exit\n")
    os.close(terminal)
    assert shell.wait(30) == 0 and b"sum:42" in said, said.decode()


def test_the_doctor_asks_grid_engine_whether_it_knows_the_site(login, monkeypatch):
    monkeypatch.chdir(login.folder)
    for name in ("SGE_ROOT", "SGE_CELL", "SGE_QMASTER_PORT", "SGE_EXECD_PORT"):
        monkeypatch.setenv(name, login.environment[name])
    assert check_grid_engine(load_site("comic")).state == "ok"
    other = check_grid_engine(load_site("myriad"))
    assert other.state == "problem" and 'unknown resource "mem"' in other.found
    monkeypatch.setenv("SGE_ROOT", str(login.folder))
    gone = check_grid_engine(load_site("comic"))
    assert gone.state == "problem" and "does not answer" in gone.found
