"""What a training tells of itself: whether it can learn, whether it learns from labels alone, where it broke down."""

import contextlib

import numpy as np
import pandas as pd
import pytest
import yaml
from cohort_of_balls import write_cohort
from program import tfmri

TOO_FAST = ["training.optimizer={name: sgd, learning_rate: 1.0e12}", "training.epochs=6"]
AGE = ["--set", "targets={age: {task: regression}}"]
COMMANDS = {
    "fits": ["train", "small.yaml", "--overfit-one-batch"],
    "fails": ["train", "small.yaml", "--overfit-one-batch", *AGE, "--set", "training.optimizer.learning_rate=1e-9"],
    "no classes": ["train", "small.yaml", *AGE, "--set", "training.sampling=balanced"],
    "twice": [
        "train",
        "small.yaml",
        "--set",
        "training.sampling=balanced",
        "--set",
        "targets.sex.class_weights=balanced",
    ],
    "breaks": ["train", "small.yaml", "--run", "breaks", *(part for each in TOO_FAST for part in ("--set", each))],
    "shuffled": ["train", "small.yaml", "--run", "shuffled", "--shuffle-labels", "--set", "training.sampling=balanced"],
    "evaluated": ["evaluate", "small/shuffled"],
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """The folder, and by command its exit code and what it said."""
    folder = tmp_path_factory.mktemp("checks")
    write_cohort(folder)
    with contextlib.chdir(folder):
        done = {name: tfmri(*arguments) for name, arguments in COMMANDS.items()}
    return folder, {name: (each.returncode, each.stdout + each.stderr) for name, each in done.items()}


def test_one_batch_is_learnt_by_heart_or_it_is_said_that_it_cannot_be(answers):
    folder, said = answers
    code, words = said["fits"]
    assert code == 0, words
    assert "The model can fit one batch of 4 scans: loss" in words and "accuracy 0." in words
    code, words = said["fails"]
    assert code == 3, words
    assert "does not fit one batch of 4 scans" in words and "after 300 steps" in words
    assert "mean absolute error" in words and "it is 1e-09" in words
    assert sorted(path.name for path in (folder / "runs" / "small").iterdir()) == ["breaks", "latest", "shuffled"]


def test_balanced_sampling_is_refused_where_it_has_no_meaning(answers):
    _, said = answers
    for name, words in (("no classes", "'age', which has no classes"), ("twice", "count twice over")):
        assert said[name][0] == 2 and "training.sampling: balanced" in said[name][1] and words in said[name][1]


def test_a_loss_that_is_no_number_ends_the_training_names_the_scans_and_keeps_the_last_good_checkpoint(answers):
    folder, said = answers
    code, words = said["breaks"]
    assert code == 2 and "Traceback" not in words
    message = words.splitlines()[-1]
    assert "is not a number for s" in message and "training.optimizer.learning_rate" in message
    run = folder / "runs" / "small" / "breaks"
    named = set(message.split(" for ", 1)[1].split(". ")[0].split(", "))
    splits = pd.read_csv(run / "splits.csv", dtype=str)
    assert 1 <= len(named) <= 4 and named <= set(splits.loc[splits["split"] == "train", "scan"])
    for path in (run / "fits" / "whole" / "checkpoints").glob("*.npz"):
        with np.load(path) as kept:
            assert all(np.isfinite(kept[name]).all() for name in kept.files if name.startswith("variable"))


def test_shuffled_labels_are_recorded_and_their_results_compared_with_chance(answers):
    folder, said = answers
    code, words = said["shuffled"]
    assert code == 0, words
    assert "note: sex was shuffled among the subjects" in words
    assert "shuffled labels: balanced accuracy" in words and "on validation after the last epoch" in words
    run = folder / "runs" / "small" / "shuffled"
    assert yaml.safe_load((run / "experiment.yaml").read_text())["data"]["shuffle_labels"] is True
    assert "sex was shuffled" in (run / "warnings.log").read_text()
    known = pd.read_csv(folder / "labels.csv", dtype=str).set_index("subject")["sex"]
    scans = pd.read_csv(run / "scans.csv", dtype=str).merge(pd.read_csv(run / "splits.csv", dtype=str), on="scan")
    scans = scans.rename(columns={"subject_x": "subject"})
    true = scans["sex"].to_numpy() == known[scans["subject"]].to_numpy()
    assert true[scans["split"] == "test"].all() and not true[scans["split"] == "train"].all()
    code, words = said["evaluated"]
    assert code == 0 and "shuffled labels: balanced accuracy" in words and "on test" in words
