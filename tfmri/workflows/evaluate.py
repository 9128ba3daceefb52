"""`tfmri evaluate`: the best model of a run on one of its splits, with intervals, trivial predictors and figures."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from tfmri.errors import InputError, Problem
from tfmri.evaluation.figures import write_figures
from tfmri.evaluation.summary import headline, summarise
from tfmri.experiment.load import load_experiment
from tfmri.experiment.schema import Classification, Experiment
from tfmri.files import write_csv, write_json
from tfmri.runs.cohort import read_cohort
from tfmri.runs.directory import Run
from tfmri.workflows.cohort import DEMO
from tfmri.workflows.samples import make_samples, rows_of
from tfmri.workflows.train import checked_scans

SPLITS = ("test", "validation", "train")


def evaluate(run: Run, split: str) -> None:
    """Predicts every scan of a split with the best model, writes predictions, metrics and figures, prints the headline.

    Raises:
        InputError: unknown split, or a run that has no model yet.
    """
    if split not in SPLITS:
        raise InputError(Problem("--split", f"'{split}'", f"one of {', '.join(SPLITS)}"))
    if not run.fit.finished:
        advice = f"Go on with it: tfmri train {run.path.parent.name} --run {run.path.name}"
        raise InputError(Problem(run.label, "training has not ended", advice=advice))
    experiment = load_experiment(run.experiment)
    target = experiment.targets[experiment.target]
    classes = list(target.classes) if isinstance(target, Classification) else None
    table = read_cohort(run, experiment.target, classes is None)
    rows = rows_of(table, split)

    predictions = _predict(run, experiment, table.iloc[rows].reset_index(drop=True))
    train_truth = table[experiment.target].iloc[rows_of(table, "train")]
    best = best_reachable(run, experiment)
    summary = summarise(predictions, classes, train_truth, seed=experiment.seed, resamples=experiment.evaluation.resamples)
    folder = run.evaluation(split)
    write_csv(folder / "predictions.csv", predictions)
    write_json(folder / "metrics.json", {experiment.target: summary})
    write_figures(predictions, classes, folder / "figures")
    print(headline(experiment.target, summary, best))
    print(_whereabouts(run, folder, split))


def _predict(run: Run, experiment: Experiment, table: pd.DataFrame) -> pd.DataFrame:
    """predictions.csv of the scans in `table`: one row each, in its order."""
    cached = checked_scans(table, experiment)

    import keras

    from tfmri.inference.outputs import make_predictor
    from tfmri.tasks.registry import load_task
    from tfmri.training.devices import set_up

    settings = experiment.training
    strategy = set_up(settings.devices, settings.threads, settings.deterministic, experiment.seed)
    task = load_task(json.loads(run.fit.task.read_text()))
    samples = make_samples(table, cached, task, experiment.target, experiment.image.shape)
    with strategy.scope():
        model = keras.models.load_model(run.fit.model, compile=False)
    outputs = make_predictor(model, samples, settings.batch_size, strategy)(np.arange(len(table)))
    columns = ["subject", "session", "scan", "path", "site"]
    who = table[columns].assign(fit=run.fit.path.name, target=experiment.target, truth=table[experiment.target])
    return pd.concat([who, task.decode(outputs)], axis=1)


def best_reachable(run: Run, experiment: Experiment) -> dict[str, float]:
    """What nobody can do better on the phantom cohort, as its generator knows; empty for other cohorts."""
    if experiment.data.labels.split(":")[0] != DEMO:
        return {}
    truth = Path(json.loads(run.provenance.read_text())["labels"]["path"]).parent / "truth.json"
    return json.loads(truth.read_text())["best_reachable"].get(experiment.target, {}) if truth.exists() else {}


def _whereabouts(run: Run, folder: Path, split: str) -> str:
    """Where everything is, and what to type next."""
    other = "validation" if split == "test" else "test"
    files = {
        "predictions": folder / "predictions.csv",
        "metrics": folder / "metrics.json",
        "figures": folder / "figures",
        "best model": run.fit.model,
        "curves": run.fit.learning_curves,
    }
    commands = {
        "watch": "make tensorboard",
        "again": f"tfmri evaluate {run.label} --split {other}",
        "change": f"make train EXP={run.path.parent.name} ARGS='--set training.epochs=30'",
    }
    lines = ["", *(f"{name:<12} {path}" for name, path in files.items()), "", "next:"]
    return "\n".join([*lines, *(f"  {command}" for command in commands.values())])
