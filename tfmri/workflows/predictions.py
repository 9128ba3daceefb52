"""What the trained fits of a run say of scans: predictions by fit, their mean, and how far they lie apart."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tfmri.errors import InputError, Problem
from tfmri.evaluation.ensemble import ensemble, spread
from tfmri.experiment.schema import Experiment, FitPlan
from tfmri.images.cache import CachedScan
from tfmri.images.fitted import FittedPreparation, preparation_of
from tfmri.inference.model_file import load_model
from tfmri.inference.views import PLAIN, Views
from tfmri.pipeline.samples import make_samples
from tfmri.runs.directory import Fit, Run
from tfmri.runs.provenance import resume_command
from tfmri.training.startup import load_tensorflow

WHO = ["subject", "session", "scan", "path", "site"]


@dataclass(frozen=True)
class Asked:
    """Scans of which predictions are wanted.

    Args:
        table: with the columns of `WHO` and the target.
        cached: the prepared scan of each row of the table; None where no fit is asked of it.
        rows: of each fit, the rows of the table that it is asked of.
    """

    table: pd.DataFrame
    cached: Sequence[CachedScan | None]
    rows: Mapping[FitPlan, np.ndarray]


@dataclass(frozen=True)
class Predictions:
    """What is said of scans.

    Args:
        by_fit: predictions_by_fit.csv, a row for each fit and scan, in the order of the table.
        mean: predictions.csv, a row a scan; with `spread` where there are several fits, or draws with dropout.
    """

    by_fit: pd.DataFrame
    mean: pd.DataFrame


def trained_fits(run: Run, experiment: Experiment, some: bool = False) -> dict[FitPlan, Fit]:
    """The fits of a run, which must have ended and be here.

    Args:
        run: its folder.
        experiment: its settings.
        some: whether those that have ended are enough, if there is one.

    Raises:
        InputError: some have not, or their models are elsewhere.
    """
    fits = {plan: run.fit(plan.name) for plan in experiment.fits}
    waiting = [plan for plan, fit in fits.items() if not fit.finished]
    if waiting and not (some and len(waiting) < len(fits)):
        found = "training has not ended" + (f" for {_names(waiting)}" if len(fits) > 1 else "")
        raise InputError(Problem(run.label, found, advice=f"Go on with it: {resume_command(run)}"))
    fits = {plan: fit for plan, fit in fits.items() if plan not in waiting}
    if absent := [fit.model for fit in fits.values() if not fit.model.exists()]:
        advice = "Fetch it: make sync WEIGHTS=1"
        raise InputError(Problem(str(absent[0]), "the model is not here", advice=advice))
    for fit in fits.values():
        _preparation(fit, experiment)
    return fits


def missing_fits(run: Run, experiment: Experiment) -> str:
    """What is to be said of the fits of a run that have not ended; '' where all have."""
    waiting = [plan for plan in experiment.fits if not run.fit(plan.name).finished]
    if not waiting:
        return ""
    have = "has" if len(waiting) == 1 else "have"
    return (
        f"{_names(waiting)} {have} not ended: these results are of {len(experiment.fits) - len(waiting)} of "
        f"{len(experiment.fits)} fits. Go on with it ({resume_command(run)}), then evaluate again"
    )


def predict(
    fits: Mapping[FitPlan, Fit], experiment: Experiment, asked: Sequence[Asked], views: Views = PLAIN
) -> list[Predictions]:
    """What each fit says of the scans it is asked of, each model being loaded once.

    On the devices there are: the machine that evaluates need not be the one that trained.

    Args:
        fits: trained (`trained_fits`).
        experiment: of the run.
        asked: one or several lots of scans.
        views: looks beside the plain one.

    Raises:
        InputError: draws with dropout of a model that has none.
    """
    load_tensorflow()
    from tfmri.inference.outputs import make_predictor
    from tfmri.inference.views import make_forward
    from tfmri.tasks.registry import load_task
    from tfmri.training.devices import set_up

    settings, target = experiment.training, experiment.target
    classes = list(experiment.targets[target].classes or ())
    strategy = set_up(None, settings.threads, settings.deterministic, experiment.seed)
    found: list[list[tuple[pd.DataFrame, pd.DataFrame]]] = [[] for _ in asked]
    for plan, fit in fits.items():
        task, standard = load_task(json.loads(fit.task.read_text())), _preparation(fit, experiment).standard
        with strategy.scope():
            model = load_model(fit.model, trusted_module(experiment))
        forward = make_forward(model, views)
        for lot, into in zip(asked, found, strict=True):
            rows = lot.rows[plan]
            if not len(rows):
                continue
            chosen = lot.table.iloc[rows].reset_index(drop=True)
            scans = [scan for row in rows if (scan := lot.cached[row]) is not None]
            samples = make_samples(chosen, scans, None, target, experiment.image.shape, standard)
            outputs = make_predictor(model, samples, settings.batch_size, strategy, forward)(np.arange(len(rows)))
            about = chosen[WHO].assign(fit=plan.name, target=target, truth=chosen[target])
            looks = [pd.concat([about, task.decode(outputs[:, look])], axis=1) for look in range(outputs.shape[1])]
            own = ensemble(pd.concat(looks[: views.averaged]), classes).assign(fit=plan.name)
            into.append((own, pd.concat(looks[views.averaged :] or [own])))
    return [_together(each, classes) for each in found]


def _names(plans: Sequence[FitPlan]) -> str:
    return ", ".join(plan.name for plan in plans)


def trusted_module(experiment: Experiment) -> str:
    """The module of the person's own model, whose layers may be in the file; '' where the model is one of tfmri's."""
    return experiment.model.name.partition(":")[0] if ":" in experiment.model.name else ""


def _together(found: Sequence[tuple[pd.DataFrame, pd.DataFrame]], classes: Sequence[str]) -> Predictions:
    """One lot's predictions from, of each fit, what it says and the members whose spread is taken."""
    by_fit = pd.concat([own for own, _ in found], ignore_index=True)
    members = pd.concat([each for _, each in found], ignore_index=True)
    mean = ensemble(by_fit, classes)
    if members["scan"].duplicated().any():
        mean["spread"] = spread(members, mean, classes)
    return Predictions(by_fit, mean)


def _preparation(fit: Fit, experiment: Experiment) -> FittedPreparation:
    """What the model of a fit carries; its settings must be those by which the run's scans are prepared."""
    prepared = preparation_of(fit.model)
    if prepared.preparation != experiment.image.preparation:
        found = "its scans were not prepared as the run's experiment.yaml says"
        raise InputError(Problem(str(fit.model), found, advice="Put the model, or the `image` settings, back"))
    return prepared
