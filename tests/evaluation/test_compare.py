import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from tfmri.evaluation.compare import delong, differences, holm, mcnemar, paired_tests, shared, wilcoxon


def scores(scans: int = 60, seed: int = 0):
    """Truth, and scores of two models that share some of their errors; with ties."""
    random = np.random.default_rng(seed)
    positive = random.random(scans) < 0.5
    common = random.normal(size=scans)
    first, second = (np.round(positive + common + random.normal(size=scans), 1) for _ in range(2))
    return positive, first, second


def test_delong_is_that_of_its_formula_pair_by_pair():
    positive, first, second = scores()
    above, below = [], []
    for score in (first, second):
        wins = np.greater.outer(score[positive], score[~positive]) + 0.5 * np.equal.outer(
            score[positive], score[~positive]
        )
        assert wins.mean() == pytest.approx(roc_auc_score(positive, score))
        above.append(wins.mean(axis=1))
        below.append(wins.mean(axis=0))
    covariance = np.cov(above) / positive.sum() + np.cov(below) / (~positive).sum()
    z = (np.mean(above[0]) - np.mean(above[1])) / np.sqrt(np.array([1, -1]) @ covariance @ np.array([1, -1]))
    assert delong(positive, first, second) == pytest.approx(2 * stats.norm.sf(abs(z)))


def test_delong_rejects_as_often_as_it_should_where_two_models_are_equally_good():
    p = [delong(*scores(seed=seed)) for seed in range(600)]
    assert 0.025 < np.mean(np.array(p) < 0.05) < 0.085
    assert stats.kstest(p, "uniform").pvalue > 1e-3


def test_equal_models_do_not_differ_and_one_class_gives_no_number():
    positive, first, _ = scores()
    assert delong(positive, first, first) == 1 and np.isnan(delong(positive | True, first, first))
    assert mcnemar(positive, positive) == 1 and wilcoxon(first, first) == 1


def test_mcnemar_by_hand():
    first, second = np.array([True] * 8 + [False] * 2), np.array([False] * 8 + [True] * 2)
    assert mcnemar(first, second) == pytest.approx(2 * stats.binom.cdf(2, 10, 0.5))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, float("nan"), 0.9]) == pytest.approx([1, np.nan, 1], nan_ok=True)


def ages(error: float, seed: int, repeat: int = 1) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    truth = np.random.default_rng(9).uniform(20, 80, 40)
    rows = pd.DataFrame({"subject": [f"s{i}" for i in range(40)], "truth": truth})
    rows["prediction"] = truth + random.normal(0, error, 40)
    rows = pd.concat([rows] * repeat, ignore_index=True)
    return rows.assign(scan=[f"{subject}_{i // 40}" for i, subject in enumerate(rows["subject"])])


def test_differences_are_of_the_same_draws_and_hold_what_they_should():
    one, other = shared(ages(5, 0), ages(5, 0).iloc[::-1], "regression", [])
    same = differences(one, other, "regression", [], seed=0, resamples=200)
    assert same["mae"]["difference"] == same["mae"]["lower"] == same["mae"]["upper"] == 0
    nine, ten = (
        differences(*(ages(5, seed).iloc[:people] for seed in (0, 1)), "regression", [], 0)["mae"] for people in (9, 10)
    )
    assert (nine["lower"], "note" in nine) == (None, True) and ten["lower"] < ten["difference"] < ten["upper"]
    better = differences(ages(10, 0), ages(2, 1), "regression", [], seed=0, resamples=500)
    assert better["mae"]["upper"] < 0 < better["r2"]["lower"]
    twice = differences(ages(10, 0, repeat=2), ages(2, 1, repeat=2), "regression", [], seed=0, resamples=500)
    assert twice["mae"] == pytest.approx(better["mae"])  # scans of a subject are not drawn by themselves
    (test,) = paired_tests(ages(10, 0, repeat=2), ages(2, 1, repeat=2), "regression", [], seed=0)
    assert test.scans == 40 and test.p < 0.001


def test_scans_that_only_one_of_them_has_are_left_out_and_another_truth_is_refused():
    first, second = ages(5, 0), ages(5, 1)
    second.loc[3, "prediction"] = np.nan
    one, other = shared(first.iloc[:20], second, "regression", [])
    assert len(one) == len(other) == 19 and (one["scan"] == other["scan"]).all()
    with pytest.raises(ValueError, match="s0_0 is"):
        shared(first, second.assign(truth=1.0), "regression", [])


@pytest.mark.filterwarnings("error")
def test_two_people_and_one_class_give_what_can_be_given():
    rows = pd.DataFrame({"subject": ["a", "b"], "scan": ["a", "b"], "truth": "f", "prediction": ["f", "m"]})
    rows = rows.assign(p_f=[0.9, 0.4], p_m=[0.1, 0.6])
    found = differences(rows, rows, "classification", ["f", "m"], seed=0, resamples=100)
    assert found["roc_auc"]["difference"] is None and found["accuracy"]["difference"] == 0
    assert [test.p for test in paired_tests(rows, rows, "classification", ["f", "m"], 0)] == pytest.approx(
        [np.nan, 1], nan_ok=True
    )
