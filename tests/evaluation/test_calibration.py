import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import balanced_accuracy_score, log_loss

from tfmri.evaluation.calibration import choose_threshold, fit_temperature, scaled


def drawn(sureness: float, scans: int = 4000, classes: int = 3, seed: int = 0):
    """Truth drawn from the softmax of logits, and a model that takes `sureness` times these logits."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, (scans, classes))
    truth = (softmax(logits, axis=1).cumsum(axis=1) < random.random((scans, 1))).sum(axis=1)
    return truth, softmax(sureness * logits, axis=1)


@pytest.mark.parametrize("sureness", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_how_much_too_sure_a_model_is(sureness):
    truth, probabilities = drawn(sureness)
    assert fit_temperature(probabilities, truth) == pytest.approx(sureness, rel=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_where_it_was_fitted_the_log_loss_is_never_higher_and_the_order_is_the_same(seed):
    truth, probabilities = drawn(2.0, scans=30, classes=2, seed=seed)
    softer = scaled(probabilities, fit_temperature(probabilities, truth))
    assert log_loss(truth, softer) <= log_loss(truth, probabilities) + 1e-12
    np.testing.assert_array_equal(np.argsort(softer[:, 1]), np.argsort(probabilities[:, 1]))
    np.testing.assert_allclose(softer.sum(axis=1), 1)


def test_a_perfect_and_a_hopeless_model_get_a_temperature_that_is_finite():
    sure = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert 0.01 < fit_temperature(sure, [0, 1]) <= 1 and fit_temperature(sure, [1, 0]) == pytest.approx(20)
    with pytest.raises(ValueError, match="at least one"):
        fit_temperature(np.empty((0, 2)), [])


@pytest.mark.parametrize("seed", range(5))
def test_no_threshold_has_a_better_balanced_accuracy(seed):
    random = np.random.default_rng(seed)
    positive = random.random(60) < 0.2
    score = np.round(np.clip(0.3 + 0.2 * positive + random.normal(0, 0.15, 60), 0, 1), 1)  # with ties
    reached = balanced_accuracy_score(positive, score >= choose_threshold(positive, score))
    assert reached == max(balanced_accuracy_score(positive, score >= cut) for cut in np.linspace(-0.05, 1.05, 111))


def test_of_equal_thresholds_the_one_nearest_to_a_half_is_taken():
    assert choose_threshold(np.array([False, True]), np.array([0.1, 0.9])) == 0.5
    assert choose_threshold(np.array([False, True]), np.array([0.6, 0.9])) == pytest.approx(0.75)
    with pytest.raises(ValueError, match="both classes"):
        choose_threshold(np.array([True, True]), np.array([0.1, 0.9]))
