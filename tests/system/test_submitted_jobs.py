"""Jobs on a real Grid Engine, stopped, killed and deleted: what comes of them is what a shell gives."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from grid_engine_here import MISSING, grid_engine

ROOT = Path(__file__).parents[2]
PATIENCE = 420  # s for jobs to end
SETTINGS = {
    "data.labels": "scans/labels.csv", "image.spacing": "6", "image.shape": "[32,36,32]", "model.name": "small_cnn",
    "model.filters": "[8,16]", "augment": "[flip,noise]", "training.epochs": "60", "training.batch_size": "4",
    "training.threads": "1", "training.checkpoint_minutes": "0.02", "cluster.tmem": "3G", "cluster.scratch": "1G",
    "cluster.h_rt": "0:30:0", "cluster.prepare": "{slots: 2, tmem: 3G}", "cluster.evaluate": "{tmem: 3G}",
}  # fmt: skip
pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
    pytest.mark.skipif(not (Path(sys.prefix) / "bin" / "activate").exists(), reason="jobs take a virtual environment"),
]


@dataclass(frozen=True)
class Lab:
    """A folder of the code with a small cohort, and a Grid Engine that it submits to."""

    folder: Path
    scratch: Path
    environment: dict[str, str]

    def call(self, *command: str, code: int = 0) -> str:
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def tfmri(self, *arguments: str, code: int = 0, **settings: str) -> str:
        changed = SETTINGS | {key.replace("__", "."): value for key, value in settings.items()}
        words = [word for key, value in changed.items() for word in ("--set", f"{key}={value}")]
        takes = arguments[0] in ("submit", "train", "prepare") and (settings or "--go-on" not in arguments)
        given = [each for each in arguments if each != "--go-on"]
        return self.call(".venv/bin/tfmri", *given, *(words if takes else ()), code=code)

    def submit(self, run: str, *arguments: str, **settings: str) -> dict[str, str]:
        """Submits; step -> number of its job."""
        said = self.tfmri("submit", "sex_clf", "--run", run, *arguments, **settings)
        return dict(re.findall(r"^(prepare|train|evaluate) +(\d+) +qsub", said, re.MULTILINE))

    def wait(self, what: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not what():
            if time.monotonic() > end:
                logs = "\n".join(f"== {path.name}\n{path.read_text()}" for path in self.logs())
                pytest.fail(f"{self.call('qstat')}\n{logs}")
            time.sleep(0.3)

    def wait_for_all(self) -> None:
        self.wait(lambda: not self.call("qstat").strip())

    def logs(self, pattern: str = "*") -> list[Path]:
        return sorted((self.folder / "sge" / "logs").glob(f"{pattern}.log"))

    def fit(self, run: str, name: str = "whole") -> Path:
        return self.folder / "runs" / "sex_clf" / run / "fits" / name

    def finished(self, run: str) -> bool:
        about = self.fit(run) / "provenance.json"
        return about.exists() and "ended" in about.read_text()

    def exit_codes(self, number: str, tasks: int = 1) -> list[int]:
        """Of each time that a job ran, by tasks, as accounting has it, which is written once a second."""
        time.sleep(2)
        codes: list[int] = []

        def told() -> bool:
            done = subprocess.run(["qacct", "-j", number], env=self.environment, capture_output=True, text=True)
            codes[:] = [int(each) for each in re.findall(r"^exit_status +(\d+)", done.stdout, re.MULTILINE)]
            return len(codes) >= tasks

        self.wait(told)
        return codes

    def programs(self, *words: str) -> list[int]:
        """The processes of training whose command line holds all these words."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line, inside = path.read_bytes().split(b"\0"), (path.parent / "cwd").readlink() == self.folder
            except OSError:  # somebody else's, or ended meanwhile
                continue
            if inside and b"train" in line and b"python" in line[0] and {word.encode() for word in words} <= set(line):
                found.append(int(path.parent.name))
        return found


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder, scratch = (tmp_path_factory.mktemp(name).resolve() for name in ("a lab", "scratch"))
    shutil.copytree(ROOT / "sge", folder / "sge", ignore=shutil.ignore_patterns("*.log", "*.json", "user.mk"))
    shutil.copytree(ROOT / "experiments", folder / "experiments")
    (folder / ".venv").symlink_to(sys.prefix)
    sites = folder / "sge" / "sites"
    (sites / "here.yaml").write_text((sites / "comic.yaml").read_text())
    (sites / "here.sh").write_text(f"export PYTHONPATH='{ROOT}'\nscratch='{scratch}'/$JOB_ID.$SGE_TASK_ID\n")
    (folder / "sge" / "user.mk").write_text("SITE = here\n")
    unset = ("TFMRI_RUNS", "TFMRI_CACHE", "TFMRI_SITE", "JOB_ID", "SGE_TASK_ID", "PYTEST_CURRENT_TEST")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    with grid_engine(tmp_path_factory.mktemp("sge").resolve()) as variables:
        lab = Lab(folder, scratch, environment | variables | {"PYTHONPATH": str(ROOT)})
        lab.call(".venv/bin/tfmri", "demo", "scans", "--subjects", "30")
        yield lab


@pytest.fixture(scope="module")
def whole(lab):
    """A fit that was trained in the shell and never stopped, and how long that took, in s."""
    began = time.monotonic()
    lab.tfmri("train", "sex_clf", "--run", "whole")
    return lab.fit("whole"), time.monotonic() - began


def assert_same_bits(one: Path, other: Path) -> None:
    """That two fits have the same weights, the last and the best, and the same history but for its times."""
    saved = [np.load(BytesIO(max(fit.glob("checkpoints/*.npz")).read_bytes()[:-32])) for fit in (one, other)]
    names = [name for name in saved[0].files if name.startswith("variable")]
    assert len(names) > 10
    for name in names:
        np.testing.assert_array_equal(saved[0][name], saved[1][name])
    best: list[dict] = [{}, {}]
    for fit, values in zip((one, other), best, strict=True):
        with (
            zipfile.ZipFile(fit / "model.keras") as archive,
            h5py.File(BytesIO(archive.read("model.weights.h5"))) as file,
        ):
            file.visititems(
                lambda name, each, values=values: values.update({name: each[()]} if hasattr(each, "shape") else {})
            )
    assert best[0].keys() == best[1].keys() and len(best[0]) >= 6
    for name, value in best[0].items():
        np.testing.assert_array_equal(value, best[1][name])
    timed = ["seconds", "waiting", "volumes_per_second"]
    histories = [pd.read_csv(fit / "history.csv").drop(columns=timed) for fit in (one, other)]
    pd.testing.assert_frame_equal(*histories, check_exact=True)


def test_three_folds_survive_the_death_of_one_and_end_as_in_the_shell(lab):
    settings = {"split__folds": "3", "training__epochs": "6"}
    numbers = lab.submit("jobs", **settings)
    assert set(numbers) == {"prepare", "train", "evaluate"}
    lab.wait(
        lambda: bool(list(lab.fit("jobs", "fold-2").glob("checkpoints/*.npz"))) and bool(lab.programs("--fit", "2"))
    )
    for process in lab.programs("--fit", "2"):
        os.kill(process, signal.SIGKILL)
    lab.tfmri("train", "sex_clf", "--run", "shell", **settings)
    lab.wait_for_all()
    assert lab.exit_codes(numbers["prepare"]) == [0] and lab.exit_codes(numbers["evaluate"]) == [3]
    assert sorted(lab.exit_codes(numbers["train"], 3)) == [0, 0, 137]
    (said,) = lab.logs(f"evaluate_*.{numbers['evaluate']}")
    assert "fold-2 has not ended: these results are of 2 of 3 fits" in said.read_text()
    for log in lab.logs(f"train_*.{numbers['train']}.*"):
        assert "copied to" in log.read_text() and str(lab.scratch) in log.read_text()
    assert not [path for path in lab.scratch.iterdir() if any(path.iterdir())]

    numbers = lab.submit("jobs", "--go-on")
    lab.tfmri("evaluate", "sex_clf/shell")
    lab.wait_for_all()
    assert lab.exit_codes(numbers["evaluate"]) == [0]
    for fold in (1, 2, 3):
        assert_same_bits(lab.fit("shell", f"fold-{fold}"), lab.fit("jobs", f"fold-{fold}"))
    results = [lab.folder / "runs" / "sex_clf" / run / "evaluation" / "test" for run in ("shell", "jobs")]
    for name in ("predictions.csv", "predictions_by_fit.csv"):
        assert (results[0] / name).read_bytes() == (results[1] / name).read_bytes()
    metrics = [json.loads((each / "metrics.json").read_text()) for each in results]
    assert metrics[0]["sex"] == metrics[1]["sex"]


def test_a_job_by_hand_whose_time_is_short_is_run_again_until_it_ends_with_the_same_weights(lab, whole):
    """How fast this machine is differs from moment to moment: a time that was not too short is shortened."""
    fit, took = whole
    words = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    for attempt in range(10):
        run, h_rt = f"short-{attempt}", round(took * 0.8**attempt)
        asked, again, submitted = f"tmem=3G,gpu=true,h_rt=0:{h_rt // 60}:{h_rt % 60}", 0, 0
        while not lab.finished(run):  # a job that Grid Engine itself has to stop at its h_rt is not run again
            assert submitted < 8
            number = lab.call("qsub", "-terse", "-l", asked, "sge/train.sh", "sex_clf", "--run", run, *words).strip()
            lab.wait_for_all()
            codes = lab.exit_codes(number)
            assert set(codes) <= {0, 99, 137}
            again, submitted = again + len(codes) - 1, submitted + 1
        assert_same_bits(fit, lab.fit(run))
        if again:
            return
    pytest.fail("the training was never too long for its time")


def test_a_fit_that_is_rescheduled_killed_and_deleted_is_never_corrupt_and_ends_with_the_same_weights(lab, whole):
    fit = lab.fit("troubled")

    def step() -> int:
        return max((int(path.stem.removeprefix("step-")) for path in fit.glob("checkpoints/step-*.npz")), default=0)

    def trains_on(from_step: int) -> bool:
        return step() > from_step and bool(lab.programs("troubled"))

    numbers, reached = lab.submit("troubled"), 0
    for trouble in ("reschedule", "kill", "delete"):
        lab.wait(lambda: trains_on(reached))  # noqa: B023
        (process, *_) = lab.programs("troubled")
        match trouble:
            case "reschedule":
                lab.call("qmod", "-rj", numbers["train"])
            case "kill":
                os.kill(process, signal.SIGKILL)
            case "delete":
                lab.call("qdel", numbers["train"], numbers["evaluate"])
        lab.wait(lambda: process not in lab.programs("troubled"))  # noqa: B023
        reached = step()
        if trouble != "reschedule":
            lab.wait_for_all()
            numbers = lab.submit("troubled", "--go-on")
    lab.wait_for_all()
    assert_same_bits(whole[0], fit)
    assert lab.exit_codes(numbers["evaluate"]) == [0]


def test_a_full_scratch_disk_costs_a_sentence(lab, whole):
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk takes root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", lab.scratch], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr}")
    try:
        numbers = lab.submit("full", training__epochs="2")
        lab.wait_for_all()
    finally:
        subprocess.run(["umount", "-l", lab.scratch], check=True)
    (log,) = lab.logs(f"train_*.{numbers['train']}.1")
    assert "do not fit" in log.read_text() and lab.exit_codes(numbers["train"]) == [0]


def test_a_failed_preparation_holds_what_waits_for_it(lab):
    broken = lab.folder / "broken"
    shutil.copytree(lab.folder / "scans", broken)
    damaged = min((broken / "images").rglob("*.nii.gz"))
    damaged.write_bytes(b"no scan")
    numbers = lab.submit("broken", data__labels="broken/labels.csv")
    lab.wait(lambda: "Eqw" in lab.call("qstat"))
    waiting = lab.call("qstat")
    assert waiting.count("hqw") == 2
    (log,) = lab.logs(f"prepare_*.{numbers['prepare']}")
    assert damaged.name in log.read_text() and "tfmri prepare ended with 2" in log.read_text()
    lab.call("qdel", *numbers.values())
    lab.wait_for_all()
    assert not (lab.folder / "runs" / "sex_clf" / "broken").exists()


def test_what_no_queue_can_run_is_refused_and_nothing_stays_submitted(lab):
    said = lab.tfmri("submit", "sex_clf", "--dry-run")
    assert said.count("found suitable queue") == 3 and "-t 1-1" in said
    assert "no suitable queues" in lab.tfmri("submit", "sex_clf", "--dry-run", code=2, cluster__gpu_type="abacus")
    assert "site myriad" in lab.tfmri("submit", "sex_clf", "--site", "myriad", code=2, cluster__gpus="99")
    assert not lab.call("qstat").strip()
    said = lab.tfmri("submit", "sex_clf", "--run", "waits", cluster__gpus="99")
    assert "note: train may wait for ever" in said
    assert "Ended of sex_clf/waits" in lab.tfmri("cancel", "sex_clf/waits")
    lab.wait_for_all()


def test_a_search_is_an_array_of_workers_who_train_each_trial_once(lab):
    space = {"tune.space": "{training.optimizer.learning_rate: [1e-4, 1e-3, 1e-2]}", "tune.trials": "3"}
    changed = SETTINGS | {"training.epochs": "3", **space}
    settings = [word for key, value in changed.items() for word in ("--set", f"{key}={value}")]
    said = lab.call(".venv/bin/tfmri", "submit", "sex_clf", "--tune", "2", *settings)
    numbers = dict(re.findall(r"^(prepare|tune) +(\d+) +qsub", said, re.MULTILINE))
    lab.wait_for_all()
    assert lab.exit_codes(numbers["tune"], 2) == [0, 0]
    trials = pd.read_csv(lab.folder / "runs" / "sex_clf" / "tune" / "tuning.csv")
    assert len(trials) == 3 and set(trials["state"]) <= {"finished", "pruned"}
    trained = [log.read_text().count("small_cnn,") for log in lab.logs(f"tune_*.{numbers['tune']}.*")]
    assert sum(trained) == 3
    assert "worker-2" in lab.call(".venv/bin/tfmri", "jobs", "sex_clf/tune")
