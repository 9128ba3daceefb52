"""`tfmri compare`: runs on the same scans, each beside the first one, and in what their settings differ."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tfmri.errors import InputError, Problem
from tfmri.evaluation.compare import differences, holm, paired_tests, shared
from tfmri.experiment.load import difference, load_experiment
from tfmri.experiment.schema import Experiment
from tfmri.files import write_json
from tfmri.runs.directory import Run

SHOWN = (
    "balanced_accuracy",
    "roc_auc",
    "accuracy",
    "log_loss",
    "quadratic_kappa",
    "stage_mae",
    "mae",
    "rmse",
    "r2",
    "pearson_r",
)


def compare(runs: Sequence[Run], split: str, output: Path | None = None) -> str:
    """How each of the runs differs from the first one on the scans that both have predicted.

    Args:
        runs: two or more, evaluated on `split`.
        split: test, validation, or the name of other results.
        output: a `.json` file for all numbers; None for none.

    Returns:
        Tables, for the terminal.

    Raises:
        InputError: a run that was not evaluated, runs of different targets, other truths, nothing in common.
    """
    if len(runs) < 2:
        raise InputError(Problem("RUN", "one run", "two or more, to compare with each other"))
    first, *others = runs
    experiments = [load_experiment(run.experiment) for run in runs]
    target, classes = _same_target(runs, experiments)
    kind = experiments[0].targets[target].kind
    seed, resamples = experiments[0].seed, experiments[0].evaluation.resamples
    tables = [_predictions(run, split, classes) for run in runs]
    results: list[dict[str, Any]] = []
    for run, table in zip(others, tables[1:], strict=True):
        try:
            one, other = shared(tables[0], table, kind, classes)
        except ValueError as error:
            where, found = f"{first.label} and {run.label}", f"their truths differ: {error}"
            raise InputError(Problem(where, found, advice="Compare runs of the same labels")) from error
        if one.empty:
            found = f"no scan of its {split} is in that of {first.label}"
            if set(table["scan"]) & set(tables[0]["scan"]):
                raise InputError(Problem(run.label, f"no scan of {split} has a truth and a prediction in both runs"))
            raise InputError(Problem(run.label, found, advice="Compare runs of the same split (split.seed)"))
        results.append(
            {
                "run": run.label,
                "scans": len(one),
                "subjects": int(one["subject"].nunique()),
                "left_out": [len(tables[0]) - len(one), len(table) - len(one)],
                "metrics": differences(one, other, kind, classes, seed, resamples),
                "tests": [vars(each) for each in paired_tests(one, other, kind, classes, seed)],
            }
        )
    for place in range(len(results[0]["tests"])):
        corrected = holm([result["tests"][place]["p"] for result in results])
        for result, p in zip(results, corrected, strict=True):
            result["tests"][place]["p_holm"] = p
    changes = {
        run.label: {each.key: [each.old, each.new] for each in difference(experiments[0], experiment)}
        for run, experiment in zip(others, experiments[1:], strict=True)
    }
    if output is not None:
        whole = {"first": first.label, "split": split, "target": target, "others": results, "settings": changes}
        write_json(output, json.loads(json.dumps(whole), parse_constant=lambda _: None))
    tables_shown = [_shown(first, each, changes[each["run"]], split, len(others)) for each in results]
    looks = {run.label: _looks(run, split) for run in runs}
    if len(set(looks.values())) > 1:
        said = "; ".join(f"{label}: {each or 'each scan as it is'}" for label, each in looks.items())
        tables_shown.append(f"They were not evaluated in the same way. {said}")
    return "\n\n".join(tables_shown)


def _same_target(runs: Sequence[Run], experiments: Sequence[Experiment]) -> tuple[str, list[str]]:
    kinds = [(each.target, list(each.targets[each.target].classes or ())) for each in experiments]
    for run, kind in zip(runs[1:], kinds[1:], strict=True):
        if kind != kinds[0]:
            found = f"it predicts {_kind(kind)}, and {runs[0].label} {_kind(kinds[0])}"
            raise InputError(Problem(run.label, found, "the same target, with the same classes in the same order"))
    return kinds[0]


def _kind(kind: tuple[str, list[str]]) -> str:
    return f"{kind[0]} ({', '.join(kind[1])})" if kind[1] else kind[0]


def _predictions(run: Run, split: str, classes: Sequence[str]) -> pd.DataFrame:
    path = run.evaluation(split) / "predictions.csv"
    if not path.exists():
        advice = f"tfmri evaluate {run.label}" + (f" --split {split}" if split != "test" else "")
        raise InputError(Problem(run.label, f"it was not evaluated on {split}", advice=f"Evaluate it first: {advice}"))
    text = ["subject", "session", "scan", *(["truth", "prediction"] if classes else [])]
    return pd.read_csv(path, dtype=dict.fromkeys(text, str))


def _looks(run: Run, split: str) -> str:
    """Which looks at a scan its predictions are of; '' for the plain one."""
    path = run.evaluation(split) / "metrics.json"
    return json.loads(path.read_text()).get("views", "") if path.exists() else ""


def _shown(first: Run, found: dict[str, Any], changes: dict[str, Any], split: str, runs: int) -> str:
    rows: list[tuple[str, ...]] = [("", first.label, found["run"], "difference", "95 %", "")]
    for name in (name for name in SHOWN if name in found["metrics"]):
        each = found["metrics"][name]
        ends = "-" if each["lower"] is None else f"[{each['lower']:+.3f}, {each['upper']:+.3f}]"
        numbers = ["-" if each[key] is None else f"{each[key]:.3f}" for key in ("first", "second")]
        gap = "-" if each["difference"] is None else f"{each['difference']:+.3f}"
        rows.append((name.replace("_", " "), *numbers, gap, ends, each.get("note", "")))
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    left = [
        f"{count} of {name}"
        for count, name in zip(found["left_out"], (first.label, found["run"]), strict=True)
        if count
    ]
    said = f"{split}: {found['scans']} scans of {found['subjects']} subjects that both have predicted"
    lines.insert(0, said + (f" (left out: {', '.join(left)})" if left else ""))
    for test in found["tests"]:
        p = "no p: one class only, or nobody differs" if test["p"] != test["p"] else f"p = {test['p']:.3g}"
        holms = f", {test['p_holm']:.3g} among {runs} comparisons (Holm)" if runs > 1 and test["p"] == test["p"] else ""
        lines.append(f"{test['name']}, one scan of each of {test['scans']} subjects: {p}{holms}")
    lines.append("settings that differ:" if changes else "their settings are the same")
    lines += [f"  {key}: {old} -> {new}" for key, (old, new) in changes.items()]
    return "\n".join(lines)
