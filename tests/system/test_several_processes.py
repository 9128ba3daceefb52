"""Two processes of the program that train one model end with the weights of one."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "workflows"))
from cohort_of_balls import write_cohort

pytestmark = pytest.mark.system
PROGRAM = [sys.executable, "-u", "-c", "from tfmri.cli import main; main()"]
EPOCHS = 30
# No dropout, whose masks differ between devices, and no Adam, which blows rounding up where a gradient is none.
SETTINGS = [
    "--set", f"training.epochs={EPOCHS}", "--set", "model.dropout=0", "--set", "training.clip_norm=0.5",
    "--set", "training.optimizer={name: sgd, learning_rate: 0.01}",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("TFMRI_RUNS", "TFMRI_CACHE", "TF_CONFIG", "JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    write_cohort(tmp_path)
    monkeypatch.chdir(tmp_path)
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            each.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in (first, second)]
    Path("hosts").write_text("".join(f"127.0.0.1:{port}\n" for port in ports))
    return tmp_path


def begin(index: int) -> subprocess.Popen:
    together = ["--hosts", "hosts", "--host-index", str(index)]
    arguments = [*PROGRAM, "train", "small.yaml", "--run", "two", *SETTINGS, *together]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(processes: list[subprocess.Popen], code: int) -> list[str]:
    said = [process.communicate(timeout=200)[0] for process in processes]
    assert [process.returncode for process in processes] == [code, code], "\n".join(said)
    return said


def result(run: str) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    fit = Path("runs/small", run, "fits/whole")
    newest = max(fit.glob("checkpoints/*.npz"))
    history = pd.read_csv(fit / "history.csv").drop(columns=["seconds", "waiting", "volumes_per_second"])
    return {name: value for name, value in np.load(newest).items() if name.startswith("variable")}, history


def test_two_processes_stop_together_go_on_together_and_end_with_the_weights_of_one(folder):
    processes = [begin(0), begin(1)]
    lines = iter(processes[0].stdout.readline, "")
    assert any(line.startswith("epoch ") for line in lines)
    os.kill(processes[1].pid, signal.SIGTERM)  # one of them is asked to stop
    said = ended(processes, code=99)
    assert "Stopped and saved" in said[0]
    assert "Process 2 of 2" in said[1]
    assert "epoch" not in said[1]
    stopped = result("two")[1]
    assert 0 < len(stopped) < EPOCHS

    ended([begin(0), begin(1)], code=0)
    subprocess.run([*PROGRAM, "train", "small.yaml", "--run", "one", *SETTINGS], check=True, capture_output=True)
    (one, history_of_one), (two, history_of_two) = result("one"), result("two")
    assert len(one) > 20
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
    pd.testing.assert_frame_equal(history_of_one, history_of_two, rtol=1e-3, atol=1e-5)
    assert list(history_of_two["epoch"]) == [*range(1, EPOCHS + 1)]


def test_processes_that_train_together_are_told_to_name_their_run(folder):
    done = subprocess.run(
        [*PROGRAM, "train", "small.yaml", "--hosts", "hosts", "--host-index", "0"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "--run" in done.stderr and "Traceback" not in done.stderr
