"""`tfmri export`: the models of a run with all that is needed to use them, in a place of their own."""

import dataclasses
import importlib.util
import json
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from tfmri.errors import InputError, Problem
from tfmri.files import write_json
from tfmri.inference.model_file import copy_with, load_model
from tfmri.inference.other_formats import ABOUT
from tfmri.runs.directory import Run
from tfmri.training.startup import load_tensorflow
from tfmri.workflows.predict import MODEL, Member, adjustments_of, members_of

FORMATS = ("keras", "savedmodel", "onnx")


def export(run: Run, output: Path, form: str) -> Path:
    """Writes the models of a run as one file, or as a folder where there are several, whole or not at all.

    `keras` is a `.keras` file, or a folder of them, that carries preparation, task and what was learnt on validation.
    The others are for other programs: of each fit a SavedModel, or an ONNX file, from (batch, x, y, z, channel) float32
    to (batch, outputs), and beside them `about.json` with the same facts. `tfmri predict` takes all of them.

    Args:
        run: whose fits have all ended.
        output: of the file or folder, which must not be there.
        form: one of `FORMATS`.

    Raises:
        InputError: something is there already, an unknown format, a converter that is not installed.
    """
    if form not in FORMATS:
        raise InputError(Problem("--format", f"'{form}'", f"one of {', '.join(FORMATS)}"))
    members = members_of(run)
    single = form == "keras" and len(members) == 1
    if single and output.suffix != MODEL:
        output = output.with_name(output.name + MODEL)
    if output.exists():
        raise InputError(Problem(str(output), "this is there already", advice="Name another place, or move it away"))
    if form == "onnx":
        _require_converter()
    adjustments = adjustments_of(run)
    config = None if adjustments is None else adjustments.to_config()
    members = [
        dataclasses.replace(each, carried=dataclasses.replace(each.carried, adjustments=config)) for each in members
    ]
    if single:
        copy_with(members[0].path, members[0].carried, output)
        return output
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".exporting-") as beside:
        folder = Path(beside) / output.name
        folder.mkdir()
        for each in members:
            if form == "keras":
                copy_with(each.path, each.carried, folder / f"{each.name}{MODEL}")
            else:
                _convert(each, folder / (each.name + (".onnx" if form == "onnx" else "")), form)
        if form != "keras":
            write_json(folder / ABOUT, [_about(each) for each in members])
        shutil.move(folder, output)
    return output


def _convert(member: Member, to: Path, form: str) -> None:
    load_tensorflow()
    model = load_model(member.path, member.trusted)
    model(np.zeros((1, *model.input_shape[1:]), np.float32))  # Keras refuses to convert a model that never was called
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)  # Keras asks NumPy for a name of old
        model.export(to, format="onnx" if form == "onnx" else "tf_saved_model", verbose=False)


def _about(member: Member) -> dict[str, Any]:
    known = dataclasses.asdict(member.carried) | {"prepared": member.carried.prepared.to_config()}
    return json.loads(json.dumps({"fit": member.name, **known}))


def _require_converter() -> None:
    if importlib.util.find_spec("tf2onnx") is None:
        found = "the converter to ONNX is not installed"
        advice = "Install it (pip install --no-deps -r requirements-onnx.txt), or use --format savedmodel"
        raise InputError(Problem("--format onnx", found, advice=advice))
