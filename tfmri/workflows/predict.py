"""`tfmri predict`: what a trained model says of any scan, prepared as the model file says, by the same function."""

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfmri.cohort.columns import IMAGES, find_columns
from tfmri.cohort.sheet import read_sheet
from tfmri.errors import InputError, Problem
from tfmri.evaluation.adjustments import Adjustments, apply
from tfmri.evaluation.ensemble import ensemble, spread
from tfmri.experiment.load import load_experiment
from tfmri.files import write_csv
from tfmri.images.fitted import FittedPreparation
from tfmri.images.prepare import Preparation, Prepared, prepare_files, standardised
from tfmri.inference.likeness import measures_of, unlike
from tfmri.inference.model_file import Carried, carried_by, load_model
from tfmri.inference.other_formats import ABOUT, Forward, load_onnx, load_saved_model, models_in
from tfmri.machine import processors
from tfmri.processes import in_processes
from tfmri.progress import progress
from tfmri.runs.directory import Run, find_run
from tfmri.training.startup import load_tensorflow
from tfmri.workflows.predictions import trained_fits, trusted_module

MODEL = ".keras"
AT_ONCE = 8  # scans that are held in memory for the models


@dataclass(frozen=True)
class Member:
    """One of the models that are averaged.

    Args:
        name: of the fit, or of the file.
        path: of the `.keras` file, the `.onnx` file or the folder of a SavedModel.
        carried: what it carries.
        trusted: the module of the person's own model that it may hold layers of; '' for none.
    """

    name: str
    path: Path
    carried: Carried
    trusted: str = ""


@dataclass(frozen=True)
class _Scan:
    """A scan to be predicted: what is known of it, its images, its mask, and why it cannot be where it cannot."""

    about: dict[str, str]
    images: tuple[Path, ...]
    mask: Path | None
    error: str = ""


def predict(source: str, scans: Sequence[str], output: Path, workers: int | None = None) -> int:
    """Writes a CSV with a row a scan: prediction, uncertainty, warnings, and of a scan that cannot be used, why.

    Args:
        source: a run, or what `tfmri export` wrote: a `.keras` file, or a folder.
        scans: images, folders of images, or labels files; one that is not there has a row that says so.
        output: the CSV.
        workers: processes that prepare scans; as many as there are processors where None.

    Returns:
        0, or 3 if some scans could not be predicted.

    Raises:
        InputError: no such model, none of the scans is there, or models that do not belong together.
    """
    members, adjustments = find_members(source)
    wanted = _wanted(scans, members[0].carried)
    if output.suffix != ".csv":
        raise InputError(Problem("--output", str(output), "the name of a .csv file"))
    if output.exists() and not {"path", "prediction", "error"} <= _heading(output):
        advice = "Name another file, or move it away"
        raise InputError(Problem(str(output), "this file is there, and not of predictions", advice=advice))
    output.parent.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=output.parent).close()  # where nothing can be written, it is told before the work
    table = _predictions(members, wanted, workers or processors())
    nothing = table["prediction"].isna() & (table["error"] == "")
    table.loc[nothing, "error"] = [f"{path}: the models answer no number" for path in table.loc[nothing, "path"]]
    for error in table.loc[nothing, "error"]:
        print(f"tfmri: {error}", file=sys.stderr)
    strange = int((table["warnings"] != "").sum())
    table["warnings"] = _with_repeats(table["warnings"], wanted)
    table = apply(table, adjustments) if adjustments else table
    last = ["warnings", "error"]
    table = table[[*(name for name in table.columns if name not in ("scan", *last)), *last]]
    write_csv(output, table)
    failed = table[table["error"] != ""]
    good = len(table) - len(failed)
    print(f"{good} of {len(table)} scans predicted by {_named(members)}: {output}")
    if strange:
        print(f"{strange} of them are unlike the scans it was trained on: see the column 'warnings'")
    if adjustments is None:
        print("There are no intervals: nothing was learnt on validation yet (tfmri evaluate RUN)")
    return 3 if len(failed) else 0


def find_members(source: str) -> tuple[list[Member], Adjustments | None]:
    """The models of a run or of an export, and what was learnt on validation about their predictions.

    Raises:
        InputError: no model of that name, or models for different targets or preparations.
    """
    path = Path(source).expanduser()
    export = path.is_dir() and not Run(path).experiment.is_file()
    folder = export and any(path.glob(f"*{MODEL}"))
    if path.suffix == ".onnx" or (path / "saved_model.pb").is_file():
        found = "a model without its preparation"
        raise InputError(Problem(str(path), found, f"the folder that `tfmri export` wrote, with {ABOUT} in it"))
    if export and (path / ABOUT).is_file():
        members = [Member(*each) for each in models_in(path)]
        known = members[0].carried.adjustments
        adjustments = Adjustments.from_config(known) if known else None
    elif folder or path.suffix == MODEL:
        files = sorted(path.glob(f"*{MODEL}")) if folder else [path]
        members = [Member(each.stem, each, carried_by(each)) for each in files]
        known = members[0].carried.adjustments
        adjustments = Adjustments.from_config(known) if known else None
    else:
        run = find_run(source)
        members, adjustments = members_of(run), adjustments_of(run)
    first = members[0].carried
    for each in members[1:]:
        same = (each.carried.prepared.preparation, each.carried.target, each.carried.task["task"])
        if same != (first.prepared.preparation, first.target, first.task["task"]):
            found = f"not of one kind with {members[0].path.name}: another target, or other preparation of scans"
            raise InputError(Problem(str(each.path), found, advice="Put models of one run into a folder"))
    return members, adjustments


def members_of(run: Run) -> list[Member]:
    """The trained models of a run."""
    experiment = load_experiment(run.experiment)
    own = trusted_module(experiment)
    fits = trained_fits(run, experiment)
    return [Member(plan.name, fit.model, carried_by(fit.model), own) for plan, fit in fits.items()]


def adjustments_of(run: Run) -> Adjustments | None:
    """What was learnt on validation; None before the run was evaluated."""
    known = run.adjustments
    return Adjustments.from_config(json.loads(known.read_text())) if known.exists() else None


def _heading(path: Path) -> set[str]:
    with path.open(errors="replace") as file:
        return set(file.readline().strip().split(","))


def _wanted(names: Sequence[str], carried: Carried) -> list[_Scan]:
    """The scans that a person named; for a name that means none, one that says why.

    Raises:
        InputError: none of the names means any.
    """
    found: list[_Scan] = []
    problems: list[Problem] = []
    for name in names:
        try:
            found += list(_scans(name, carried))
        except InputError as error:
            problems += error.problems
            found.append(_Scan({"subject": "", "session": "", "path": name}, (Path(name),), None, str(error)))
    if all(scan.error for scan in found):
        raise InputError(*problems)
    return found


def _with_repeats(warnings: pd.Series, scans: Sequence[_Scan]) -> pd.Series:
    """The warnings, and of a scan whose files were given before, under whatever name, which row that was."""
    rows: dict[tuple, int] = {}
    said = []
    for row, (warning, scan) in enumerate(zip(warnings, scans, strict=True), start=2):
        files = tuple(_file(path) for path in (*scan.images, *([scan.mask] if scan.mask else [])))
        first = rows.setdefault(files, row)
        said.append("; ".join(filter(None, [warning, f"the same file as row {first}" if first < row else ""])))
    return pd.Series(said, warnings.index)


def _file(path: Path) -> tuple[int, int] | Path:
    """What is the same for two names of one file."""
    try:
        known = path.stat()
    except OSError:
        return path
    return known.st_dev, known.st_ino


def _scans(name: str, carried: Carried) -> Iterator[_Scan]:
    """What a person means by a path: one scan, those below a folder, or those of a labels file."""
    path = Path(name).expanduser()
    several = len(carried.channels) > 1 or carried.mask is not None
    if not path.exists():
        raise InputError(Problem(name, "there is no such file or folder", "a scan, a folder, a labels.csv"))
    if path.is_file() and not path.name.lower().endswith(IMAGES):
        yield from _of_labels(path, carried)
        return
    if several:
        columns = [*carried.channels, *([carried.mask] if carried.mask else [])]
        takes = f"the model takes several images of a scan: {', '.join(columns)}"
        raise InputError(Problem(name, takes, "a labels file with these columns"))
    found = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.name.lower().endswith(IMAGES))
    if not found:
        raise InputError(Problem(name, "no scan is in this folder", f"files that end in {' or '.join(IMAGES)}"))
    for each in found:
        yield _Scan({"subject": "", "session": "", "path": str(each)}, (each,), None)


def _of_labels(path: Path, carried: Carried) -> Iterator[_Scan]:
    sheet = read_sheet(path)
    first, *others = carried.channels
    masks = [carried.mask] if carried.mask else []
    given = {"path": first} if first != "path" else {}
    columns, _ = find_columns(sheet, ["path", *others, *masks], ["subject", "session"], given)
    for row in list(sheet.cells.index):
        cells = {name: sheet.cells.loc[row, column].strip() for name, column in columns.items()}
        empty = [name for name in ("path", *others, *masks) if not cells[name]]
        error = f"{sheet.place([row], columns[empty[0]])}: no path" if empty else ""
        images = tuple(path.parent / cells[name] for name in ("path", *others))
        mask = path.parent / cells[masks[0]] if masks else None
        about = {name: cells.get(name, "") for name in ("subject", "session")}
        yield _Scan({**about, "path": "" if empty else str(images[0])}, images, mask, error)


def prepare_one(scan: "_Scan", preparation: Preparation, looked_at: bool) -> tuple[Prepared | None, dict, str]:
    """A scan as the models see it, its measures, and why not if not; in a process of its own."""
    if scan.error:
        return None, {}, scan.error
    try:
        prepared = prepare_files(scan.images, scan.mask, preparation)
        load = (lambda: prepared.image) if looked_at else None
        return prepared, measures_of(prepared.done, prepared.affine, load), ""
    except (InputError, OSError) as error:
        return None, {}, str(error)
    except Exception as error:  # one odd scan is no reason not to predict a thousand others
        return None, {}, f"{scan.images[0]}: {type(error).__name__}: {error}"


def _predictions(members: Sequence[Member], scans: Sequence[_Scan], workers: int) -> pd.DataFrame:
    """predictions.csv without intervals, a row a scan in their order."""
    preparation = members[0].carried.prepared.preparation
    forwards = _forwards(members)
    classes = list(members[0].carried.task.get("classes", ()))
    about: list[dict[str, Any]] = [{**scan.about, "scan": str(place)} for place, scan in enumerate(scans)]
    usual = _usual(members)
    waiting: list[tuple[int, Prepared]] = []
    said: list[pd.DataFrame] = []

    def flush() -> None:
        places = [str(place) for place, _ in waiting]
        for member, forward in zip(members, forwards, strict=True):
            found = forward([_for(member.carried.prepared, prepared) for _, prepared in waiting])
            said.append(found.assign(scan=places, fit=member.name))
        waiting.clear()

    calls = [(scan, preparation, "skull" in usual) for scan in scans]
    with (
        closing(in_processes(prepare_one, calls, workers, "preparing scans")) as results,
        progress(len(calls), "predicting", "scans") as advance,
    ):
        for place, (prepared, measures, error) in results:
            about[place] |= {"warnings": "; ".join(unlike(measures, usual)), "error": error}
            if prepared is None:
                print(f"tfmri: {error}", file=sys.stderr)
            else:
                waiting.append((place, prepared))
            if len(waiting) == AT_ONCE:
                flush()
            advance()
    if waiting:
        flush()
    table = pd.DataFrame(about)
    if not said:
        return table.assign(prediction=np.nan, **{f"p_{name}": np.nan for name in classes})
    by_fit = pd.concat(said, ignore_index=True)
    mean = ensemble(by_fit, classes)
    if len(members) > 1:
        mean["spread"] = spread(by_fit, mean, classes)
    return table.merge(mean.drop(columns="fit"), on="scan", how="left")


def _usual(members: Sequence[Member]) -> dict[str, tuple[float, float]]:
    """The range of each measure over the training scans of all members."""
    ranges: dict[str, list[tuple[float, float]]] = {}
    for member in members:
        for name, ends in member.carried.usual.items():
            ranges.setdefault(name, []).append(ends)
    return {name: (min(low for low, _ in ends), max(high for _, high in ends)) for name, ends in ranges.items()}


def _forwards(members: Sequence[Member]) -> list[Any]:
    """Of each member, a function from prepared images to the table that its task decodes."""
    load_tensorflow()

    from tfmri.tasks.registry import load_task

    def forward_of(member: Member) -> Any:
        outputs, task = _outputs_of(member), load_task(member.carried.task)
        return lambda images: task.decode(outputs(np.stack(images).astype(np.float32)))

    return [forward_of(member) for member in members]


def _outputs_of(member: Member) -> Forward:
    """The function of a model, whatever its format."""
    if member.path.suffix == ".onnx":
        return load_onnx(member.path)
    if member.path.is_dir():
        return load_saved_model(member.path)
    import tensorflow as tf

    model = load_model(member.path, member.trusted)
    call = tf.function(lambda images: model(images, training=False), reduce_retracing=True)
    return lambda images: call(tf.constant(images)).numpy()


def _for(prepared: FittedPreparation, scan: Prepared) -> np.ndarray:
    """The image on the intensity scale of one fit."""
    return (scan if prepared.standard is None else standardised(scan, prepared.standard)).image


def _named(members: Sequence[Member]) -> str:
    return members[0].path.name if len(members) == 1 else f"{len(members)} models together"
