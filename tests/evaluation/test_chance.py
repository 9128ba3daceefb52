import numpy as np
import pandas as pd
import pytest
from scipy.stats import permutation_test
from sklearn.metrics import balanced_accuracy_score, mean_absolute_error

from tfmri.evaluation.chance import against_chance, shuffled_labels_sentence

RANDOM = np.random.default_rng(0)
N = 60
SUBJECTS = pd.Series([f"s{index}" for index in range(N)])


def predictions(kind, strength):
    """Truth and predictions of `strength` from 0, nothing known, to 1."""
    if kind == "numbers":
        truth = pd.Series(RANDOM.uniform(20, 80, N))
        return truth, pd.Series(strength * truth + (1 - strength) * RANDOM.uniform(20, 80, N))
    truth = pd.Series(RANDOM.choice(["f", "m", "x"], N, p=[0.5, 0.3, 0.2]))
    return truth, truth.where(RANDOM.random(N) < strength, pd.Series(RANDOM.choice(["f", "m"], N)))


@pytest.mark.parametrize("kind", ["classes", "numbers"])
@pytest.mark.parametrize("strength", [0.1, 0.9])
def test_value_and_p_are_those_of_scikit_learn_and_scipy(kind, strength):
    truth, predicted = predictions(kind, strength)
    found = against_chance(truth, predicted, SUBJECTS)
    if kind == "classes":
        metric, alternative = lambda order: balanced_accuracy_score(truth.iloc[order], predicted), "greater"
    else:
        metric, alternative = lambda order: mean_absolute_error(truth.iloc[order], predicted), "less"
    known = permutation_test(
        (np.arange(N),), lambda order: metric(order.astype(int)), permutation_type="pairings",
        alternative=alternative, n_resamples=200, rng=np.random.default_rng(1),
    )  # fmt: skip
    assert found.value == pytest.approx(known.statistic)
    assert found.p == pytest.approx(known.pvalue, abs=0.1)
    limit = np.quantile(known.null_distribution, 0.99 if kind == "classes" else 0.01)
    assert found.limit == pytest.approx(limit, rel=0.1)


def test_only_what_is_better_than_chance_is_called_so():
    good, bad = (against_chance(*predictions("classes", strength), SUBJECTS) for strength in (0.8, 0.0))
    assert good.better and "BETTER THAN CHANCE" in shuffled_labels_sentence(good, "on test")
    assert not bad.better and "no better than chance, as it must be" in shuffled_labels_sentence(bad, "on test")


def test_scans_of_one_subject_count_as_one_draw():
    """Ten copies of six subjects say no more than six subjects do."""
    truth, predicted = pd.Series(["f", "m"] * 3), pd.Series(["f", "m", "f", "m", "f", "f"])
    once = against_chance(truth, predicted, SUBJECTS[:6])
    often = against_chance(*(pd.Series(np.repeat(each, 10)) for each in (truth, predicted, SUBJECTS[:6])))
    assert often.value == once.value and often.p == pytest.approx(once.p, abs=0.05) and not often.better
