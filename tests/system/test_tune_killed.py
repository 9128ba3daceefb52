"""A worker of a search killed in its trial (SIGKILL): the trial is finished by another, with the same bits."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "workflows"))
from cohort_of_balls import SETTINGS, write_cohort
from test_train_and_evaluate import assert_same_bits

pytestmark = pytest.mark.system
PROGRAM = [sys.executable, "-u", "-c", "from tfmri.cli import main; main()"]
RATE, DROPOUT = "training.optimizer.learning_rate", "model.dropout"
TUNE = {"trials": 3, "pruner": "none", "space": {RATE: {"low": 1e-4, "high": 1e-2, "log": True}, DROPOUT: [0.0, 0.5]}}


def begin(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen([*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_of_two_workers_one_takes_up_the_trial_of_others_that_were_killed_and_stopped(tmp_path, monkeypatch):
    for name in ("TFMRI_RUNS", "TFMRI_CACHE", "TF_CONFIG", "JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    write_cohort(tmp_path)
    settings = SETTINGS | {"training": {"epochs": 3, "batch_size": 4}, "tune": TUNE}
    Path("small.yaml").write_text(yaml.safe_dump(settings))
    for number, epoch, code in ((signal.SIGKILL, 1, -signal.SIGKILL), (signal.SIGUSR2, 2, 99)):
        worker = begin("tune", "small.yaml")
        for line in worker.stdout:
            if line.startswith(f"epoch {epoch}/3"):
                os.kill(worker.pid, number)
        assert worker.wait() == code
    assert "tune small.yaml" in line  # the last one of the second worker says how to go on
    others = [begin("tune", "small.yaml") for _ in range(2)]
    said = [each.communicate(timeout=300)[0] for each in others]
    assert [each.returncode for each in others] == [0, 0], "".join(said)
    assert sum("small/tune-0001, taken up where it was left" in each for each in said) == 1

    found = pd.read_csv("runs/small/tune/tuning.csv")
    assert list(found["state"]) == ["finished"] * 3
    fits = [Path("runs/small", name, "fits/whole") for name in found["run"]]
    assert [len(json.loads((fit / "provenance.json").read_text())["restarts"]) for fit in fits] == [2, 0, 0]
    words = [part for key in (RATE, DROPOUT) for part in ("--set", f"{key}={found.loc[0, key]}")]
    plain = begin("train", "small.yaml", "--run", "plain", *words)
    plain.communicate()
    assert_same_bits(Path("runs/small/plain/fits/whole"), fits[0])
