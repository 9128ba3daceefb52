"""`tfmri tune` as a person and an array job call it: real trainings, several workers at once."""

import json
import shlex
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
import yaml
from program import run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tfmri.errors import InputError
from tfmri.experiment.load import load_experiment
from tfmri.runs.directory import run_at
from tfmri.runs.study import study_at
from tfmri.workflows.tune import Work, _write_study, tune

RATE = "training.optimizer.learning_rate"


def search(space: dict, epochs: int = 2, model: dict | None = None, **settings) -> None:
    """Puts a search into small.yaml."""
    known = yaml.safe_load(Path("small.yaml").read_text())
    known |= {"augment": "none", "tune": {"sampler": "random", "pruner": "none", "space": space, **settings}}
    known["model"] |= model or {}
    known["training"] |= {"epochs": epochs, "schedule": {"name": "constant", "warmup_epochs": 0}}
    Path("small.yaml").write_text(yaml.safe_dump(known, sort_keys=False))


def table() -> pd.DataFrame:
    return pd.read_csv("runs/small/tune/tuning.csv", keep_default_na=False, dtype={"training.ema": str})


def compared_in_tensorboard(fit: Path) -> dict:
    """The settings that TensorBoard's own reader finds under HPARAMS."""
    from tensorboard.plugins.hparams import plugin_data_pb2

    events = EventAccumulator(str(fit / "logs")).Reload()
    assert "best_validation_balanced_accuracy" in events.Tags()["tensors"]
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    found = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in found.items()}


def test_two_workers_at_once_train_runs_of_one_study_and_tell_the_best(cohort):
    space = {RATE: {"low": 1e-4, "high": 1e-2, "log": True}, "augment": ["none", ["flip"]], "training.ema": [None, 0.5]}
    search(space, epochs=1, trials=3, metric="validation_balanced_accuracy")
    with ThreadPoolExecutor() as workers:
        said = list(workers.map(lambda _: run("tune", "small.yaml", "--trials", "1"), range(2)))
    found, root = table(), Path("runs/small")
    assert list(found["run"]) == ["tune-0001", "tune-0002"] and set(found["state"]) == {"finished"}
    assert found[RATE].nunique() == 2
    for row in found.to_dict("records"):
        fit = root / row["run"] / "fits/whole"
        assert json.loads((fit / "provenance.json").read_text())["restarts"] == []
        history = pd.read_csv(fit / "history.csv")
        assert row["validation_balanced_accuracy"] == pytest.approx(history["validation_balanced_accuracy"].max())
        settings = yaml.safe_load((root / row["run"] / "experiment.yaml").read_text())["training"]
        assert settings["optimizer"]["learning_rate"] == float(row[RATE])
        assert settings["monitor"] == "validation_balanced_accuracy"
        shown = compared_in_tensorboard(fit)
        assert shown["optimizer.learning_rate"] == float(row[RATE])
        assert shown["augment"] == {"none": "none", "[flip]": "flip"}[row["augment"]]
        assert shown["ema"] == {"null": "none", "0.5": 0.5}[row["training.ema"]]
        assert not (root / row["run"] / "evaluation").exists()  # nobody has looked at the test split
    assert not (root / "latest").exists()
    best = json.loads((root / "tune/tuning.json").read_text())["best"]
    last = next(each for each in said if "2 finished" in each)
    assert f"evaluate small/{best['run']}" in last and "test split was not looked at" in last
    again = next(line for line in last.splitlines() if "train small.yaml --set" in line)
    assert all(shlex.quote(each) in again for each in best["set"])
    assert (root / "tune/history.png").stat().st_size > 1000
    assert "small/tune-*  2 trials: 2 finished" in run("runs")


def test_a_hopeless_trial_stops_early_and_one_that_cannot_be_fails_with_its_reason(cohort):
    space = {RATE: [0.01, 1e-9], "training.batch_size": [4, 100]}
    settings = {"trials": 3, "pruner": "median", "warmup_trials": 1, "warmup_epochs": 0}
    search(space, 3, {"norm": "group", "groups": 2}, **settings)
    run("tune", "small.yaml", "--set", "seed=2")
    found = table()
    assert list(found["state"]) == ["finished", "failed", "stopped early"]
    assert list(found[RATE]) == [0.01, 0.01, 1e-9] and list(found["training.batch_size"]) == [4, 100, 4]
    assert "training.batch_size: 100; expected at most 8" in found.loc[1, "reason"]
    assert not Path("runs/small/tune-0002").exists()
    assert len(pd.read_csv("runs/small/tune-0003/fits/whole/history.csv")) == 1
    assert "epoch 3/3" in run("train", "small.yaml", "--run", "tune-0003")  # a run that was stopped, and can go on


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({}, ["tune.space: it is empty"]),
        ({"training.epoch": [1, 2]}, ["tune.space.training.epoch, 1", "Did you mean 'epochs'?"]),
        ({"training.epochs": {"low": 0, "high": 5}}, ["tune.space.training.epochs, 0", "greater than or equal to 1"]),
        ({"model.dropout": [0.5, 1.5]}, ["tune.space.model.dropout, 1.5", "less than 1"]),
        ({"augment": ["light", "hevy"]}, ["tune.space.augment, hevy", "Did you mean 'heavy'?"]),
    ],
)
def test_a_value_that_cannot_be_is_refused_before_anything_is_written(cohort, space, said):
    search(space)
    with pytest.raises(InputError) as error:
        tune("small.yaml")
    for words in said:
        assert words in str(error.value)
    assert len(error.value.problems) == 1
    assert not Path("runs").exists()


def test_a_study_is_not_mixed_with_trials_of_another_kind(cohort):
    search({"model.dropout": [0.0, 0.5]})
    _write_study(study_at("small", "tune"), "small.yaml", load_experiment(Path("small.yaml")), [])
    for change in ("tune.space={model.dropout: [0.0, 0.3]}", "training.epochs=3", "training.batch_size=2"):
        with pytest.raises(InputError, match="this study has other settings") as error:
            tune("small.yaml", [change])
        assert change.partition("=")[0] in str(error.value) and "--study NAME" in str(error.value)
    with pytest.raises(InputError, match="cannot be a name"):
        tune("small.yaml", work=Work(study="../x"))
    with pytest.raises(InputError, match="no run"):
        run_at("small", "tune")
