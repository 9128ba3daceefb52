"""Tasks beside the plain ones, trained and evaluated by the program as a person has it."""

import json

import numpy as np
import pandas as pd
import yaml
from program import run


def trained_on(cohort, target, settings, *, column=None):
    """Trains and evaluates a copy of small.yaml with another target; gives the folder of results."""
    if column is not None:
        table = pd.read_csv(cohort / "labels.csv")
        table.assign(**{target: column}).to_csv(cohort / "labels.csv", index=False)
    experiment = yaml.safe_load((cohort / "small.yaml").read_text())
    experiment["targets"] = {target: settings}
    (cohort / "other.yaml").write_text(yaml.safe_dump(experiment))
    run("train", "other.yaml", "--run", "first")
    return cohort / "runs" / "other" / "first" / "evaluation" / "test", run("evaluate", "other/first")


def test_stages_are_evaluated_as_classes_and_by_how_far_off_they_are(cohort):
    stages = ["low", "middle", "high"]
    settings = {"task": "ordinal", "classes": stages, "class_weights": "balanced"}
    folder, said = trained_on(cohort, "stage", settings, column=np.resize([*stages, "high"], 16))
    assert "quadratic weighted kappa" in said and "mean absolute error in stages" in said
    metrics = json.loads((folder / "metrics.json").read_text())["stage"]
    rows = pd.read_csv(folder / "predictions.csv")
    off = (rows["truth"].map(stages.index) - rows["prediction"].map(stages.index)).abs()
    assert metrics["stage_mae"]["value"] == off.mean() and "recall_middle" in metrics
    np.testing.assert_allclose(rows[[f"p_{name}" for name in stages]].sum(axis=1), 1, atol=1e-6)
    assert {"roc.png", "confusion_matrix.png", "reliability.png"} <= {
        path.name for path in (folder / "figures").iterdir()
    }
    assert "ordinal classification" in (folder / "report.html").read_text()


def test_a_regression_that_says_how_sure_it_is_has_its_spread_measured(cohort):
    folder, _ = trained_on(cohort, "age", {"task": "regression", "loss": "gaussian", "beta": 0.5})
    rows = pd.read_csv(folder / "predictions.csv")
    found = json.loads((folder / "metrics.json").read_text())["adjustments"]["age"]["predicted_sd"]
    np.testing.assert_allclose(rows["calibrated_sd"], found["factor"] * rows["sd"])
    half = next(each for each in found["coverage"] if each["level"] == 0.5)
    near = (rows["truth"] - rows["prediction"]).abs()
    assert half["before"]["value"] == (near <= 0.67448975 * rows["sd"]).mean()
    assert half["after"]["value"] == (near <= 0.67448975 * rows["calibrated_sd"]).mean()
    assert (folder / "figures" / "predicted_sd.png").exists()
    assert "Predicted standard deviations" in (folder / "report.html").read_text()
