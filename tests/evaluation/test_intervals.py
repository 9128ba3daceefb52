import numpy as np
import pytest
from scipy import stats

from tfmri.evaluation import metrics
from tfmri.evaluation.intervals import percentile_interval, percentile_intervals, perfect_score_bound, subject_weights


def test_all_scans_of_a_subject_are_drawn_together_and_as_many_subjects_as_there_are():
    subjects = np.array(["a", "b", "a", "c", "b", "d"])
    weights = subject_weights(subjects, 500, seed=0)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 1], weights[:, 4])
    np.testing.assert_array_equal(weights[:, [0, 1, 3, 5]].sum(1), 4)
    assert weights.mean(0) == pytest.approx(1, abs=0.15)
    assert len(np.unique(weights, axis=0)) > 20


def test_draws_follow_the_seed_and_not_the_order_of_the_rows():
    subjects = np.array(["a", "b", "a", "c", "d"])
    order = np.array([3, 0, 4, 2, 1])
    weights = subject_weights(subjects, 50, seed=3)
    np.testing.assert_array_equal(subject_weights(subjects[order], 50, seed=3), weights[:, order])
    assert (subject_weights(subjects, 50, seed=4) != weights).any()


def test_statistics_taken_in_blocks_give_the_same_interval(monkeypatch):
    rng = np.random.default_rng(0)
    statistics = {"mean": rng.normal(size=30)}

    def mean(weights):
        return {name: weights @ x / weights.sum(-1) for name, x in statistics.items()}

    whole = percentile_intervals(mean, np.arange(30), seed=0)["mean"]
    monkeypatch.setattr("tfmri.evaluation.intervals.BLOCK", 30 * 7)
    blocks = percentile_intervals(mean, np.arange(30), seed=0)["mean"]
    assert (blocks.lower, blocks.upper) == pytest.approx((whole.lower, whole.upper), rel=1e-12)


def test_the_interval_is_scipys_percentile_bootstrap():
    rng = np.random.default_rng(0)
    truth, prediction = rng.normal(50, 10, (2, 80))

    def mae(truth, prediction, axis):
        return np.abs(prediction - truth).mean(axis)

    reference = stats.bootstrap(
        (truth, prediction), mae, paired=True, vectorized=True, n_resamples=4000, method="percentile", rng=1
    ).confidence_interval
    ours = percentile_intervals(
        lambda weights: metrics.regression_metrics(truth, prediction, weights), np.arange(80), seed=0, resamples=4000
    )["mae"]
    assert (ours.lower, ours.upper) == pytest.approx((reference.low, reference.high), rel=0.02)


def covered(intervals, true_value):
    return np.mean([interval.lower <= true_value <= interval.upper for interval in intervals])


def test_intervals_over_subjects_cover_the_true_mae_where_intervals_over_scans_do_not():
    spread, by_subject, by_scan = 5.0, [], []
    for seed in range(200):
        rng = np.random.default_rng([seed, 7])
        subject = np.repeat(np.arange(40), 3)  # three scans with the same gap: 40 observations, not 120
        truth = rng.uniform(20, 80, 40)[subject]
        prediction = truth + rng.normal(0, spread, 40)[subject]

        def mae(weights, truth=truth, prediction=prediction):
            return {"mae": metrics.regression_metrics(truth, prediction, weights)["mae"]}

        by_subject.append(percentile_intervals(mae, subject, seed, resamples=300)["mae"])
        by_scan.append(percentile_intervals(mae, np.arange(120), seed, resamples=300)["mae"])
    true_mae = spread * np.sqrt(2 / np.pi)
    assert 0.90 <= covered(by_subject, true_mae) <= 0.985
    assert covered(by_scan, true_mae) < 0.85


def test_intervals_cover_the_true_balanced_accuracy_and_auc():
    balanced_accuracies, aucs = [], []
    for seed in range(200):
        rng = np.random.default_rng([seed, 8])
        truth = rng.random(60) < 0.4
        score = rng.normal(np.where(truth, 0.8, -0.8), 1)
        probability = 1 / (1 + np.exp(-1.6 * score))

        def both(weights, truth=truth, score=score, probability=probability):
            names = np.array(["m", "f"])
            return metrics.classification_metrics(
                names[truth.astype(int)],
                names[(score > 0).astype(int)],
                np.column_stack([1 - probability, probability]),
                names,
                weights,
            )

        intervals = percentile_intervals(both, np.arange(60), seed, resamples=300)
        balanced_accuracies.append(intervals["balanced_accuracy"])
        aucs.append(intervals["roc_auc"])
    assert 0.90 <= covered(balanced_accuracies, stats.norm.cdf(0.8)) <= 0.985
    assert 0.90 <= covered(aucs, stats.norm.cdf(1.6 / np.sqrt(2))) <= 0.985


def test_undefined_resamples_are_left_out_and_counted():
    interval = percentile_interval(np.array([np.nan, 1, 2, 3, np.nan, 4, 5, 6, 7, 8]), level=0.5)
    assert (interval.lower, interval.upper) == tuple(np.quantile(np.arange(1, 9), [0.25, 0.75]))
    assert interval.undefined == pytest.approx(0.2)
    assert percentile_interval(np.full(5, np.nan)).undefined == 1


def test_a_perfect_score_is_bounded_as_clopper_and_pearson_do():
    for subjects in (1, 8, 24, 500):
        exact = stats.binomtest(subjects, subjects).proportion_ci(0.95, "exact").low
        assert perfect_score_bound([subjects]) == pytest.approx(exact)


def test_the_bound_of_a_perfect_balanced_accuracy_is_the_least_mean_recall_that_is_still_likely():
    first = np.linspace(0.001, 1, 20_000)  # recall of a class of 4; the recall of the class of 20 follows from it
    second = np.minimum(1, (0.025 / first**4) ** (1 / 20))
    likely = first**4 * second**20 >= 0.025 - 1e-9
    assert perfect_score_bound([4, 20]) == pytest.approx(((first + second) / 2)[likely].min(), abs=1e-3)
    assert perfect_score_bound([12, 12]) == pytest.approx(perfect_score_bound([24]))
