import logging

import numpy as np
import pandas as pd
import pytest

from tfmri.tasks.registry import make_task
from tfmri.training.callbacks.collapse import Collapse, one_answer, same_outputs

SEX = pd.Series(["f", "m"] * 5, name="sex")
AGE = pd.Series(np.linspace(20, 74, 10), name="age")
SCANS = np.array([f"sub-{index}" for index in range(10)])
RANDOM = np.random.default_rng(0)


def outputs_that(task, kind):
    """(10, outputs) of a model that tells scans apart, or predicts nearly or exactly the same for all."""
    constant = np.tile(RANDOM.normal(size=task.outputs), (10, 1)).astype(np.float32)
    return constant + {"constant": 0, "nearly": 1e-3, "different": 3}[kind] * RANDOM.normal(size=constant.shape)


@pytest.mark.parametrize(("task", "truth"), [("classification", SEX), ("regression", AGE), ("soft_labels", AGE)])
def test_predictions_that_tell_nobody_apart_are_said_in_a_sentence(task, truth):
    task = make_task(task, truth)
    assert one_answer(task, truth, outputs_that(task, "different")) == ""
    for kind in ("constant", "nearly"):
        said = one_answer(task, truth, outputs_that(task, kind))
        assert "all 10 validation scans" in said and "--overfit-one-batch" in said
    assert one_answer(task, truth.iloc[:1], outputs_that(task, "constant")[:1]) == ""


def test_the_sentence_says_what_was_predicted_and_what_is_true():
    classes = make_task("classification", SEX)
    said = one_answer(classes, SEX, np.tile([0.0, 1.0], (10, 1)))
    assert "'m', where there are 5 f, 5 m" in said and "balanced" not in said
    uneven = pd.Series(["f"] * 2 + ["m"] * 8)
    assert "training.sampling=balanced" in one_answer(classes, uneven, np.tile([0.0, 1.0], (10, 1)))
    number = make_task("regression", AGE)
    said = one_answer(number, AGE, np.full((10, 1), 0.5) + np.linspace(-0.02, 0.02, 10)[:, None])
    assert f"{0.5 * number.sd + number.mean:.3g} with a standard deviation of 0.22" in said and "truth is 17" in said


def test_outputs_are_the_same_to_rounding_and_no_further():
    constant = np.full((6, 2), 3.0, np.float32)
    assert same_outputs(constant) and same_outputs(np.nextafter(constant, 4)) and same_outputs(0 * constant)
    assert not same_outputs(constant + 1e-3 * np.eye(6, 2)) and not same_outputs(constant[:1])


def test_a_collapse_is_told_once_also_after_a_resume_and_the_end_knows_of_it(caplog):
    task = make_task("classification", SEX)
    rows = np.arange(10)
    callback = Collapse(task, SEX, SCANS)
    with caplog.at_level(logging.WARNING, logger="tfmri"):
        callback.on_epoch_begin(0)
        callback.on_validation(rows, outputs_that(task, "different"))
        assert not caplog.records and not callback.last
        for epoch in (1, 2):
            callback.on_epoch_begin(epoch)
            callback.on_validation(rows, outputs_that(task, "constant"))
        again = Collapse(task, SEX, SCANS)
        again.set_state(callback.get_state())
        assert again.last == callback.last != ""
        again.on_validation(rows, outputs_that(task, "constant"))
    [record] = caplog.records
    assert "epoch 2: the model's output is the same for all 10 validation scans" in record.getMessage()


def test_scans_whose_output_is_no_number_are_named(caplog):
    task = make_task("classification", SEX)
    outputs = outputs_that(task, "different")
    outputs[[2, 5]] = np.nan
    with caplog.at_level(logging.WARNING, logger="tfmri"):
        Collapse(task, SEX, SCANS).on_validation(np.arange(10), outputs)
    assert "no number for sub-2, sub-5: look at these scans" in caplog.text
