import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmri.errors import InputError
from tfmri.inference.views import Views, make_forward
from tfmri.models.registry import build_model

SHAPE = (8, 10, 12, 1)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return build_model("small_cnn", SHAPE, 2, filters=[4, 32], dropout=0.5)


@pytest.fixture(scope="module")
def images():
    return tf.constant(np.random.default_rng(0).normal(size=(3, *SHAPE)), tf.float16)


def test_the_looks_are_plain_mirrored_and_draws(model, images):
    found = make_forward(model, Views(mirrored=True, dropout_draws=4))(images).numpy()
    assert found.shape == (3, 6, 2)
    np.testing.assert_array_equal(found[:, 0], model(tf.cast(images, tf.float32), training=False))
    flipped = np.ascontiguousarray(images.numpy()[:, ::-1]).astype(np.float32)
    np.testing.assert_allclose(found[:, 1], model(flipped, training=False), rtol=1e-5)
    assert len(np.unique(found[0, 2:, 0])) == 4


def test_draws_leave_the_running_statistics_of_normalisation_alone(model, images):
    before = [each.numpy().copy() for each in model.non_trainable_variables if "moving" in each.path]
    make_forward(model, Views(dropout_draws=2))(images)
    after = [each.numpy() for each in model.variables if "moving" in each.path]
    assert before
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))


def test_the_mean_of_many_draws_does_not_depend_on_the_other_scans_of_the_batch(model, images):
    """Where normalisation took the batch's statistics, a scan alone would come out otherwise."""
    draws = make_forward(model, Views(dropout_draws=200))
    together, alone = draws(images).numpy()[:1, 1:], draws(images[:1]).numpy()[:, 1:]
    error = np.sqrt(together.var(axis=1) / 200 + alone.var(axis=1) / 200)
    assert (np.abs(together.mean(axis=1) - alone.mean(axis=1)) < 5 * error).all()


def test_a_model_without_dropout_has_no_draws():
    model = build_model("small_cnn", SHAPE, 2, filters=[4], dropout=0)
    with pytest.raises(InputError, match="no dropout"):
        make_forward(model, Views(dropout_draws=3))
