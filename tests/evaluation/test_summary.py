import json

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor

from tfmri.evaluation import metrics
from tfmri.evaluation.intervals import percentile_intervals
from tfmri.evaluation.summary import all_warnings, headline, spread_over_fits, summarise
from tfmri.evaluation.trivial import trivial_metrics

SEXES = ["f", "m"]


def sexes(scans: int = 44, wrong: int = 4, sites=("A",)) -> pd.DataFrame:
    """Scans in pairs of one subject, classes in turn, the first `wrong` subjects' scans wrong."""
    pair = np.arange(scans) // 2
    truth = pair % 2
    prediction = np.where(pair < wrong, 1 - truth, truth)
    probability = np.where(prediction == 1, 0.8, 0.2) + 0.001 * pair
    return pd.DataFrame(
        {
            "subject": [f"sub-{one:03}" for one in pair],
            "site": [sites[one % len(sites)] for one in pair],
            "target": "sex",
            "truth": np.array(SEXES)[truth],
            "prediction": np.array(SEXES)[prediction],
            "p_f": 1 - probability,
            "p_m": probability,
        }
    )


def ages(scans: int = 50, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    truth = rng.uniform(20, 80, scans)
    return pd.DataFrame(
        {
            "subject": [f"sub-{one:03}" for one in range(scans)],
            "site": "",
            "target": "age",
            "truth": truth,
            "prediction": truth + rng.normal(1, 4, scans),
        }
    )


TRAIN_SEX = pd.Series(["m"] * 30 + ["f"] * 20)
TRAIN_AGE = pd.Series(np.linspace(20, 90, 71))


def test_the_trivial_classifier_is_scikit_learns_dummy_fitted_on_training_truth():
    rows = sexes()
    dummy = DummyClassifier(strategy="prior").fit(np.zeros((50, 1)), TRAIN_SEX)
    scans = np.zeros((len(rows), 1))
    expected = metrics.classification_metrics(rows["truth"], dummy.predict(scans), dummy.predict_proba(scans), SEXES)
    assert trivial_metrics(rows["truth"], TRAIN_SEX, "classification", SEXES) == pytest.approx(expected, nan_ok=True)
    assert expected["balanced_accuracy"] == expected["roc_auc"] == 0.5


def test_the_trivial_age_is_the_training_mean_and_not_the_tests():
    rows = ages()
    dummy = DummyRegressor().fit(np.zeros((71, 1)), TRAIN_AGE)
    expected = metrics.regression_metrics(rows["truth"], dummy.predict(np.zeros((50, 1))))
    assert trivial_metrics(rows["truth"], TRAIN_AGE, "regression") == pytest.approx(expected, nan_ok=True)
    assert expected["rmse"] > rows["truth"].std(ddof=0)


def test_nothing_to_learn_the_trivial_answer_from_is_refused():
    with pytest.raises(ValueError, match="at least one training scan"):
        trivial_metrics(ages()["truth"], pd.Series([np.nan]), "regression")


def test_each_metric_has_value_interval_trivial_and_counts_of_scans_and_subjects():
    rows = sexes()
    measured = summarise(rows, "classification", SEXES, TRAIN_SEX, seed=0)["sex"]
    statistics = metrics.metrics_of(rows, "classification", SEXES)
    interval = percentile_intervals(statistics, rows["subject"], seed=0)["balanced_accuracy"]
    assert measured["balanced_accuracy"] == {
        "value": pytest.approx(statistics()["balanced_accuracy"]),
        "lower": interval.lower,
        "upper": interval.upper,
        "trivial": 0.5,
        "n": 44,
        "subjects": 22,
    }
    assert (measured["recall_f"]["n"], measured["recall_f"]["subjects"]) == (22, 11)
    assert measured["recall_f"]["trivial"] == 0 and measured["recall_m"]["trivial"] == 1


def test_a_summary_is_json_without_nan_even_where_metrics_are_undefined():
    constant = ages().assign(prediction=50.0)
    summary = summarise(constant, "regression", [], TRAIN_AGE, seed=0, resamples=50)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["age"]["pearson_r"]["value"] is None and "not defined" in summary["age"]["pearson_r"]["note"]
    assert summary["age"]["mae"]["trivial"] > 0 and summary["age"]["pearson_r"]["trivial"] is None


def test_groups_have_their_own_numbers_and_those_too_small_say_so():
    rows = sexes(sites=("A", "A", "B", "A"))
    rows.loc[:3, "site"] = "C"
    by_site = summarise(rows, "classification", SEXES, TRAIN_SEX, seed=0)["groups"]["sex"]["site"]
    of_b = rows[rows["site"] == "B"]
    assert by_site["B"]["accuracy"]["n"] == len(of_b) == 10
    assert by_site["B"]["accuracy"]["value"] == pytest.approx((of_b["truth"] == of_b["prediction"]).mean())
    assert by_site["C"]["accuracy"] == {
        "value": None,
        "lower": None,
        "upper": None,
        "trivial": None,
        "n": 4,
        "subjects": 2,
        "note": "fewer than 10 scans: too few to say",
    }


def test_one_site_is_no_group():
    assert summarise(sexes(), "classification", SEXES, TRAIN_SEX, seed=0)["groups"] == {"sex": {}}


def test_a_perfect_model_on_few_subjects_is_not_called_certain():
    measured = summarise(sexes(scans=48, wrong=0), "classification", SEXES, TRAIN_SEX, seed=0)["sex"]
    assert measured["balanced_accuracy"]["value"] == measured["balanced_accuracy"]["upper"] == 1
    assert measured["balanced_accuracy"]["lower"] == pytest.approx(0.025 ** (1 / 24))
    assert measured["recall_f"]["lower"] == pytest.approx(0.025 ** (1 / 12))
    assert measured["roc_auc"]["value"] == 1 and measured["roc_auc"]["lower"] is None
    assert "every resample gives the same value" in measured["roc_auc"]["note"]


def test_two_subjects_give_numbers_or_a_sentence_why_there_is_none():
    measured = summarise(sexes(scans=4, wrong=0), "classification", SEXES, TRAIN_SEX, seed=0)["sex"]
    assert measured["balanced_accuracy"]["value"] == 1
    assert (
        measured["balanced_accuracy"]["lower"] is None and "too few subjects" in measured["balanced_accuracy"]["note"]
    )
    shown = headline(summarise(sexes(scans=4, wrong=0), "classification", SEXES, TRAIN_SEX, seed=0))
    assert shown.splitlines()[0].endswith(measured["balanced_accuracy"]["note"])
    one = summarise(ages(scans=1), "regression", [], TRAIN_AGE, seed=0)["age"]
    assert one["mae"]["value"] > 0 and "fewer than 10 subjects" in one["mae"]["note"]


@pytest.mark.parametrize("people", [9, 10])
def test_an_interval_takes_ten_subjects_however_many_scans_they_have(people):
    rows = pd.concat([ages(scans=people), ages(scans=people, seed=1)])
    rows["subject"] = [f"s{place % people}" for place in range(2 * people)]
    mae = summarise(rows, "regression", [], TRAIN_AGE, seed=0)["age"]["mae"]
    assert (mae["lower"] is None) == (people == 9) == ("note" in mae) and mae["value"] > 0


def test_missing_predictions_are_left_out_and_told():
    rows = ages()
    rows.loc[:1, "prediction"] = [np.nan, np.inf]
    summary = summarise(rows, "regression", [], TRAIN_AGE, seed=0)
    assert summary["age"]["mae"]["n"] == 48
    assert summary["warnings"]["age"] == ["2 of 50 scans have no truth or no prediction and are not counted"]


@pytest.mark.parametrize("rows, kind, classes", [(ages(), "regression", []), (sexes(), "classification", SEXES)])
def test_where_no_scan_has_a_prediction_every_metric_says_so(rows, kind, classes):
    rows["prediction"] = np.nan
    train = TRAIN_AGE if kind == "regression" else TRAIN_SEX
    summary = summarise(rows, kind, classes, train, seed=0)
    (target,) = rows["target"].unique()
    assert all(entry["value"] is None and entry["n"] == 0 and entry["note"] for entry in summary[target].values())
    assert "-" in headline(summary)


def test_of_stages_the_errors_stand_beside_those_of_the_most_frequent_stage():
    stages = ["healthy", "MCI", "dementia"]
    truth = np.array(stages * 10, object)
    said = np.where(np.arange(30) % 7 == 0, "MCI", truth)
    rows = pd.DataFrame({"subject": np.arange(30).astype(str), "site": "A", "target": "stage", "truth": truth})
    rows = rows.assign(prediction=said, **{f"p_{name}": 1 / 3 for name in stages})
    train = pd.Series(["healthy"] * 6 + ["MCI"] * 3 + ["dementia"] * 3)
    summary = summarise(rows, "ordinal", stages, train, seed=0, resamples=200)
    entry = summary["stage"]["stage_mae"]
    assert entry["value"] == pytest.approx(np.mean(said != truth)) and entry["trivial"] == pytest.approx(1)
    assert (
        entry["lower"] <= entry["value"] <= entry["upper"]
        and summary["stage"]["quadratic_kappa"]["trivial"] == 0
        and next(iter(summary["stage"])) == "balanced_accuracy"
    )
    shown = headline(summary)
    assert "quadratic weighted kappa" in shown and "mean absolute error in stages" in shown


def test_a_constant_model_is_called_one():
    same_age = summarise(ages().assign(prediction=54.2), "regression", [], TRAIN_AGE, seed=0)
    assert all_warnings(same_age) == [
        "age: the model answers 54.2 for every scan: it has learned nothing from the images"
    ]
    same_class = summarise(sexes().assign(prediction="m"), "classification", SEXES, TRAIN_SEX, seed=0)
    assert all_warnings(same_class) == [
        "sex: the model answers 'm' for every scan: it has learned nothing from the images"
    ]
    assert all_warnings(summarise(ages(), "regression", [], TRAIN_AGE, seed=0)) == []


def test_what_beats_the_best_reachable_beyond_its_interval_is_suspicious():
    summary = summarise(sexes(), "classification", SEXES, TRAIN_SEX, seed=0)
    entry = summary["sex"]["balanced_accuracy"]
    assert all_warnings(summary, {"sex": {"balanced_accuracy": entry["lower"] + 0.01}}) == []
    (warning,) = all_warnings(summary, {"sex": {"balanced_accuracy": entry["lower"] - 0.01}})
    assert "better than the best reachable" in warning and "leak" in warning
    by_age = summarise(ages(), "regression", [], TRAIN_AGE, seed=0)
    lower, upper = by_age["age"]["mae"]["lower"], by_age["age"]["mae"]["upper"]
    assert all_warnings(by_age, {"age": {"mae": upper - 0.01}}) == []
    assert all_warnings(by_age, {"age": {"mae": lower - 0.01}}) == []
    assert len(all_warnings(by_age, {"age": {"mae": upper + 0.01}})) == 1


def test_the_headline_shows_value_interval_trivial_and_best_reachable_in_columns():
    entry = {"value": 0.912, "lower": 0.82, "upper": 0.983, "trivial": 0.5, "n": 44, "subjects": 44}
    mae = {"value": 6.26, "lower": 5.2, "upper": 7.4, "trivial": 14.9, "n": 50, "subjects": 40}
    r = mae | {"value": None, "lower": None, "upper": None, "trivial": None}
    summary = {
        "sex": {"balanced_accuracy": entry},
        "age": {"mae": mae, "pearson_r": r},
        "groups": {},
        "warnings": {"sex": ["told"]},
    }
    assert headline(summary, {"sex": {"balanced_accuracy": 0.95}}).splitlines() == [
        "sex   balanced accuracy             0.91 [0.82, 0.98]   trivial 0.50    best reachable 0.95   n = 44",
        "age   mean absolute error (years)   6.26 [5.20, 7.40]   trivial 14.90                         "
        "n = 50 scans of 40 subjects",
        "      correlation r                 -                                                         "
        "n = 50 scans of 40 subjects",
        "warning: sex: told",
    ]


def test_the_same_seed_gives_the_same_summary_whatever_the_order_of_the_rows():
    rows = ages()
    shuffled = rows.sample(frac=1, random_state=1)
    first, second = (summarise(one, "regression", [], TRAIN_AGE, seed=5)["age"]["mae"] for one in (rows, shuffled))
    assert first == pytest.approx(second)


def test_the_spread_over_fits_is_that_of_each_fit_measured_by_itself():
    by_fit = pd.DataFrame(
        {"fit": ["a", "a", "b", "b"], "truth": [30.0, 50, 30, 50], "prediction": [32.0, 50, 38, 50], "subject": "s"}
    )
    found = spread_over_fits(by_fit, "regression", [])
    assert found["mae"] == {"mean": 2.5, "sd": pytest.approx(2.1213203), "lowest": 1, "highest": 4, "fits": 2}
    assert "spearman_r" in found and spread_over_fits(by_fit.iloc[:2], "regression", [])["mae"]["sd"] is None
