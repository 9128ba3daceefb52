"""`tfmri evaluate`: the best model of a run on one of its splits, with intervals, trivial predictors and figures."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from tfmri.errors import InputError, Problem
from tfmri.evaluation.figures import histogram_by_split, write_figures
from tfmri.evaluation.metrics import Kind
from tfmri.evaluation.summary import headline, summarise
from tfmri.experiment.load import load_experiment
from tfmri.experiment.schema import Experiment
from tfmri.files import write_csv, write_json
from tfmri.pipeline.samples import make_samples
from tfmri.runs.cohort import rows_of
from tfmri.runs.directory import Run
from tfmri.runs.provenance import begin_command, program, resume_command
from tfmri.training.startup import load_tensorflow
from tfmri.workflows.cohort import DEMO, run_scans, run_table

SPLITS = ("test", "validation", "train")


def evaluate(run: Run, split: str) -> None:
    """Predicts every scan of a split with the best model, writes predictions, metrics and figures, prints the headline.

    Raises:
        InputError: unknown split, or a run that has no model yet.
    """
    if split not in SPLITS:
        raise InputError(Problem("--split", f"'{split}'", f"one of {', '.join(SPLITS)}"))
    if not run.fit.finished:
        raise InputError(Problem(run.label, "training has not ended", advice=f"Go on with it: {resume_command(run)}"))
    if not run.fit.model.exists():
        advice = "Fetch it: make sync WEIGHTS=1"
        raise InputError(Problem(str(run.fit.model), "the model is not here", advice=advice))
    experiment = load_experiment(run.experiment)
    target = experiment.targets[experiment.target]
    classes = list(target.classes or ())
    kind: Kind = "classification" if classes else "regression"
    table = run_table(run, experiment)
    train_truth = table[experiment.target].iloc[rows_of(table, "train")]
    chosen = table.iloc[rows_of(table, split)].reset_index(drop=True)

    predictions = _predict(run, experiment, chosen)
    seed, resamples = experiment.seed, experiment.evaluation.resamples
    summary = summarise(predictions, kind, classes, train_truth, seed, resamples)
    folder = run.evaluation(split)
    write_csv(folder / "predictions.csv", predictions)
    write_json(folder / "metrics.json", summary)
    write_figures(predictions, kind, classes, folder / "figures", seed, resamples)
    histogram_by_split(table[experiment.target], table["split"], folder / "figures" / "histogram_by_split")
    print(_whereabouts(run, folder))
    print(f"\n{split} split")
    print(headline(summary, best_reachable(run, experiment)))
    print(_next_commands(run, split))


def _predict(run: Run, experiment: Experiment, table: pd.DataFrame) -> pd.DataFrame:
    """predictions.csv of the scans in `table`: one row each, in its order."""
    cached = run_scans(table, experiment)

    load_tensorflow()
    import keras

    from tfmri.inference.outputs import make_predictor
    from tfmri.tasks.registry import load_task
    from tfmri.training.devices import set_up

    settings = experiment.training
    # On the devices there are: the machine that evaluates need not be the one that trained.
    strategy = set_up(None, settings.threads, settings.deterministic, experiment.seed)
    task = load_task(json.loads(run.fit.task.read_text()))
    samples = make_samples(table, cached, task, experiment.target, experiment.image.shape)
    with strategy.scope():
        model = keras.models.load_model(run.fit.model, compile=False)
    outputs = make_predictor(model, samples, settings.batch_size, strategy)(np.arange(len(table)))
    columns = ["subject", "session", "scan", "path", "site"]
    who = table[columns].assign(fit=run.fit.path.name, target=experiment.target, truth=table[experiment.target])
    return pd.concat([who, task.decode(outputs)], axis=1)


def best_reachable(run: Run, experiment: Experiment) -> dict[str, dict[str, float]]:
    """Target -> metric -> what nobody can better, as the phantom cohort's generator knows; else empty."""
    if experiment.data.labels.split(":")[0] != DEMO:
        return {}
    truth = Path(json.loads(run.provenance.read_text())["labels"]["path"]).parent / "truth.json"
    known = json.loads(truth.read_text())["best_reachable"] if truth.exists() else {}
    return {experiment.target: known[experiment.target]} if experiment.target in known else {}


def _whereabouts(run: Run, folder: Path) -> str:
    places = {
        "best model": run.fit.model,
        "curves": run.fit.learning_curves,
        "predictions": folder / "predictions.csv",
        "metrics": folder / "metrics.json",
        "figures": folder / "figures",
    }
    return "\n".join(f"{name:<12} {path}" for name, path in places.items())


def _next_commands(run: Run, split: str) -> str:
    other = "validation" if split == "test" else "test"
    begun = begin_command(run)
    epochs = 2 * load_experiment(run.experiment).training.epochs
    commands = {
        "make tensorboard": "watch the curves",
        f"{program()} evaluate {run.label} --split {other}": "the other split",
        f"{begun} --set training.epochs={epochs}": "train longer",
        f"{begun} --set data.labels=path/labels.csv": "your own scans",
    }
    width = max(map(len, commands))
    return "\n".join(["", "next:", *(f"  {command:<{width}}  {does}" for command, does in commands.items())])
