import json

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm
from sklearn.metrics import balanced_accuracy_score, log_loss

from tfmri.evaluation.adjustments import Adjustments, apply, learn, summarise_adjustments

TWO, THREE = ["f", "m"], ["healthy", "MCI", "dementia"]


def ages(people: int = 60, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    truth = random.uniform(20, 80, people)
    prediction = 50 + 0.7 * (truth - 50) + random.normal(0, 5, people)
    return pd.DataFrame({"subject": np.arange(people).astype(str), "truth": truth, "prediction": prediction})


def classes(names: list[str], people: int = 60, seed: int = 0, sureness: float = 3.0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    truth = random.integers(len(names), size=people)
    logits = sureness * (random.normal(size=(people, len(names))) + np.eye(len(names))[truth])
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    table = {f"p_{name}": probabilities[:, place] for place, name in enumerate(names)}
    said = np.array(names)[probabilities.argmax(axis=1)]
    return pd.DataFrame(
        {"subject": np.arange(people).astype(str), "truth": np.array(names)[truth], "prediction": said, **table}
    )


def summary(rows, adjustments, names):
    kind = "classification" if names else "regression"
    found = summarise_adjustments(rows, adjustments, kind, names, rows["truth"], seed=0, resamples=200)
    return json.loads(json.dumps(found, allow_nan=False))


def test_of_ages_intervals_and_the_bias_are_learnt_on_validation_and_applied_to_others():
    adjustments = learn(ages(), "regression", [], "age")
    assert Adjustments.from_config(json.loads(json.dumps(adjustments.to_config()))) == adjustments
    rows = apply(ages(seed=1), adjustments)
    np.testing.assert_allclose(rows["upper"] - rows["lower"], 2 * adjustments.half_width)
    found = summary(rows, adjustments, [])
    held = rows["truth"].between(rows["lower"], rows["upper"]).mean()
    assert found["conformal"]["coverage"]["value"] == pytest.approx(held) and 0.75 < held <= 1
    corrected = found["age_bias"]["corrected"]
    assert corrected["mae"]["value"] == pytest.approx(rows["corrected_gap"].abs().mean())
    before = np.corrcoef(rows["prediction"] - rows["truth"], rows["truth"])[0, 1]
    assert before < -0.6 and abs(corrected["gap_age_r"]["value"]) < 0.3
    assert found["fitted_on"] == "validation" and found["n"] == 60


def test_of_predicted_standard_deviations_a_factor_is_learnt_that_makes_intervals_hold_what_they_say():
    random = np.random.default_rng(0)

    def too_sure(people, seed):
        rows = ages(people, seed)
        sd = random.uniform(2, 10, people)
        return rows.assign(prediction=rows["truth"] + sd * random.normal(size=people), sd=sd / 2)

    validation, test = too_sure(2000, 1), too_sure(2000, 2)
    adjustments = learn(validation, "regression", [], "volume")
    scores = (validation["truth"] - validation["prediction"]) / validation["sd"]
    best = minimize_scalar(lambda factor: -norm.logpdf(scores, 0, factor).sum(), bounds=(0.1, 10), method="bounded")
    assert adjustments.sd_factor == pytest.approx(best.x, rel=1e-4) == pytest.approx(2, rel=0.05)
    rows = apply(test, adjustments)
    np.testing.assert_allclose(rows["calibrated_sd"], rows["sd"] * adjustments.sd_factor)
    found = summary(rows, adjustments, [])["predicted_sd"]
    assert [each["level"] for each in found["coverage"]] == [0.5, 0.8, 0.95]
    for each in found["coverage"]:
        reach = norm.ppf(0.5 + each["level"] / 2)
        gap = (rows["truth"] - rows["prediction"]).abs()
        assert each["before"]["value"] == pytest.approx((gap <= reach * rows["sd"]).mean())
        assert each["after"]["value"] == pytest.approx((gap <= reach * rows["calibrated_sd"]).mean())
        assert abs(each["after"]["value"] - each["level"]) < 0.04 < each["level"] - each["before"]["value"]
    nobody = learn(validation.assign(prediction=np.nan), "regression", [], "volume")
    assert nobody.sd_factor is None and "no scan" in nobody.notes["predicted_sd"]


def test_the_bias_is_fitted_on_the_healthy_where_it_is_known_who_is():
    rows = ages()
    healthy = pd.Series(np.arange(60) < 40)
    ill = rows.assign(prediction=rows["prediction"] + np.where(healthy, 0, 30))
    of_healthy = learn(rows[healthy], "regression", [], "age")
    found = learn(ill, "regression", [], "age", healthy)
    assert (found.slope, found.intercept) == pytest.approx((of_healthy.slope, of_healthy.intercept))
    assert found.who == "healthy" and of_healthy.who == "all" and learn(rows, "regression", [], "volume").slope is None


def test_of_classes_temperature_threshold_and_sets_are_learnt():
    validation, test = classes(TWO), classes(TWO, seed=1)
    adjustments = learn(validation, "classification", TWO, "sex")
    assert adjustments.temperature > 1.5
    found = summary(apply(test, adjustments), adjustments, TWO)
    before, after = (found["temperature"][when]["log_loss"]["value"] for when in ("before", "after"))
    assert before == pytest.approx(log_loss(test["truth"], test[["p_f", "p_m"]])) and after < before
    on_validation = [
        balanced_accuracy_score(validation["truth"] == "m", validation["p_m"] >= cut)
        for cut in (adjustments.threshold, *np.linspace(0, 1, 201))
    ]
    assert (
        on_validation[0]
        == max(on_validation)
        > balanced_accuracy_score(validation["truth"] == "m", validation["p_m"] >= 1 - adjustments.threshold)
    )
    said = np.where(test["p_m"] >= adjustments.threshold, "m", "f")
    reached = found["threshold"]["metrics"]["balanced_accuracy"]
    assert reached["value"] == pytest.approx(balanced_accuracy_score(test["truth"], said))
    assert reached["lower"] <= reached["value"] <= reached["upper"] and found["conformal"]["coverage"]["value"] > 0.75


def test_of_three_classes_there_is_no_threshold_and_sets_name_their_classes():
    adjustments = learn(classes(THREE), "classification", THREE, "diagnosis")
    rows = apply(classes(THREE, seed=1), adjustments)
    assert adjustments.threshold is None and "threshold" not in summary(rows, adjustments, THREE)
    sizes = rows["prediction_set"].str.split("|").str.len()
    assert sizes.between(1, 3).all() and summary(rows, adjustments, THREE)["conformal"]["mean_size"][
        "value"
    ] == pytest.approx(sizes.mean())


@pytest.mark.filterwarnings("error")
def test_what_cannot_be_had_says_why():
    few = learn(ages(4), "regression", [], "age")
    assert few.half_width is None and "9 are needed" in summary(apply(ages(), few), few, [])["conformal"]["note"]
    for names, rows in (([], ages(4)), (TWO, classes(TWO, 4))):  # four people, however many scans they have
        four = learn(
            pd.concat([rows] * 3), "classification" if names else "regression", names, "age" if not names else "sex"
        )
        assert (four.scans, four.subjects, four.half_width, four.quantile) == (12, 4, None, None)
    one_age = learn(ages().assign(truth=50.0), "regression", [], "age")
    assert "different ages" in summary(apply(ages(), one_age), one_age, [])["age_bias"]["note"]
    one_class = learn(classes(TWO).query("truth == 'f'"), "classification", TWO, "sex")
    assert "both classes" in summary(apply(classes(TWO), one_class), one_class, TWO)["threshold"]["note"]
    nobody = learn(classes(TWO).assign(p_f=np.nan), "classification", TWO, "sex")
    assert "no scan" in summary(apply(classes(TWO), nobody), nobody, TWO)["temperature"]["note"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("people", [1, 2])
def test_one_or_two_people_a_missing_class_and_predictions_that_are_none(people):
    for names, rows in (([], ages(people)), (TWO, classes(TWO, people)), (THREE, classes(THREE, people))):
        adjustments = learn(rows, "classification" if names else "regression", names, "age" if not names else "sex")
        found = summary(apply(rows, adjustments), adjustments, names)
        assert found["n"] == people
    whole = learn(ages(), "regression", [], "age")
    gone = ages().assign(prediction=np.nan)
    rows = apply(gone, whole)
    assert rows[["lower", "upper", "corrected_gap"]].isna().all(axis=None)
    assert summary(rows, whole, [])["conformal"]["coverage"]["value"] is None
