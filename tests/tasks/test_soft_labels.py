"""Soft labels against SciPy's normal distribution and relative entropy, and against the published setting."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from scipy.special import rel_entr, softmax
from scipy.stats import norm

from tfmri.errors import InputError
from tfmri.tasks.registry import make_task
from tfmri.tasks.soft_labels import soft_labels

AGES = pd.Series(np.random.default_rng(0).uniform(45, 79, 12).round(1), name="age")


@pytest.fixture
def published():
    return make_task("soft_labels", AGES, range=[42, 82])


def test_the_published_setting_has_40_bins_of_a_year(published):
    assert published.outputs == 40
    assert published.edges[[0, 1, -1]].tolist() == [42, 43, 82]
    assert published.centres[[0, 1, -1]].tolist() == [42.5, 43.5, 81.5]


def test_a_label_is_the_normal_mass_of_each_bin(published):
    label = published.encode(pd.Series([60.3], name="age"))
    expected = [norm.cdf(edge + 1, 60.3, 1) - norm.cdf(edge, 60.3, 1) for edge in range(42, 82)]
    assert label.shape == (1, 40) and label.dtype == np.float32
    np.testing.assert_allclose(label[0], expected, atol=1e-7)


def test_rows_sum_to_1_even_at_the_ends_of_the_range():
    labels = soft_labels(np.array([42.0, 42.4, 60.0, 82.0]), np.arange(42.0, 83.0), 1.0)
    np.testing.assert_allclose(labels.sum(axis=1), 1, rtol=1e-12)
    half = np.diff(norm.cdf(np.arange(42.0, 83.0), 42, 1))
    np.testing.assert_allclose(labels[0], 2 * half, rtol=1e-9)


def test_bins_reach_three_sigma_beyond_the_training_ages_to_whole_bins():
    task = make_task("soft_labels", pd.Series([21.3, 64.9], name="age"), bin_width=5.0, sigma=2.0)
    assert (task.lowest, task.edges[-1], task.bins) == (15, 75, 12)  # 15.3 and 70.9, outwards


def test_sure_outputs_decode_to_the_age():
    task = make_task("soft_labels", AGES, sigma=2.0)
    decoded = task.decode(np.log(task.encode(AGES) + 1e-30))["prediction"]
    np.testing.assert_allclose(decoded, AGES, atol=0.05)  # the labels' tails end at three sigma


def test_the_prediction_is_the_mean_of_the_predicted_distribution(published):
    output = np.random.default_rng(2).normal(size=(5, 40)).astype(np.float32)
    expected = [sum(p * (42.5 + place) for place, p in enumerate(row)) for row in softmax(output, axis=1)]
    np.testing.assert_allclose(published.decode(output)["prediction"], expected, rtol=1e-6)


def test_loss_is_the_relative_entropy_of_label_and_softmax(published):
    output = np.random.default_rng(3).normal(scale=3, size=(12, 40)).astype(np.float32)
    target = published.encode(AGES)
    loss = published.loss(tf.constant(target), tf.constant(output))
    assert loss.shape == (12,) and loss.dtype == tf.float32
    expected = rel_entr(target.astype(float), softmax(output.astype(float), axis=1)).sum(axis=1)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


def test_loss_and_gradient_are_finite_for_empty_bins_and_extreme_outputs(published):
    target = tf.constant(published.encode(AGES))
    output = tf.constant(np.random.default_rng(4).normal(scale=300, size=(12, 40)).astype(np.float32))
    with tf.GradientTape() as tape:
        tape.watch(output)
        loss = tf.reduce_sum(published.loss(target, output))
    assert np.isfinite(loss)
    np.testing.assert_allclose(tape.gradient(loss, output), tf.nn.softmax(output) - target, atol=1e-5)


def test_the_model_starts_from_the_training_ages_with_no_bin_impossible(published):
    start = softmax(published.initial_bias())
    np.testing.assert_allclose(start, 0.9 * published.encode(AGES).mean(axis=0) + 0.1 / 40, atol=1e-6)


def test_ages_outside_the_bins_are_named(published):
    with pytest.raises(InputError, match=r"target 'age': outside the bins: 41\.5, 90; expected 42 to 82"):
        published.encode(pd.Series([50, 90, 41.5, 90], name="age"))


def test_metrics_are_in_years(published):
    output = np.log(published.encode(AGES + 2) + 1e-30)
    assert published.metrics(AGES, output) == {"mae": pytest.approx(2, abs=0.05), "rmse": pytest.approx(2, abs=0.05)}


@pytest.mark.parametrize(
    ("values", "settings", "message"),
    [
        ([50.0, 50.0], {}, "all 2 training values are 50"),
        ([50.0, 60.0], {"range": [40, 70.5]}, "range 40 to 70.5 in bins of 1; expected two or more whole bins"),
        ([50.0, 60.0], {"range": [70, 40]}, "range 70 to 40"),
        ([50.0, 60.0], {"range": [55, 70]}, "outside the bins: 50; expected 55 to 70"),
        ([50.0, 60.0], {"sigma": 0}, r"targets\.age\.sigma: found 0"),
        ([50.0, 60.0], {"bin_widht": 2}, r"targets\.age\.bin_widht: unknown option\. Did you mean 'bin_width'"),
    ],
)
def test_what_cannot_be_learned_is_refused(values, settings, message):
    with pytest.raises(InputError, match=message):
        make_task("soft_labels", pd.Series(values, name="age"), **settings)
