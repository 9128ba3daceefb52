"""Regression against closed forms, SciPy and scikit-learn."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from scipy import special, stats
from sklearn import metrics
from sklearn.preprocessing import StandardScaler

from tfmri.errors import InputError
from tfmri.tasks.registry import make_task

AGES = pd.Series(np.random.default_rng(0).uniform(20, 90, 15).round(1), name="age")
OUTPUT = np.random.default_rng(1).normal(scale=1.5, size=(15, 1)).astype(np.float32)


def test_targets_are_standardised_as_scikit_learn_does():
    encoded = make_task("regression", AGES).encode(AGES)
    assert encoded.shape == (15,) and encoded.dtype == np.float32
    np.testing.assert_allclose(encoded, StandardScaler().fit_transform(AGES.to_numpy()[:, None])[:, 0], rtol=1e-5)


def test_validation_targets_are_standardised_with_the_training_mean_and_sd():
    task = make_task("regression", pd.Series([40.0, 60.0], name="age"))
    assert (task.mean, task.sd) == (50, 10)
    assert task.encode(pd.Series([70.0, 45.0], name="age")).tolist() == [2.0, -0.5]


def test_decoding_undoes_encoding():
    task = make_task("regression", AGES)
    np.testing.assert_allclose(task.decode(task.encode(AGES)[:, None])["prediction"], AGES, rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, np.abs),
        ({"loss": "mae"}, np.abs),
        ({"loss": "mse"}, np.square),
        ({"loss": "huber"}, lambda error: special.huber(1.0, error)),
        ({"loss": "huber", "delta": 0.4}, lambda error: special.huber(0.4, error)),
    ],
)
def test_losses_are_those_of_the_textbook(settings, expected):
    task = make_task("regression", AGES, **settings)
    target = task.encode(AGES)
    loss = task.loss(tf.constant(target), tf.constant(OUTPUT))
    assert loss.shape == (15,) and loss.dtype == tf.float32
    np.testing.assert_allclose(loss, expected(OUTPUT[:, 0] - target), rtol=1e-5)


TWO = np.column_stack([OUTPUT[:, 0], np.random.default_rng(2).normal(size=15)]).astype(np.float32)


def test_the_gaussian_loss_is_minus_the_log_of_scipys_normal_density():
    task = make_task("regression", AGES, loss="gaussian")
    target = task.encode(AGES)
    loss = task.loss(tf.constant(target), tf.constant(TWO))
    assert task.outputs == 2 and loss.shape == (15,) and loss.dtype == tf.float32
    expected = -stats.norm.logpdf(target, TWO[:, 0], np.exp(TWO[:, 1] / 2))
    np.testing.assert_allclose(loss, expected, rtol=1e-4, atol=1e-6)
    table = task.decode(TWO)  # of years rather than standard deviations: the density is that of the columns
    in_years = -stats.norm.logpdf(AGES, table["prediction"], table["sd"]) - np.log(task.sd)
    np.testing.assert_allclose(loss, in_years, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_beta_weighs_the_gradient_and_leaves_the_value(beta):
    task, output = make_task("regression", AGES, loss="gaussian", beta=beta), tf.constant(TWO)
    target = task.encode(AGES)
    with tf.GradientTape() as tape:
        tape.watch(output)
        loss = task.loss(tf.constant(target), output)
    variance = np.exp(TWO[:, 1].astype(float))
    error = TWO[:, 0] - target
    expected = np.column_stack([error / variance, 0.5 - 0.5 * error**2 / variance]) * variance[:, None] ** beta
    np.testing.assert_allclose(tape.gradient(loss, output), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(loss, -stats.norm.logpdf(target, TWO[:, 0], np.sqrt(variance)), rtol=1e-4, atol=1e-6)


def test_the_gaussian_loss_starts_from_mean_and_sd_and_is_finite_for_extreme_outputs():
    task = make_task("regression", AGES, loss="gaussian")
    start = task.decode(task.initial_bias()[None]).iloc[0]
    assert (start["prediction"], start["sd"]) == pytest.approx((AGES.mean(), AGES.std(ddof=0)))
    wild = tf.constant(1000 * TWO)
    with tf.GradientTape() as tape:
        tape.watch(wild)
        loss = task.loss(tf.constant(task.encode(AGES)), wild)
    assert np.isfinite(loss).all() and np.isfinite(tape.gradient(loss, wild)).all()
    assert np.isfinite(task.decode(1000 * TWO)).all(axis=None) and (task.decode(1000 * TWO)["sd"] > 0).all()


def test_metrics_are_scikit_learns_in_the_targets_unit():
    task = make_task("regression", AGES)
    prediction = OUTPUT[:, 0].astype(float) * np.std(AGES.to_numpy()) + np.mean(AGES.to_numpy())
    assert task.metrics(AGES, OUTPUT) == {
        "mae": pytest.approx(metrics.mean_absolute_error(AGES, prediction)),
        "rmse": pytest.approx(metrics.root_mean_squared_error(AGES, prediction)),
    }


def test_every_sample_counts_1_and_the_start_is_the_mean():
    task = make_task("regression", AGES)
    assert task.weights(AGES).tolist() == [1.0] * 15
    assert task.decode(task.initial_bias()[None])["prediction"].item() == pytest.approx(AGES.mean())


@pytest.mark.parametrize(
    ("values", "settings", "message"),
    [
        ([7.0, 7.0, 7.0], {}, "target 'age': all 3 training values are 7; expected values that differ"),
        ([0.1] * 7, {}, "all 7 training values are 0.1"),
        ([7.0, np.nan], {}, "found nan; expected finite numbers"),
        ([7.0, np.inf], {}, "found inf; expected finite numbers"),
        ([7.0, 8.0], {"loss": "l1"}, r"targets\.age\.loss: found 'l1'.*'mae', 'mse', 'huber' or 'gaussian'"),
        ([7.0, 8.0], {"loss": "gaussian", "beta": 1.5}, r"targets\.age\.beta: found 1\.5"),
        ([7.0, 8.0], {"loss": "huber", "delta": 0}, r"targets\.age\.delta: found 0"),
    ],
)
def test_what_cannot_be_learned_is_refused(values, settings, message):
    with pytest.raises(InputError, match=message):
        make_task("regression", pd.Series(values, name="age"), **settings)
