import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import calibration
from sklearn import metrics as sklearn

from tfmri.evaluation import metrics

NAMES = {2: ["m", "f"], 3: ["healthy", "MCI", "dementia"]}  # not in alphabetical order: the order of outputs counts


def classified(classes: int, scans: int = 60, seed: int = 0):
    """Truth, prediction, probabilities; scores with ties, and a prediction that is not always the most probable."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(classes, size=scans)
    weight = np.round(np.exp(rng.normal(size=(scans, classes)) + 1.5 * np.eye(classes)[truth]), 0) + 1
    probabilities = weight / weight.sum(1, keepdims=True)
    prediction = np.where(rng.random(scans) < 0.1, 0, probabilities.argmax(1))
    names = np.array(NAMES[classes])
    return names[truth], names[prediction], probabilities


def by_sklearn(truth, prediction, probabilities, classes) -> dict[str, float]:
    numbers = pd.Index(classes).get_indexer(pd.Index(truth))
    binary = len(classes) == 2
    of_one = probabilities[:, 1] if binary else probabilities
    expected = {
        "balanced_accuracy": sklearn.balanced_accuracy_score(truth, prediction),
        "accuracy": sklearn.accuracy_score(truth, prediction),
        "mcc": sklearn.matthews_corrcoef(truth, prediction),
        "roc_auc": sklearn.roc_auc_score(numbers, of_one, multi_class="ovr"),
        "average_precision": np.mean(
            [
                sklearn.average_precision_score(numbers == place, probabilities[:, place])
                for place in ([1] if binary else range(len(classes)))
            ]
        ),
        "brier": sklearn.brier_score_loss(numbers, of_one),
        "log_loss": sklearn.log_loss(numbers, probabilities),
    }
    recalls = sklearn.recall_score(truth, prediction, labels=classes, average=None)
    precisions = sklearn.precision_score(truth, prediction, labels=classes, average=None, zero_division=np.nan)
    expected |= {f"recall_{name}": recall for name, recall in zip(classes, recalls, strict=True)}
    return expected | {f"precision_{name}": each for name, each in zip(classes, precisions, strict=True)}


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_classification_metrics_are_those_of_scikit_learn(classes, seed):
    sample = classified(classes, seed=seed)
    measured = metrics.classification_metrics(*sample, NAMES[classes])
    measured.pop("ece")
    assert measured == pytest.approx(by_sklearn(*sample, NAMES[classes]), abs=1e-12)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_weighted_resample_measures_as_the_repeated_scans_do_in_scikit_learn(classes):
    truth, prediction, probabilities = classified(classes)
    rng = np.random.default_rng(1)
    weights = rng.multinomial(60, np.full(60, 1 / 60), size=20).astype(float)
    measured = metrics.classification_metrics(truth, prediction, probabilities, NAMES[classes], weights)
    for draw, counts in enumerate(weights):
        repeated = np.repeat(np.arange(60), counts.astype(int))
        expected = by_sklearn(truth[repeated], prediction[repeated], probabilities[repeated], NAMES[classes])
        assert {name: measured[name][draw] for name in expected} == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_metrics_of_stages_are_those_of_scikit_learn_in_every_resample(seed):
    truth, prediction, probabilities = classified(3, seed=seed)
    stage, said = (np.array([NAMES[3].index(name) for name in names]) for names in (truth, prediction))
    weights = np.random.default_rng(seed).integers(0, 4, size=(4, len(truth)))
    measured = metrics.ordinal_metrics(truth, prediction, probabilities, NAMES[3], weights)
    for draw, counts in enumerate(weights):
        repeated = np.repeat(np.arange(len(truth)), counts)
        expected = sklearn.cohen_kappa_score(stage[repeated], said[repeated], weights="quadratic")
        assert measured["quadratic_kappa"][draw] == pytest.approx(expected, abs=1e-12)
        expected = sklearn.mean_absolute_error(stage[repeated], said[repeated])
        assert measured["stage_mae"][draw] == pytest.approx(expected)
    once = metrics.ordinal_metrics(truth, prediction, probabilities, NAMES[3])
    assert once["quadratic_kappa"] == pytest.approx(sklearn.cohen_kappa_score(stage, said, weights="quadratic"))
    assert once.items() >= metrics.classification_metrics(truth, prediction, probabilities, NAMES[3]).items()


def test_there_is_no_kappa_where_truth_and_prediction_are_one_class():
    same = np.array(["MCI"] * 5)
    found = metrics.ordinal_metrics(same, same, np.full((5, 3), 1 / 3), NAMES[3])
    assert np.isnan(found["quadratic_kappa"]) and found["stage_mae"] == 0


def test_calibration_error_is_the_weighted_distance_of_scikit_learns_calibration_curve():
    truth, _, probabilities = classified(3, scans=300)
    confidence = probabilities.max(1)
    correct = np.array(NAMES[3])[probabilities.argmax(1)] == truth
    accuracy, mean_confidence = calibration.calibration_curve(correct, confidence, n_bins=10)
    count, _ = np.histogram(-confidence, bins=-np.linspace(0, 1, 11)[::-1])  # negated: bins are closed on the right
    filled = count[::-1][count[::-1] > 0]
    expected = (filled * np.abs(accuracy - mean_confidence)).sum() / 300
    assert metrics.classification_metrics(truth, truth, probabilities, NAMES[3])["ece"] == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_regression_metrics_are_those_of_scikit_learn_and_scipy_in_every_resample(seed):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(20, 80, 40)
    prediction = np.round(55 + 0.7 * (truth - 50) + rng.normal(0, 5, 40))  # with ties
    weights = np.vstack([np.ones(40), rng.multinomial(40, np.full(40, 1 / 40), size=10)])
    measured = metrics.regression_metrics(truth, prediction, weights)
    assert metrics.regression_metrics(truth, prediction)["r2"] == pytest.approx(measured["r2"][0])
    for draw, counts in enumerate(weights):
        t, p = np.repeat(truth, counts.astype(int)), np.repeat(prediction, counts.astype(int))
        assert {name: values[draw] for name, values in measured.items()} == pytest.approx(
            {
                "mae": sklearn.mean_absolute_error(t, p),
                "rmse": sklearn.root_mean_squared_error(t, p),
                "r2": sklearn.r2_score(t, p),
                "pearson_r": stats.pearsonr(t, p).statistic,
                "spearman_r": stats.spearmanr(t, p).statistic,
                "mean_gap": p.mean() - t.mean(),
                "gap_age_r": stats.pearsonr(p - t, t).statistic,
            }
        )


def test_roc_points_are_those_of_scikit_learn():
    truth, _, probabilities = classified(2)
    positive = truth == "f"
    false_positive, true_positive = metrics.roc_points(positive, probabilities[:, 1], np.ones(60))
    expected = sklearn.roc_curve(positive, probabilities[:, 1], drop_intermediate=False)
    np.testing.assert_allclose([false_positive, true_positive], expected[:2], atol=1e-12)


def test_confusion_has_truth_in_rows_and_prediction_in_columns():
    truth, prediction = np.array([0, 0, 0, 1, 2]), np.array([0, 1, 1, 1, 0])
    expected = sklearn.confusion_matrix(truth, prediction, labels=[0, 1, 2])
    np.testing.assert_array_equal(metrics.confusion(truth, prediction, 3, np.ones(5)), expected)


def test_a_gap_is_positive_where_a_brain_looks_older():
    assert metrics.regression_metrics([50.0, 60.0], [53.0, 61.0])["mean_gap"] == 2


def test_what_is_undefined_is_nan_and_the_rest_is_still_measured():
    truth, prediction, probabilities = classified(3)
    present = truth != "dementia"
    measured = metrics.classification_metrics(truth[present], prediction[present], probabilities[present], NAMES[3])
    recalls = [measured["recall_healthy"], measured["recall_MCI"]]
    assert np.isnan(measured["recall_dementia"]) and np.isnan(measured["roc_auc"])
    assert measured["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    constant = metrics.regression_metrics(np.array([30.1, 50.2, 70.3]), np.full(3, 54.3))
    assert np.isnan(constant["pearson_r"]) and constant["gap_age_r"] == pytest.approx(-1)
    same_age = metrics.regression_metrics(np.full(3, 0.1), np.array([1.0, 2.0, 3.0]))
    assert np.isnan(same_age["r2"]) and same_age["mae"] == pytest.approx(1.9)


def test_a_resample_without_one_of_the_classes_has_no_balanced_accuracy():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    weights = np.array([[1.0, 1, 1], [2, 0, 1]])
    measured = metrics.classification_metrics(["m", "f", "m"], ["m", "f", "m"], probabilities, ["m", "f"], weights)
    np.testing.assert_array_equal(measured["balanced_accuracy"], [1, np.nan])
    np.testing.assert_array_equal(measured["accuracy"], [1, 1])


def test_a_probability_of_zero_for_the_truth_costs_a_finite_loss():
    loss = metrics.classification_metrics(["f"], ["m"], [[1.0, 0.0]], ["m", "f"])["log_loss"]
    assert loss == pytest.approx(-np.log(np.finfo(float).eps))


def test_an_unknown_class_and_a_column_against_a_row_are_refused():
    with pytest.raises(ValueError, match="'x' is not one of the classes"):
        metrics.classification_metrics(["m", "x"], ["m", "m"], np.full((2, 2), 0.5), ["m", "f"])
    with pytest.raises(ValueError, match=r"\(3, 1\)"):
        metrics.regression_metrics(np.ones(3), np.ones((3, 1)))
