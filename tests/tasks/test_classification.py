"""Classification against scikit-learn: loss, weights, probabilities, measures."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from scipy.special import softmax
from sklearn import metrics
from sklearn.utils.class_weight import compute_sample_weight

from tfmri.errors import InputError
from tfmri.tasks.registry import make_task

DIAGNOSES = ["healthy", "MCI", "dementia"]
SEX = pd.Series(["m", "f", "m", "m", "f", "m"], index=[4, 9, 2, 7, 1, 0], name="sex")


@pytest.fixture
def diagnosis() -> pd.Series:
    return pd.Series(np.repeat(DIAGNOSES, [6, 3, 2])[np.random.default_rng(0).permutation(11)], name="diagnosis")


@pytest.fixture
def logits() -> np.ndarray:
    return np.random.default_rng(1).normal(scale=2, size=(11, 3)).astype(np.float32)


def test_the_order_of_the_classes_is_the_one_given_whatever_the_order_of_the_rows():
    for classes in (["f", "m"], {"f": ["female"], "m": ["male"]}):
        task = make_task("classification", SEX, classes=classes)
        assert task.classes == ("f", "m") and task.counts == (2, 4)
        assert task.encode(SEX).tolist() == [1, 0, 1, 1, 0, 1] and task.encode(SEX).dtype == np.int32
    assert make_task("classification", SEX, classes=["m", "f"]).encode(SEX).tolist() == [0, 1, 0, 0, 1, 0]


def test_loss_is_scikit_learns_log_loss(diagnosis, logits):
    task = make_task("classification", diagnosis, classes=DIAGNOSES)
    codes = task.encode(diagnosis)
    loss = task.loss(tf.constant(codes), tf.constant(logits))
    assert loss.shape == (11,) and loss.dtype == tf.float32
    expected = metrics.log_loss(codes, softmax(logits.astype(float), axis=1), labels=[0, 1, 2])
    np.testing.assert_allclose(np.mean(loss), expected, rtol=1e-5)


def test_label_smoothing_mixes_the_label_with_the_uniform_distribution(diagnosis, logits):
    codes = make_task("classification", diagnosis, classes=DIAGNOSES).encode(diagnosis)
    task = make_task("classification", diagnosis, classes=DIAGNOSES, label_smoothing=0.3)
    log_p = np.log(softmax(logits.astype(float), axis=1))
    expected = -0.7 * log_p[np.arange(11), codes] - 0.1 * log_p.sum(axis=1)
    np.testing.assert_allclose(task.loss(tf.constant(codes), tf.constant(logits)), expected, rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_the_focal_loss_turns_down_what_is_easy_by_its_closed_form(diagnosis, logits, gamma):
    task = make_task("classification", diagnosis, classes=DIAGNOSES, focal_gamma=gamma, class_weights="balanced")
    codes = task.encode(diagnosis)
    p = softmax(logits.astype(float), axis=1)[np.arange(11), codes]
    loss = task.loss(tf.constant(codes), tf.constant(logits))
    assert loss.shape == (11,) and loss.dtype == tf.float32
    np.testing.assert_allclose(loss, -((1 - p) ** gamma) * np.log(p), rtol=1e-4)
    np.testing.assert_allclose(task.weights(diagnosis), compute_sample_weight("balanced", diagnosis), rtol=1e-6)


def test_the_focal_loss_with_label_smoothing_is_that_of_keras(diagnosis, logits):
    task = make_task("classification", diagnosis, classes=DIAGNOSES, focal_gamma=2.0, label_smoothing=0.2)
    codes = task.encode(diagnosis)
    of_keras = keras.losses.CategoricalFocalCrossentropy(1.0, 2.0, True, 0.2, reduction=None)
    expected = of_keras(np.eye(3, dtype=np.float32)[codes], logits)
    np.testing.assert_allclose(task.loss(tf.constant(codes), tf.constant(logits)), expected, rtol=1e-4)


def test_the_focal_loss_and_its_gradient_are_finite_where_the_model_is_certain(diagnosis):
    task = make_task("classification", diagnosis, classes=DIAGNOSES, focal_gamma=0.5)
    for sign in (1, -1):
        output = tf.constant(sign * 1000 * np.eye(3, dtype=np.float32)[task.encode(diagnosis)])
        with tf.GradientTape() as tape:
            tape.watch(output)
            loss = task.loss(tf.constant(task.encode(diagnosis)), output)
        assert np.isfinite(loss).all() and np.isfinite(tape.gradient(loss, output)).all()


def test_balanced_weights_are_scikit_learns_and_have_the_mean_1(diagnosis):
    task = make_task("classification", diagnosis, classes=DIAGNOSES, class_weights="balanced")
    weights = task.weights(diagnosis)
    np.testing.assert_allclose(weights, compute_sample_weight("balanced", diagnosis), rtol=1e-6)
    assert weights.dtype == np.float32
    assert np.mean(weights) == pytest.approx(1, abs=1e-6)
    of_class = pd.Series(weights).groupby(diagnosis).sum()
    np.testing.assert_allclose(of_class, 11 / 3, rtol=1e-6)


def test_without_class_weights_every_sample_counts_1(diagnosis):
    assert make_task("classification", diagnosis, classes=DIAGNOSES).weights(diagnosis).tolist() == [1.0] * 11


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_no_other_constant_output_has_a_lower_training_loss_than_the_initial_bias(diagnosis, class_weights):
    task = make_task("classification", diagnosis, classes=DIAGNOSES, class_weights=class_weights, label_smoothing=0.1)
    with tf.GradientTape() as tape:
        bias = tf.constant(task.initial_bias())
        tape.watch(bias)
        losses = task.loss(tf.constant(task.encode(diagnosis)), tf.tile(bias[None], (11, 1)))
        loss = tf.reduce_mean(task.weights(diagnosis) * losses)
    np.testing.assert_allclose(tape.gradient(loss, bias), 0, atol=1e-6)  # convex: no gradient, hence the minimum


def test_decoding_gives_probabilities_in_the_order_of_the_classes(diagnosis, logits):
    table = make_task("classification", diagnosis, classes=DIAGNOSES).decode(logits)
    assert list(table.columns) == ["prediction", "p_healthy", "p_MCI", "p_dementia"]
    np.testing.assert_allclose(table.iloc[:, 1:].to_numpy(float), softmax(logits, axis=1), rtol=1e-5)
    assert table["prediction"].tolist() == [DIAGNOSES[place] for place in logits.argmax(axis=1)]


def test_sure_outputs_decode_to_what_was_encoded(diagnosis):
    task = make_task("classification", diagnosis, classes=DIAGNOSES)
    output = 1000 * np.eye(3, dtype=np.float32)[task.encode(diagnosis)]
    assert task.decode(output)["prediction"].tolist() == diagnosis.tolist()
    assert task.metrics(diagnosis, output) == {"balanced_accuracy": 1.0, "accuracy": 1.0}


def test_metrics_are_scikit_learns(diagnosis, logits):
    task = make_task("classification", diagnosis, classes=DIAGNOSES)
    found = task.decode(logits)["prediction"]
    assert task.metrics(diagnosis, logits) == {
        "balanced_accuracy": pytest.approx(metrics.balanced_accuracy_score(diagnosis, found)),
        "accuracy": pytest.approx(metrics.accuracy_score(diagnosis, found)),
    }


@pytest.mark.filterwarnings("error")
def test_balanced_accuracy_is_over_the_classes_there_are():
    task = make_task("classification", SEX, classes=["f", "m"])
    men = pd.Series(["m", "m", "m", "m"], name="sex")
    output = np.array([[0, 1], [0, 1], [0, 1], [1, 0]], np.float32)
    assert task.metrics(men, output)["balanced_accuracy"] == 0.75


@pytest.mark.parametrize(
    ("values", "settings", "message"),
    [
        (["f", "f"], {"classes": ["f", "m"]}, "target 'sex': no training scan of m"),
        (["f", "x"], {"classes": ["f", "m"]}, "unknown class 'x'; expected one of f, m"),
        (["f", "f"], {}, "1 class: f; expected two or more"),
        (["f", "m"], {"class_weights": "balance"}, r"targets\.sex\.class_weights: found 'balance'"),
        (["f", "m"], {"focal_gamma": -1.0}, r"targets\.sex\.focal_gamma: found -1\.0"),
        (["f", "m"], {"label_smoothing": 1.0}, r"targets\.sex\.label_smoothing: found 1\.0"),
    ],
)
def test_what_cannot_be_learned_is_refused(values, settings, message):
    with pytest.raises(InputError, match=message):
        make_task("classification", pd.Series(values, name="sex"), **settings)
