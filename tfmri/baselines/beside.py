"""The classical models that `tfmri baseline` left, beside the results of a run on the same split."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tfmri.baselines.models import NAMES
from tfmri.baselines.verdict import Verdict, verdict
from tfmri.evaluation.summary import HEADLINES
from tfmri.experiment.schema import Experiment
from tfmri.runs.cohort import sides_of
from tfmri.runs.directory import Run, baselines_of


@dataclass(frozen=True)
class Classical:
    """The classical models that saw the same features.

    Args:
        features: what they saw, in words.
        metrics: model -> metric -> value, interval, counts.
        verdict: whether the network is better.
    """

    features: str
    metrics: Mapping[str, Mapping[str, Any]]
    verdict: Verdict


def classical_models(
    run: Run, experiment: Experiment, table: pd.DataFrame, predictions: pd.DataFrame, split: str
) -> list[Classical]:
    """All that were fitted and measured on the very scans of the run; none for labels that were shuffled.

    Args:
        run: whose.
        experiment: its settings.
        table: its scans with `split`, `fold` and the target.
        predictions: of the network on `split`.
        split: test or validation.
    """
    if experiment.data.shuffle_labels:
        return []
    target = experiment.target
    classes = list(experiment.targets[target].classes or ())
    kind = experiment.targets[target].kind
    text = dict.fromkeys(["subject", "session", "scan", "fit", *(["truth", "prediction"] if classes else [])], str)
    found = []
    for folder in baselines_of(run, split, sides_of(table, target)):
        features = json.loads((folder / "about.json").read_text())["features"]
        summaries = json.loads((folder / "metrics.json").read_text())
        rows = pd.read_csv(folder / "predictions.csv", dtype=text)
        metrics = {name: summaries[name][target] for name in NAMES if name in summaries}
        if not metrics:
            continue
        said = {name: rows[rows["fit"] == name].reset_index(drop=True) for name in metrics}
        metric = next(name for name in HEADLINES if name in next(iter(metrics.values())))
        reached = {name: each[metric]["value"] for name, each in metrics.items()}
        numbers = experiment.seed, experiment.evaluation.resamples
        found.append(Classical(features, metrics, verdict(metric, reached, said, predictions, kind, classes, *numbers)))
    return found
