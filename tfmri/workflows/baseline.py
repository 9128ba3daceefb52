"""`tfmri baseline`: classical models on the splits that `tfmri train` makes, in one table with the network."""

import hashlib
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tfmri.baselines.features import columns, voxels
from tfmri.baselines.models import NAMES, fit_baseline, probabilities
from tfmri.baselines.verdict import verdict
from tfmri.cohort.splits import of_fold
from tfmri.errors import InputError, Problem
from tfmri.evaluation.ensemble import ensemble
from tfmri.evaluation.metrics import Kind
from tfmri.evaluation.summary import HEADLINES, IN_WORDS, in_figures, summarise
from tfmri.experiment.load import find_experiment, load_experiment
from tfmri.experiment.schema import Experiment
from tfmri.files import write_csv, write_json
from tfmri.runs.cohort import rows_of, sides_of
from tfmri.runs.directory import Run, all_runs, baselines_at
from tfmri.workflows.cohort import load_cohort, prepare, run_table, with_sides

NETWORK = "network"


def baseline(name: str, overrides: Sequence[str] = (), split: str = "test", features: Sequence[str] = ()) -> str:
    """Fits all models of `NAMES` on the training scans, measures them on `split`, and writes and tells the table.

    With folds, a scan of validation is predicted by the models that did not see its fold; on test all are averaged.
    Results of other people, sides, truths or features have a folder of their own.

    Args:
        name: of the experiment.
        overrides: `key=value`.
        split: test or validation.
        features: patterns of columns of the labels file; none for the voxels of the prepared scans.

    Returns:
        The table, and what follows from it.

    Raises:
        InputError: an unknown split, features that are not there or no numbers.
    """
    if split not in ("test", "validation"):
        raise InputError(Problem("--split", f"'{split}'", "test or validation"))
    path = find_experiment(name)
    experiment = load_experiment(path, overrides)
    cohort, _ = load_cohort(experiment)
    table, target = with_sides(cohort.table, experiment), experiment.target
    classes = list(experiment.targets[target].classes or ())
    kind = experiment.targets[target].kind
    if features:
        seen, of = columns(table, features, target)
        given = "columns-" + _short(of)
        shown = f"{len(of)} columns ({', '.join(of[:6])}{', ...' if len(of) > 6 else ''})"
    else:
        seen = voxels(prepare(table, experiment))
        given = "voxels-" + _short((experiment.image.channels, experiment.image.preparation))
        shown = f"{seen.shape[1]} voxels, as principal components"
    train_truth = table[target].iloc[rows_of(table, "train")]
    numbers = experiment.seed, experiment.evaluation.resamples
    said = {each: _predictions(each, experiment, table, seen, split, kind, classes, not features) for each in NAMES}
    if (network := _network(path.stem, experiment, table, split, classes)) is not None:
        said[NETWORK] = network[1]
    found = {each: summarise(rows, kind, classes, train_truth, *numbers, ()) for each, rows in said.items()}
    folder = baselines_at(path.stem, split, sides_of(table, target), given)
    about = {"features": shown, "network": network[0].label if network else None, "seed": experiment.seed}
    write_json(folder / "about.json", {"target": target, "split": split, **about})
    write_csv(folder / "predictions.csv", pd.concat([rows.assign(fit=each) for each, rows in said.items()]))
    write_json(folder / "metrics.json", found)
    lines = [f"{path.stem}, {split} split: {len(table)} scans; features: {shown}", _table(found, target)]
    if network is not None:
        reached = {each: found[each][target][_headline(found, target)]["value"] for each in NAMES}
        who = verdict(_headline(found, target), reached, said, network[1], kind, classes, *numbers)
        lines += [f"network: {network[0].label}", who.sentence]
    else:
        lines.append(f"No network is in the table: no run of {path.stem} with this split was evaluated on {split}.")
    return "\n".join([*lines, f"written to {folder}"])


def _predictions(
    name: str,
    experiment: Experiment,
    table: pd.DataFrame,
    seen: np.ndarray,
    split: str,
    kind: Kind,
    classes: list[str],
    reduce: bool,
) -> pd.DataFrame:
    """predictions.csv of one kind of model."""
    target, found = experiment.target, []
    for fold in experiment.folds:
        sides = of_fold(table, fold)
        train, asked = rows_of(sides, "train"), rows_of(sides, split)
        truth, subjects = table[target].to_numpy()[train], table["subject"].to_numpy(str)[train]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=UserWarning)  # of solvers that stop early
            model = fit_baseline(name, kind, seen[train], truth, subjects, experiment.seed, reduce)
        rows = table.iloc[asked][["subject", "session", "scan", "path", "site"]].reset_index(drop=True)
        rows = rows.assign(fit=name, target=target, truth=table[target].to_numpy()[asked])
        rows["prediction"] = model.predict(seen[asked])
        if classes:
            shares = probabilities(model, seen[asked], classes)
            rows = rows.assign(**{f"p_{each}": shares[:, place] for place, each in enumerate(classes)})
        found.append(rows)
    return ensemble(pd.concat(found, ignore_index=True), classes)


def _network(
    experiment: str, settings: Experiment, table: pd.DataFrame, split: str, classes: Sequence[str]
) -> tuple[Run, pd.DataFrame] | None:
    """The latest run with these very splits that was evaluated on `split`, and its predictions."""
    own = sides_of(table, settings.target)
    for run in reversed(all_runs()):
        path = run.evaluation(split) / "predictions.csv"
        if run.path.parent.name != experiment or not path.exists():
            continue
        there = load_experiment(run.experiment)
        if there.target != settings.target or there.data.shuffle_labels:
            continue
        if sides_of(run_table(run, there), there.target) == own:
            text = ["subject", "session", "scan", *(["truth", "prediction"] if classes else [])]
            return run, pd.read_csv(path, dtype=dict.fromkeys(text, str))
    return None


def _short(features: Any) -> str:
    """Eight characters that stand for what models are given."""
    return hashlib.sha256(repr(features).encode()).hexdigest()[:8]


def _headline(found: dict, target: str) -> str:
    return next(name for name in HEADLINES if name in next(iter(found.values()))[target])


def _table(found: dict, target: str) -> str:
    names = [name for name in HEADLINES if name in next(iter(found.values()))[target]]
    rows = [["", *(IN_WORDS[name] for name in names)]]
    rows += [[each, *(in_figures(summary[target][name]) for name in names)] for each, summary in found.items()]
    trivial = [next(iter(found.values()))[target][name]["trivial"] for name in names]
    rows.insert(1, ["trivial", *("-" if value is None else f"{value:.2f}" for value in trivial)])
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
