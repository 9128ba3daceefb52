"""What is learnt from predictions on validation and then applied to others: none of it changes the headline.

For classes a temperature, a threshold (of two classes), and sets of classes; for numbers an interval, a factor for the
standard deviations where the network gives them, and for age the bias with age. Each says why where it cannot be had.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from tfmri.evaluation.age_bias import AgeBias, corrected_gap, fit_age_bias
from tfmri.evaluation.calibration import choose_threshold, fit_sd_factor, fit_temperature, needed_level, scaled
from tfmri.evaluation.conformal import (
    fewest,
    interval_half_width,
    one_a_subject,
    prediction_sets,
    set_quantile,
)
from tfmri.evaluation.metrics import Kind, class_numbers, probabilities_of
from tfmri.evaluation.summary import entry, measure, usable

LEVEL = 0.9
AGE = "age"
CALIBRATION = ("log_loss", "brier", "ece")
THRESHOLDED = ("balanced_accuracy", "accuracy", "mcc")
CORRECTED = ("mae", "rmse", "mean_gap", "gap_age_r")
NOMINAL = (0.5, 0.8, 0.95)  # shares of people whom the intervals of a predicted sd are to hold
SEPARATOR = "|"  # between the classes of a set


@dataclass(frozen=True)
class Adjustments:
    """What was learnt; None where it could not be, or has no meaning for the target, and `notes` says why.

    Args:
        level: share of intervals and sets that are to hold the truth.
        scans: of validation, that have a prediction.
        subjects: whose they are.
        classes: in the order of the model's outputs; empty for a number.
        temperature: see `calibration`.
        threshold: of the probability of the second of two classes.
        quantile: of the sets, see `conformal.set_quantile`.
        half_width: of the intervals, in the target's unit.
        sd_factor: of the standard deviations that the network gives, see `calibration`.
        slope, intercept: of the bias with age.
        who: on whom that was fitted: 'healthy' or 'all'.
        notes: name -> sentence.
    """

    level: float
    scans: int
    subjects: int
    classes: tuple[str, ...] = ()
    temperature: float | None = None
    threshold: float | None = None
    quantile: float | None = None
    half_width: float | None = None
    sd_factor: float | None = None
    slope: float | None = None
    intercept: float | None = None
    who: str = "all"
    notes: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def to_config(self) -> dict[str, Any]:
        """For JSON; `from_config` reads it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """What `to_config` wrote."""
        return cls(**{**config, "classes": tuple(config["classes"])})


def learn(
    validation: pd.DataFrame,
    kind: Kind,
    classes: Sequence[str],
    target: str,
    healthy: pd.Series | None = None,
    level: float = LEVEL,
) -> Adjustments:
    """Learns all that can be learnt from predictions on validation.

    Args:
        validation: rows of predictions.csv, each predicted by fits that did not train on it.
        kind: of the target.
        classes: in the order of the model's outputs; empty for a number.
        target: its name; the bias with age is that of the target `age`.
        healthy: (n,) bool, who the bias with age is fitted on; None for everybody.
        level: share of intervals and sets that are to hold the truth.
    """
    chosen = (
        pd.Series(True, validation.index) if healthy is None else pd.Series(healthy.to_numpy(bool), validation.index)
    )
    rows = usable(validation.assign(_healthy=chosen), kind, classes)
    counts: dict[str, Any] = {
        "level": level,
        "scans": len(rows),
        "subjects": rows["subject"].nunique(),
        "classes": tuple(classes),
    }
    once = one_a_subject(rows)
    few = f"{len(once)} people in validation are too few for intervals at {level:.0%}: {fewest(level)} are needed"
    notes: dict[str, str] = {}
    found: dict[str, Any] = {}
    if kind != "regression":
        probabilities, truth = probabilities_of(rows, classes), class_numbers(rows["truth"], classes)
        if len(rows):
            found["temperature"] = fit_temperature(probabilities, truth)
        else:
            notes["temperature"] = "no scan of validation has a prediction"
        if len(classes) == 2:
            if len(np.unique(truth)) == 2:
                found["threshold"] = choose_threshold(truth == 1, probabilities[:, 1])
            else:
                notes["threshold"] = "validation does not have both classes"
        numbers = class_numbers(once["truth"], classes)
        quantile = set_quantile(numbers, probabilities_of(once, classes), level)
        found["quantile"], notes = (quantile, notes) if np.isfinite(quantile) else (None, notes | {"conformal": few})
        return Adjustments(**counts, **found, notes=notes)
    width = interval_half_width(once["truth"].to_numpy(float), once["prediction"].to_numpy(float), level)
    found["half_width"], notes = (width, notes) if np.isfinite(width) else (None, {"conformal": few})
    if "sd" in rows:
        if len(rows):
            found["sd_factor"] = fit_sd_factor(*(rows[name].to_numpy(float) for name in ("truth", "prediction", "sd")))
        else:
            notes["predicted_sd"] = "no scan of validation has a prediction"
    if target == AGE:
        of = rows[rows["_healthy"]]
        who = "all" if healthy is None else "healthy"
        try:
            bias = fit_age_bias(of["truth"].to_numpy(float), of["prediction"].to_numpy(float))
            found |= {"slope": bias.slope, "intercept": bias.intercept, "who": who}
        except ValueError as error:
            notes["age_bias"] = f"{error}; of {who} there are {len(of)} in validation"
    return Adjustments(**counts, **found, notes=notes)


def apply(predictions: pd.DataFrame, adjustments: Adjustments) -> pd.DataFrame:
    """Predictions with `lower` and `upper`, or `prediction_set`, and for age `corrected_gap` where the truth is known.

    Beside a column `sd` stands `calibrated_sd`.

    Args:
        predictions: with `prediction`, or p_<class>, and where it is known `truth`; NaN stays NaN.
        adjustments: of the model that made them.
    """
    if adjustments.classes:
        if adjustments.quantile is None:
            return predictions
        inside = prediction_sets(probabilities_of(predictions, adjustments.classes), adjustments.quantile)
        sets = [SEPARATOR.join(np.array(adjustments.classes)[row]) for row in inside]
        return predictions.assign(
            prediction_set=pd.Series(sets, predictions.index).where(predictions["prediction"].notna())
        )
    said = predictions["prediction"].astype(float)
    if adjustments.half_width is not None:
        predictions = predictions.assign(lower=said - adjustments.half_width, upper=said + adjustments.half_width)
    if adjustments.sd_factor is not None and "sd" in predictions:
        predictions = predictions.assign(calibrated_sd=predictions["sd"] * adjustments.sd_factor)
    if adjustments.slope is not None and adjustments.intercept is not None and "truth" in predictions:
        bias = AgeBias(adjustments.slope, adjustments.intercept)
        predictions = predictions.assign(
            corrected_gap=corrected_gap(predictions["truth"].to_numpy(float), said.to_numpy(), bias)
        )
    return predictions


def summarise_adjustments(
    predictions: pd.DataFrame,
    adjustments: Adjustments,
    kind: Kind,
    classes: Sequence[str],
    train_truth: pd.Series,
    seed: int,
    resamples: int = 1000,
) -> dict[str, Any]:
    """What the adjustments do to predictions, for metrics.json: each with its metrics as `summary` gives them.

    Args:
        predictions: after `apply`; the others are those of `summary.summarise`.

    Returns:
        {fitted_on, n, subjects, temperature | threshold | conformal | predicted_sd | age_bias: {...}}. One that there
        is not is {"note": why}.
    """
    rows = usable(predictions, kind, classes)

    def measured(changed: pd.DataFrame, names: Sequence[str]) -> dict[str, Any]:
        found = measure(changed, kind, classes, train_truth, seed, resamples)
        return {name: found[name] for name in names}

    result: dict[str, Any] = {
        "fitted_on": "validation",
        "n": adjustments.scans,
        "subjects": adjustments.subjects,
        **{name: {"note": note} for name, note in adjustments.notes.items()},
    }
    if adjustments.temperature is not None:
        softer = scaled(probabilities_of(rows, classes), adjustments.temperature)
        after = rows.assign(**{f"p_{name}": softer[:, place] for place, name in enumerate(classes)})
        result["temperature"] = {
            "value": adjustments.temperature,
            "before": measured(rows, CALIBRATION),
            "after": measured(after, CALIBRATION),
        }
    if adjustments.threshold is not None:
        said = np.where(rows[f"p_{classes[1]}"] >= adjustments.threshold, classes[1], classes[0])
        metrics = measured(rows.assign(prediction=said), [*THRESHOLDED, *(f"recall_{name}" for name in classes)])
        result["threshold"] = {"value": adjustments.threshold, "of": f"p_{classes[1]}", "metrics": metrics}
    if adjustments.quantile is not None:
        inside = prediction_sets(probabilities_of(rows, classes), adjustments.quantile)
        held = inside[np.arange(len(rows)), class_numbers(rows["truth"], classes)]
        result["conformal"] = {
            "level": adjustments.level,
            "quantile": adjustments.quantile,
            "coverage": entry(held.astype(float), rows["subject"], seed, resamples, share=True),
            "mean_size": entry(inside.sum(axis=1).astype(float), rows["subject"], seed, resamples),
        }
    if adjustments.half_width is not None:
        near = (rows["truth"].astype(float) - rows["prediction"].astype(float)).abs() <= adjustments.half_width
        result["conformal"] = {
            "level": adjustments.level,
            "half_width": adjustments.half_width,
            "coverage": entry(near.to_numpy(float), rows["subject"], seed, resamples, share=True),
        }
    if adjustments.sd_factor is not None and "calibrated_sd" in rows:
        needed = {when: needed_level(rows, sd) for when, sd in (("before", "sd"), ("after", "calibrated_sd"))}

        def held_at(level: float) -> dict[str, Any]:
            return {
                when: entry((each <= level).astype(float), rows["subject"], seed, resamples, share=True)
                for when, each in needed.items()
            }

        result["predicted_sd"] = {
            "factor": adjustments.sd_factor,
            "coverage": [{"level": level, **held_at(level)} for level in NOMINAL],
        }
    if adjustments.slope is not None:
        corrected = rows.assign(prediction=rows["truth"].astype(float) + rows["corrected_gap"].astype(float))
        result["age_bias"] = {
            "slope": adjustments.slope,
            "intercept": adjustments.intercept,
            "who": adjustments.who,
            "corrected": measured(corrected, CORRECTED),
        }
    return result
