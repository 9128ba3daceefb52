import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from tfmri.evaluation.conformal import (
    conformal_quantile,
    fewest,
    interval_half_width,
    one_a_subject,
    prediction_sets,
    set_quantile,
)


@pytest.mark.parametrize(("people", "level"), [(19, 0.9), (40, 0.9), (40, 0.8)])
def test_intervals_hold_the_truth_as_often_as_they_promise(people, level):
    """Of n calibrations the coverage is Beta(k, n + 1 - k), whose mean is k / (n + 1), with k = ceil((n + 1) level)."""
    random, covered = np.random.default_rng(0), []
    for _ in range(2000):
        errors = random.standard_t(3, people + 20)
        width = interval_half_width(np.zeros(people), errors[:people], level)
        covered.append(np.mean(np.abs(errors[people:]) <= width))
    expected = np.ceil((people + 1) * level) / (people + 1)
    assert np.mean(covered) == pytest.approx(expected, abs=4 * np.std(covered) / np.sqrt(2000))
    assert np.mean(covered) >= level - 4 * np.std(covered) / np.sqrt(2000)


def test_sets_hold_the_truth_at_least_as_often_as_they_promise_and_are_never_empty():
    random, covered, sizes = np.random.default_rng(0), [], []
    for _ in range(500):
        probabilities = softmax(random.normal(0, 1.5, (80, 3)), axis=1)
        truth = (probabilities.cumsum(axis=1) < random.random((80, 1))).sum(axis=1)
        badly = softmax(2 * np.log(probabilities), axis=1)  # a model that is too sure
        sets = prediction_sets(badly[40:], set_quantile(truth[:40], badly[:40], 0.9))
        covered.append(sets[np.arange(40), truth[40:]].mean())
        sizes.append(sets.sum(axis=1).min())
    assert 0.895 <= np.mean(covered) <= 0.94 and min(sizes) == 1


def test_the_quantile_is_that_of_n_plus_one():
    scores = np.arange(1, 10.0)  # 9 people: the largest of them
    assert conformal_quantile(scores, 0.9) == 9 and conformal_quantile(scores, 0.5) == 5
    assert conformal_quantile(scores[:8], 0.9) == np.inf
    assert [fewest(level) for level in (0.5, 0.9, 0.95)] == [1, 9, 19]


def test_repeated_scans_of_a_person_count_once():
    rows = pd.DataFrame({"subject": ["a", "a", "b", "a"], "truth": range(4)})
    once = one_a_subject(rows)
    assert sorted(once["subject"]) == ["a", "b"] and once.index.is_monotonic_increasing
    pd.testing.assert_frame_equal(once, one_a_subject(rows))


def test_intervals_hold_people_who_come_several_times():
    """Errors that are a person's own: were every scan counted, those who come often would set the width."""
    random, covered = np.random.default_rng(1), []
    for _ in range(1000):
        times = np.where(random.random(30) < 0.2, 8, 1)
        error = random.normal(0, np.where(times > 1, 0.1, 1.0))  # who comes often is predicted well
        rows = pd.DataFrame({"subject": np.repeat(np.arange(30), times), "error": np.repeat(error, times)})
        once = one_a_subject(rows)["error"].to_numpy()
        new = random.normal(0, np.where(random.random(20) < 0.2, 0.1, 1.0))
        covered.append(np.mean(np.abs(new) <= interval_half_width(np.zeros(len(once)), once, 0.9)))
    assert np.mean(covered) == pytest.approx(28 / 31, abs=4 * np.std(covered) / np.sqrt(1000))
