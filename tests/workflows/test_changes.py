"""Settings of a run that exists, changed without training: experiment.yaml, provenance.json and the fits' histories."""

import json
import logging

import pandas as pd
import pytest
import yaml
from cohort_of_balls import SETTINGS

from tfmri.errors import InputError
from tfmri.experiment.load import dump, load_experiment
from tfmri.files import write_csv, write_json, write_text
from tfmri.runs.directory import Run
from tfmri.workflows.changes import take_changes

BEGAN = ["training.epochs=6", "training.patience=3", "split.folds=2"]


@pytest.fixture
def begun(tmp_path):
    """A run of two folds: fold-1 stopped early after 5 of 6 epochs, fold-2 has done 4 of them."""
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SETTINGS))
    run = Run(tmp_path / "runs" / "small" / "a")
    write_text(run.experiment, dump(load_experiment(tmp_path / "small.yaml", BEGAN)))
    write_json(run.provenance, {"experiment": "small.yaml", "set": BEGAN})
    for name, losses, ended in (("fold-1", [3, 1, 2, 2, 2], True), ("fold-2", [5, 4, 3, 2], False)):
        fit = run.fit(name)
        steps = [2 * (epoch + 1) for epoch in range(len(losses))]
        write_csv(fit.history, pd.DataFrame({"step": steps, "validation_loss": losses}))
        write_json(fit.provenance, {"started": "then"} | ({"ended": "now"} if ended else {}))
    return run


def change(run, *overrides):
    path = run.path.parents[2] / "small.yaml"
    take_changes(run, load_experiment(path, [*BEGAN, *overrides]), overrides)


def state(run):
    return {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file() and path.name != ".lock"}


def test_more_epochs_are_recorded_and_leave_a_fit_that_stopped_early_at_its_end(begun, caplog, capsys):
    change(begun, "training.epochs=8", "evaluation.resamples=200")
    assert load_experiment(begun.experiment).training.epochs == 8
    known = json.loads(begun.provenance.read_text())
    assert known["set"] == ["training.patience=3", "split.folds=2", "training.epochs=8", "evaluation.resamples=200"]
    assert [(each["key"], each["old"], each["new"]) for each in known["changes"]] == [
        ("training.epochs", 6, 8),
        ("evaluation.resamples", 1000, 200),
    ]
    assert "training.epochs: 6 -> 8" in capsys.readouterr().out
    assert begun.fit("fold-1").finished and not begun.fit("fold-2").finished
    said = next(each for each in caplog.messages if each.startswith("fold-2"))
    # The cosine after one epoch of rise: 3 of 5 epochs done, and 3 of 7. cos² of half the angle is its share.
    assert "from epoch 5 on" in said and "0.000611 at its first step, where that of 6 has 0.000345" in said
    change(begun, "training.epochs=8", "evaluation.resamples=200", "training.threads=1")
    assert [each["key"] for each in json.loads(begun.provenance.read_text())["changes"][2:]] == ["training.threads"]


def test_more_patience_lets_a_fit_go_on_that_stopped_early_and_less_ends_none_that_is_at_work(begun, caplog):
    change(begun, "training.patience=4")
    assert not begun.fit("fold-1").finished and not begun.fit("fold-2").finished
    assert json.loads(begun.fit("fold-1").provenance.read_text()) == {"started": "then"}
    assert not caplog.messages  # the rate's course is the same


def test_what_cannot_change_is_refused_with_the_difference_and_nothing_is_taken(begun):
    before = state(begun)
    with pytest.raises(InputError, match=r"training\.batch_size: 4 -> 2\)") as refused:
        change(begun, "training.batch_size=2", "training.epochs=8")
    assert "epochs" not in str(refused.value)
    with pytest.raises(InputError, match=r"training\.epochs: 4, and fold-1 has done 5; expected 5 or more"):
        change(begun, "training.epochs=4")
    change(begun)
    assert state(begun) == before


def test_nothing_of_training_changes_while_another_process_trains_a_fit_of_the_run(begun, caplog):
    caplog.set_level(logging.WARNING)
    with begun.fit("fold-2").held():
        before = state(begun)
        with pytest.raises(InputError, match="another process"):
            change(begun, "training.epochs=8")
        assert state(begun) == before
        change(begun, "cluster.h_rt='24:00:00'")
    assert load_experiment(begun.experiment).cluster.h_rt == "24:00:00"
