"""Ordered classes against SciPy's logistic distribution and scikit-learn."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from scipy.special import expit
from scipy.stats import logistic
from sklearn import metrics

from tfmri.errors import InputError
from tfmri.tasks.registry import make_task

STAGES = ["healthy", "mild", "MCI", "dementia"]
TRUTH = pd.Series(np.repeat(STAGES, [6, 2, 3, 2])[np.random.default_rng(0).permutation(13)], name="stage")
CODES = TRUTH.map(STAGES.index).to_numpy()
OUTPUT = np.random.default_rng(1).normal(scale=2, size=(13, 3)).astype(np.float32)


def task_of(**settings):
    return make_task("ordinal", TRUTH, classes=STAGES, **settings)


def cumulative_logits(output):
    """z, one after another as the module's first lines have it."""
    rows = []
    for first, *others in output.astype(float):
        rows.append([first])
        for each in others:
            rows[-1].append(rows[-1][-1] - np.log(1 + np.exp(each)))
    return np.array(rows)


def probabilities(table):
    return table[[f"p_{name}" for name in STAGES]].to_numpy(float)


def test_probabilities_are_those_of_a_logistic_variable_between_thresholds():
    expected = []
    for z in cumulative_logits(OUTPUT):  # stage >= k where a logistic variable around 0 is above -z_k
        edges = [-np.inf, *-z, np.inf]
        expected.append([logistic.cdf(high) - logistic.cdf(low) for low, high in pairwise(edges)])
    table = task_of().decode(OUTPUT)
    np.testing.assert_allclose(probabilities(table), expected, rtol=1e-6, atol=1e-12)
    assert table["prediction"].tolist() == [STAGES[place] for place in np.argmax(expected, axis=1)]


@pytest.mark.filterwarnings("error")
def test_probabilities_are_never_negative_and_have_the_sum_1_however_wild_the_outputs():
    wild = np.random.default_rng(2).normal(scale=300, size=(2000, 3))
    found = probabilities(task_of().decode(wild))
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-12)
    broken = task_of().decode(np.array([[0, np.inf, 0], [0, 0, np.nan], [0, 0, 0]]))
    assert np.isnan(probabilities(broken)).tolist() == [[True] * 4, [True] * 4, [False] * 4]


def test_the_likelihood_is_scikit_learns_log_loss():
    loss = task_of().loss(tf.constant(CODES, tf.int32), tf.constant(OUTPUT))
    assert loss.shape == (13,) and loss.dtype == tf.float32
    expected = metrics.log_loss(CODES, probabilities(task_of().decode(OUTPUT)), labels=range(4))
    np.testing.assert_allclose(np.mean(loss), expected, rtol=1e-5)


def test_coral_is_the_sum_of_scikit_learns_log_losses_of_whether_each_stage_is_reached():
    task = task_of(loss="coral")
    loss = task.loss(tf.constant(CODES, tf.int32), tf.constant(OUTPUT))
    reached = expit(cumulative_logits(OUTPUT))
    expected = sum(metrics.log_loss(step < CODES, reached[:, step]) for step in range(3))
    np.testing.assert_allclose(np.mean(loss), expected, rtol=1e-5)


@pytest.mark.parametrize("loss", ["likelihood", "coral"])
def test_loss_and_gradient_are_finite_for_extreme_outputs(loss):
    task, output = task_of(loss=loss), tf.constant(300 * OUTPUT)
    with tf.GradientTape() as tape:
        tape.watch(output)
        value = task.loss(tf.constant(CODES, tf.int32), output)
    assert np.isfinite(value).all() and np.isfinite(tape.gradient(value, output)).all()


@pytest.mark.parametrize("loss", ["likelihood", "coral"])
@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_the_model_starts_at_the_shares_of_the_classes_where_no_constant_is_better(loss, class_weights):
    task = task_of(loss=loss, class_weights=class_weights)
    shares = [0.25] * 4 if class_weights == "balanced" else np.array([6, 2, 3, 2]) / 13
    np.testing.assert_allclose(probabilities(task.decode(task.initial_bias()[None]))[0], shares, rtol=1e-5)
    with tf.GradientTape() as tape:
        bias = tf.constant(task.initial_bias())
        tape.watch(bias)
        losses = task.loss(tf.constant(task.encode(TRUTH)), tf.tile(bias[None], (13, 1)))
        mean = tf.reduce_mean(task.weights(TRUTH) * losses)
    np.testing.assert_allclose(tape.gradient(mean, bias), 0, atol=1e-6)


def test_two_stages_are_a_logistic_regression():
    task = make_task("ordinal", pd.Series(["a", "b"], name="stage"), classes=["a", "b"])
    table = task.decode(np.array([[-1.0], [2.0]]))
    np.testing.assert_allclose(table["p_b"], expit([-1, 2]))
    np.testing.assert_allclose(task.initial_bias(), [0])


def test_metrics_are_scikit_learns():
    found = task_of().decode(OUTPUT)["prediction"]
    said = found.map(STAGES.index)
    assert task_of().metrics(TRUTH, OUTPUT) == {
        "balanced_accuracy": pytest.approx(metrics.balanced_accuracy_score(TRUTH, found)),
        "accuracy": pytest.approx(metrics.accuracy_score(TRUTH, found)),
        "stage_mae": pytest.approx(metrics.mean_absolute_error(CODES, said)),
        "quadratic_kappa": pytest.approx(metrics.cohen_kappa_score(CODES, said, weights="quadratic")),
    }


@pytest.mark.filterwarnings("error")
def test_where_all_are_of_one_class_and_said_to_be_there_is_no_kappa():
    found = task_of().metrics(pd.Series(["healthy"] * 3), np.tile(np.float32([-9, 0, 0]), (3, 1)))
    assert np.isnan(found.pop("quadratic_kappa"))
    assert found == {"balanced_accuracy": 1, "accuracy": 1, "stage_mae": 0}


@pytest.mark.parametrize(
    ("values", "settings", "message"),
    [
        (["a", "b"], {}, r"targets\.stage\.classes: missing"),
        (["a", "b"], {"classes": ["b"]}, "1 class: b; expected two or more"),
        (["a", "b"], {"classes": ["a", "b", "c"]}, "no training scan of c"),
        (["a", "b"], {"classes": ["a", "b"], "loss": "corn"}, "'likelihood' or 'coral'"),
        (["a", "b"], {"classes": ["a", "b"], "label_smoothing": 0.1}, r"targets\.stage\.label_smoothing: unknown"),
    ],
)
def test_what_cannot_be_learned_is_refused(values, settings, message):
    with pytest.raises(InputError, match=message):
        make_task("ordinal", pd.Series(values, name="stage"), **settings)
