"""`tfmri evaluate`: the best models of a run on one of its splits, or on other people; every number has an interval.

What is learnt about the predictions (a temperature, a threshold, intervals, the bias with age) is learnt on validation,
each scan predicted by the fits that did not train on it, and then applied to the split that is asked for.
"""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfmri.baselines.beside import classical_models
from tfmri.cohort import known
from tfmri.cohort.splits import of_fold
from tfmri.cohort.table import Cohort
from tfmri.errors import InputError, Problem
from tfmri.evaluation.adjustments import apply, learn, summarise_adjustments
from tfmri.evaluation.chance import against_chance, shuffled_labels_sentence
from tfmri.evaluation.figures import histogram_by_split, write_figures
from tfmri.evaluation.summary import headline, spread_over_fits, summarise
from tfmri.experiment.load import load_experiment
from tfmri.experiment.schema import Experiment, FitPlan
from tfmri.files import write_csv, write_json
from tfmri.inference.views import PLAIN, Views
from tfmri.report.facts import Facts, name_of
from tfmri.report.write import write_report
from tfmri.runs.cohort import SOURCE, rows_of
from tfmri.runs.directory import Run
from tfmri.runs.provenance import begin_command, program
from tfmri.workflows.cohort import DEMO, labels_file, prepare, read_cohort_of, run_scans, run_table
from tfmri.workflows.predictions import Asked, Predictions, missing_fits, predict, trained_fits
from tfmri.workflows.risks import risks

SPLITS = ("test", "validation", "train")
BAND = 20  # years


@dataclass(frozen=True)
class Wanted:
    """What is to be evaluated, and how.

    Args:
        split: test, validation or train.
        labels: a labels file of other people, all of whom are predicted, in place of the split.
        name: of the folder of results on them; None for the name of the file's folder.
        views: looks beside the plain one.
        anonymous: whether the report leaves out heads and ids.
    """

    split: str = "test"
    labels: str | None = None
    name: str | None = None
    views: Views = PLAIN
    anonymous: bool = False

    @property
    def place(self) -> str:
        """The name of the folder of the results."""
        return self.split if self.labels is None else self.name or Path(self.labels).absolute().parent.name

    def command(self, run: str) -> str:
        """What a person types for this; without the path of the labels where ids are left out."""
        options = ["--split", self.split] if self.labels is None and self.split != "test" else []
        if self.labels is not None:
            options += ["--labels", "FILE" if self.anonymous else self.labels, "--name", self.place]
        options += ["--mirrored"] if self.views.mirrored else []
        options += ["--dropout-draws", str(self.views.dropout_draws)] if self.views.dropout_draws else []
        options += ["--anonymous"] if self.anonymous else []
        return shlex.join(["tfmri", "evaluate", run, *options])


def evaluate(run: Run, wanted: Wanted) -> int:
    """Predicts every scan of a split, writes predictions, metrics, figures and the report, prints the headline.

    With folds or several seeds, a scan's prediction is the mean over the fits on whose `split` it stands: all of them
    for test and for other people, for validation those of the fold that did not train on it. Fits that have not ended
    are missing, which is said in all places.

    Returns:
        The exit code: 0, or 3 where fits are missing.

    Raises:
        InputError: unknown split, a name that cannot be a folder's, or a run that has no model yet, or one without its
            preparation; labels that cannot be read.
    """
    _check(wanted)
    experiment = load_experiment(run.experiment)
    fits, missing = trained_fits(run, experiment, some=True), missing_fits(run, experiment)
    target = experiment.targets[experiment.target]
    classes = list(target.classes or ())
    kind = target.kind
    table = run_table(run, experiment)
    validation, asked, others, warnings = _asked(run, experiment, table, wanted)
    lots = [validation, asked] if asked is not validation else [validation]
    found = predict(fits, experiment, lots, wanted.views)
    on_validation, result = found[0], found[-1]

    adjustments = learn(
        on_validation.mean, kind, classes, experiment.target, _of(known.healthy, validation.table, on_validation)
    )
    predictions = apply(result.mean, adjustments)
    described, groups = _described(predictions, asked.table, experiment.target)
    train_truth = table[experiment.target].iloc[rows_of(table, "train")]
    numbers = experiment.seed, experiment.evaluation.resamples
    summary = summarise(described, kind, classes, train_truth, *numbers, groups)
    summary["adjustments"] = {
        experiment.target: summarise_adjustments(predictions, adjustments, kind, classes, train_truth, *numbers)
    }
    if len(fits) > 1:
        summary["fits"] = {experiment.target: spread_over_fits(result.by_fit, kind, classes)}
    summary["warnings"][experiment.target] += [missing] * bool(missing) + warnings
    if wanted.views != PLAIN:
        summary["views"] = wanted.views.in_words
    folder = run.evaluation(wanted.place)
    write_csv(folder / "predictions.csv", predictions)
    if len(fits) > 1:
        write_csv(folder / "predictions_by_fit.csv", result.by_fit)
    write_json(folder / "metrics.json", summary)
    if wanted.views == PLAIN:
        write_json(run.adjustments, adjustments.to_config())
    write_figures(predictions, kind, classes, folder / "figures", *numbers)
    if wanted.labels is None:
        histogram_by_split(table[experiment.target], table["split"], folder / "figures" / "histogram_by_split", classes)
        if (ages := known.ages(table)) is not None and known.column(table, "age") != experiment.target:
            histogram_by_split(ages.rename("age"), table["split"], folder / "figures" / "age_by_split")
    best = {} if wanted.labels else best_reachable(run, experiment)
    findings, examined = risks(run, experiment, table)
    flow = json.loads(run.provenance.read_text()).get("flow", ())
    facts = Facts(
        run=run,
        place=wanted.place,
        experiment=experiment,
        table=table,
        predictions=predictions,
        summary=summary,
        best=best,
        command=wanted.command(name_of(run, wanted.anonymous)),
        asked=others.table if others else None,
        flow=[asdict(step) for step in others.flow] if others else flow,
        findings=findings,
        examined=examined,
        classical=[] if others else classical_models(run, experiment, table, predictions, wanted.split),
        anonymous=wanted.anonymous,
    )
    scans = {str(scan): each for scan, each in zip(asked.table["scan"], asked.cached, strict=True) if each is not None}
    write_report(facts, scans)
    print(_whereabouts(run, folder))
    looks = f", {wanted.views.in_words}" if wanted.views != PLAIN else ""
    print(f"\n{wanted.place if wanted.labels else f'{wanted.split} split'}{looks}")
    print(headline(summary, best))
    if experiment.data.shuffle_labels and wanted.place == "test":  # on validation the best epoch was chosen
        against = against_chance(predictions["truth"], predictions["prediction"], predictions["subject"])
        print(shuffled_labels_sentence(against, "on test"))
    print(_next_commands(run, wanted.split))
    return 3 if missing else 0


def _check(wanted: Wanted) -> None:
    if wanted.split not in SPLITS:
        raise InputError(Problem("--split", f"'{wanted.split}'", f"one of {', '.join(SPLITS)}"))
    if wanted.views.dropout_draws < 0:
        raise InputError(Problem("--dropout-draws", str(wanted.views.dropout_draws), "0 or more"))
    if wanted.labels is None:
        if wanted.name is not None:
            advice = "A split is called what it is"
            raise InputError(Problem("--name", f"'{wanted.name}', without --labels", "both, or neither", advice))
        return
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", wanted.place) or wanted.place in SPLITS:
        expected = f"letters, digits, '.', '_' and '-', beginning with a letter or digit; not {', '.join(SPLITS)}"
        raise InputError(Problem("--name", f"'{wanted.place}' cannot be the name of results", expected))


def _asked(
    run: Run, experiment: Experiment, table: pd.DataFrame, wanted: Wanted
) -> tuple[Asked, Asked, Cohort | None, list[str]]:
    """The scans of validation, those that are asked for, the cohort of others, and what is to be said of them."""

    def of_run(split: str) -> Mapping[FitPlan, np.ndarray]:
        return {plan: rows_of(of_fold(table, plan.fold), split) for plan in experiment.fits}

    splits = {split: of_run(split) for split in {"validation", wanted.split if wanted.labels is None else "validation"}}
    needed = np.unique(np.concatenate([rows for parts in splits.values() for rows in parts.values()]))
    known_scans: dict[int, Any] = dict(zip(needed, run_scans(table.iloc[needed], experiment), strict=True))
    cached = [known_scans.get(row) for row in range(len(table))]
    validation = Asked(table, cached, splits["validation"])
    if wanted.labels is None:
        if wanted.split == "validation":
            note = "the best epoch and all adjustments were chosen on these very scans: the test split is honest"
            return validation, validation, None, [note]
        notes = ["the models were trained on these very scans"] if wanted.split == "train" else []
        return validation, Asked(table, cached, splits[wanted.split]), None, notes
    others = experiment.model_copy(
        update={"data": experiment.data.model_copy(update={"labels": wanted.labels, "where": None})}
    )
    cohort = read_cohort_of(others, labels_file(wanted.labels), to_learn=False)
    for note in cohort.notes:
        print(f"note: {note}")
    prepared = prepare(cohort.table, others)
    every = {plan: np.arange(len(cohort.table)) for plan in experiment.fits}
    seen = _seen(table, cohort.table, {each.source_sha256 for each in prepared})
    return validation, Asked(cohort.table, prepared, every), cohort, seen


def _seen(table: pd.DataFrame, others: pd.DataFrame, images: set[str]) -> list[str]:
    """Says so where people, or the very files, of training or validation are among others."""
    learnt = table[table["split"] != "test"]
    found = []
    if count := len(set(learnt["subject"]) & set(others["subject"])):
        found.append(f"{count} subjects have ids of the run's training or validation: are they the same people?")
    if count := len(set(learnt[SOURCE]) & images):
        found.append(f"{count} scans are files of the run's training or validation: these results are not honest")
    return found


def _of(what: Any, table: pd.DataFrame, predictions: Predictions) -> pd.Series | None:
    """What is known of each predicted scan, in the order of predictions.csv."""
    values = what(table)
    return None if values is None else _in_order(values, table, predictions.mean)


def _in_order(values: pd.Series, table: pd.DataFrame, predictions: pd.DataFrame) -> pd.Series:
    return pd.Series(values.to_numpy(), index=table["scan"]).reindex(predictions["scan"]).reset_index(drop=True)


def _described(predictions: pd.DataFrame, table: pd.DataFrame, target: str) -> tuple[pd.DataFrame, list[str]]:
    """Predictions with what is known of each person, and the columns by which groups are formed."""
    columns = {"sex": known.sexes(table), "age_band": age_bands(known.ages(table))}
    found = {name: _in_order(each, table, predictions) for name, each in columns.items() if each is not None}
    return predictions.assign(**found), ["site", *(name for name in found if name != target)]


def age_bands(ages: pd.Series | None) -> pd.Series | None:
    """(n,) such as '40 to 59', by `BAND` years; '' where the age is not known."""
    if ages is None:
        return None
    first = (ages // BAND * BAND).astype("Int64")
    return (first.astype(str) + " to " + (first + BAND - 1).astype(str)).where(ages.notna(), "")


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
        "report": folder / "report.html",
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
    width = min(max(map(len, commands)), 60)
    return "\n".join(["", "next:", *(f"  {command:<{width}}  {does}" for command, does in commands.items())])
