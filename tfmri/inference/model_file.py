"""What a model file carries besides the model: all that is needed to use it on another scan.

A `.keras` file is a zip archive from which Keras takes its own members by name. Two more travel in it: preparation.json
(`tfmri.images.fitted`), and about.json: the target, the task that decodes the outputs, the columns that name a scan's
images, the usual range of scans (`likeness`), and, in an export, what was learnt on validation.
"""

import importlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tfmri.errors import InputError, Problem
from tfmri.files import whole_path
from tfmri.images.fitted import FittedPreparation, add_preparation, preparation_of

MEMBER = "about.json"
REFUSED = frozenset(  # of Keras: what brings code of its own, or reads other files
    {
        "Lambda",
        "__lambda__",
        "function",
        "TorchModuleWrapper",
        "TFSMLayer",
        "StringLookup",
        "IntegerLookup",
        "TextVectorization",
    }
)
PLAIN = frozenset({"slice", "tuple", "__tuple__", "set"})  # values of Python that configurations hold


@dataclass(frozen=True)
class Carried:
    """What a model file carries.

    Args:
        prepared: how scans are prepared for the model.
        target: what it predicts.
        task: `Task.to_config`.
        channels: columns of a labels file that name the images of a scan.
        mask: the column that names its mask, where masks are given.
        usual: see `likeness.usual_of`.
        adjustments: `Adjustments.to_config`, in an export; None where nothing was learnt on validation.
    """

    prepared: FittedPreparation
    target: str
    task: Mapping[str, Any]
    channels: Sequence[str] = ("path",)
    mask: str | None = None
    usual: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    adjustments: Mapping[str, Any] | None = None


def add_to_model(model: Path, carried: Carried) -> None:
    """Puts into a `.keras` file, as Keras has just written it, what it is to carry."""
    about = {name: value for name, value in asdict(carried).items() if name != "prepared"}
    text = json.dumps(about, indent=2, allow_nan=False)
    add_preparation(model, carried.prepared)
    with zipfile.ZipFile(model, "a") as archive:
        archive.writestr(MEMBER, text)


def copy_with(model: Path, carried: Carried, to: Path) -> None:
    """Writes the model of one file to another that carries `carried`, whole or not at all."""
    with whole_path(to) as path:
        with zipfile.ZipFile(model) as archive, zipfile.ZipFile(path, "w") as copy:
            for item in archive.infolist():
                if item.filename not in (MEMBER, "preparation.json"):
                    copy.writestr(item, archive.read(item))
        add_to_model(path, carried)


def carried_by(model: Path) -> Carried:
    """What a `.keras` file carries.

    Raises:
        InputError: as `preparation_of`, and of a file that does not say what its outputs mean.
    """
    prepared = preparation_of(model)
    with zipfile.ZipFile(model) as archive:
        if MEMBER not in archive.namelist():
            advice = "Train it again with this version of tfmri"
            raise InputError(Problem(str(model), "the model does not say what it predicts", f"{MEMBER} in it", advice))
        return told(archive.read(MEMBER), prepared, model)


def told(about: bytes | str, prepared: FittedPreparation, model: Path) -> Carried:
    """What `about.json` says of a model, without its preparation.

    Raises:
        InputError: it cannot be read.
    """
    try:
        facts = json.loads(about)
        facts["channels"] = tuple(facts["channels"])
        facts["usual"] = {name: (low, high) for name, (low, high) in facts["usual"].items()}
        return Carried(prepared, **facts)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        found = f"{MEMBER} in it cannot be read ({error})"
        raise InputError(Problem(str(model), found, advice="Use the version of tfmri that trained it")) from error


def load_model(model: Path, trusted: str = "") -> Any:
    """The Keras model of a file, without running any code that the file brings or names.

    Args:
        model: a `.keras` file.
        trusted: a module whose layers may be in it, besides Keras' own: that of a model of the person's own.

    Raises:
        InputError: a layer, a function or a module of anybody else.
    """
    try:
        with zipfile.ZipFile(model) as archive:
            config = json.loads(archive.read("config.json"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        found = f"no .keras file, or a damaged one ({error})"
        raise InputError(Problem(str(model), found, advice="Copy it again")) from error
    root = trusted.partition(".")[0]
    for part in _parts(config):
        name, module = part["class_name"], part.get("module") or "keras"
        package = str(part.get("registered_name") or "").rpartition(">")[0]
        known = module.partition(".")[0] == "keras" or (module == "builtins" and name in PLAIN)
        own = bool(root) and module.partition(".")[0] == root
        if name in REFUSED or not (own or (known and not package)):
            found = f"it holds {name} of {package or module}, which would run code that is not Keras' own"
            raise InputError(Problem(str(model), found, "layers of Keras", "Use only models of people you trust"))
    import keras

    if trusted:
        importlib.import_module(trusted)
    return keras.models.load_model(model, compile=False, safe_mode=True)


def _parts(config: Any) -> list[Mapping[str, Any]]:
    """All that a configuration would have made, however deep."""
    if isinstance(config, list):
        return [part for each in config for part in _parts(each)]
    if not isinstance(config, dict):
        return []
    own = [config] if isinstance(config.get("class_name"), str) else []
    return own + [part for each in config.values() for part in _parts(each)]
