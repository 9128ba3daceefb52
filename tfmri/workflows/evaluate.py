"""`tfmri evaluate`: the best models of a run on one of its splits, with intervals, trivial predictors and figures."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from tfmri.cohort.splits import of_fold
from tfmri.errors import InputError, Problem
from tfmri.evaluation.chance import against_chance, shuffled_labels_sentence
from tfmri.evaluation.ensemble import ensemble
from tfmri.evaluation.figures import histogram_by_split, write_figures
from tfmri.evaluation.metrics import Kind
from tfmri.evaluation.summary import headline, summarise
from tfmri.experiment.load import load_experiment
from tfmri.experiment.schema import Experiment, FitPlan
from tfmri.files import write_csv, write_json
from tfmri.images.fitted import FittedPreparation, preparation_of
from tfmri.pipeline.samples import make_samples
from tfmri.runs.cohort import rows_of
from tfmri.runs.directory import Fit, Run
from tfmri.runs.provenance import begin_command, program, resume_command
from tfmri.training.startup import load_tensorflow
from tfmri.workflows.cohort import DEMO, run_scans, run_table

SPLITS = ("test", "validation", "train")


def evaluate(run: Run, split: str) -> None:
    """Predicts every scan of a split, writes predictions, metrics and figures, prints the headline.

    With folds or several seeds, a scan's prediction is the mean over the fits on whose `split` it stands: all of them
    for test, for validation those of the fold that did not train on it.

    Raises:
        InputError: unknown split, a run that has no model yet, or a model without its preparation.
    """
    if split not in SPLITS:
        raise InputError(Problem("--split", f"'{split}'", f"one of {', '.join(SPLITS)}"))
    experiment = load_experiment(run.experiment)
    fits = {plan: run.fit(plan.name) for plan in experiment.fits}
    if waiting := [plan.name for plan, fit in fits.items() if not fit.finished]:
        found = "training has not ended" + (f" for {', '.join(waiting)}" if len(fits) > 1 else "")
        raise InputError(Problem(run.label, found, advice=f"Go on with it: {resume_command(run)}"))
    if absent := [fit.model for fit in fits.values() if not fit.model.exists()]:
        advice = "Fetch it: make sync WEIGHTS=1"
        raise InputError(Problem(str(absent[0]), "the model is not here", advice=advice))
    target = experiment.targets[experiment.target]
    classes = list(target.classes or ())
    kind: Kind = "classification" if classes else "regression"
    table = run_table(run, experiment)
    train_truth = table[experiment.target].iloc[rows_of(table, "train")]

    by_fit = _predict(fits, experiment, table, split)
    predictions = ensemble(by_fit, classes)
    seed, resamples = experiment.seed, experiment.evaluation.resamples
    summary = summarise(predictions, kind, classes, train_truth, seed, resamples)
    folder = run.evaluation(split)
    write_csv(folder / "predictions.csv", predictions)
    if len(fits) > 1:
        write_csv(folder / "predictions_by_fit.csv", by_fit)
    write_json(folder / "metrics.json", summary)
    write_figures(predictions, kind, classes, folder / "figures", seed, resamples)
    histogram_by_split(table[experiment.target], table["split"], folder / "figures" / "histogram_by_split")
    print(_whereabouts(run, folder))
    print(f"\n{split} split")
    print(headline(summary, best_reachable(run, experiment)))
    if experiment.data.shuffle_labels and split == "test":  # on validation the best epoch was chosen
        against = against_chance(predictions["truth"], predictions["prediction"], predictions["subject"])
        print(shuffled_labels_sentence(against, f"on {split}"))
    print(_next_commands(run, split))


def _predict(fits: Mapping[FitPlan, Fit], experiment: Experiment, table: pd.DataFrame, split: str) -> pd.DataFrame:
    """predictions_by_fit.csv: of each fit, a row for every scan that stands on its `split`, in the order of `table`."""
    prepared = {plan: _preparation(fit, experiment) for plan, fit in fits.items()}
    parts = {plan: rows_of(of_fold(table, plan.fold), split) for plan in fits}
    needed = np.unique(np.concatenate(list(parts.values())))
    cached = dict(zip(needed, run_scans(table.iloc[needed], experiment), strict=True))

    load_tensorflow()
    import keras

    from tfmri.inference.outputs import make_predictor
    from tfmri.tasks.registry import load_task
    from tfmri.training.devices import set_up

    settings = experiment.training
    # On the devices there are: the machine that evaluates need not be the one that trained.
    strategy = set_up(None, settings.threads, settings.deterministic, experiment.seed)
    predicted = []
    for plan, rows in parts.items():
        chosen = table.iloc[rows].reset_index(drop=True)
        task = load_task(json.loads(fits[plan].task.read_text()))
        scans = [cached[row] for row in rows]
        standard = prepared[plan].standard
        samples = make_samples(chosen, scans, task, experiment.target, experiment.image.shape, standard)
        with strategy.scope():
            model = keras.models.load_model(fits[plan].model, compile=False)
        outputs = make_predictor(model, samples, settings.batch_size, strategy)(np.arange(len(rows)))
        columns = ["subject", "session", "scan", "path", "site"]
        name, truth = experiment.target, chosen[experiment.target]
        who = chosen[columns].assign(fit=plan.name, target=name, truth=truth)
        predicted.append(pd.concat([who, task.decode(outputs)], axis=1))
    return pd.concat(predicted, ignore_index=True)


def _preparation(fit: Fit, experiment: Experiment) -> FittedPreparation:
    """What the model of a fit carries; its settings must be those by which the run's scans are prepared."""
    prepared = preparation_of(fit.model)
    if prepared.preparation != experiment.image.preparation:
        found = "its scans were not prepared as the run's experiment.yaml says"
        raise InputError(Problem(str(fit.model), found, advice="Put the model, or the `image` settings, back"))
    return prepared


def best_reachable(run: Run, experiment: Experiment) -> dict[str, dict[str, float]]:
    """Target -> metric -> what nobody can better, as the phantom cohort's generator knows; else empty."""
    if experiment.data.labels.split(":")[0] != DEMO:
        return {}
    truth = Path(json.loads(run.provenance.read_text())["labels"]["path"]).parent / "truth.json"
    known = json.loads(truth.read_text())["best_reachable"] if truth.exists() else {}
    return {experiment.target: known[experiment.target]} if experiment.target in known else {}


def _whereabouts(run: Run, folder: Path) -> str:
    fits = [run.fit(plan.name) for plan in load_experiment(run.experiment).fits]
    places = {
        "best model": fits[0].model if len(fits) == 1 else run.path / "fits" / "*" / fits[0].model.name,
        "curves": fits[0].learning_curves if len(fits) == 1 else run.path / "fits" / "*" / fits[0].learning_curves.name,
        "predictions": folder / "predictions.csv",
        "metrics": folder / "metrics.json",
        "figures": folder / "figures",
    }
    return "\n".join(f"{name:<12} {path}" for name, path in places.items())


def _next_commands(run: Run, split: str) -> str:
    other = "validation" if split == "test" else "test"
    epochs = 2 * load_experiment(run.experiment).training.epochs
    commands = {
        "make tensorboard": "watch the curves",
        shlex.join([program(), "evaluate", run.label, "--split", other]): "the other split",
        begin_command(run, f"training.epochs={epochs}"): "train longer",
        begin_command(run, "data.labels=path/labels.csv"): "your own scans",
    }
    width = max(map(len, commands))
    return "\n".join(["", "next:", *(f"  {command:<{width}}  {does}" for command, does in commands.items())])
