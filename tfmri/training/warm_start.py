"""Beginning with the weights of another run, or published ones: which layers take them, and which do not train.

Layers are matched by name. The head is the last layer that has weights, `head` in the architectures of this package.
"""

import hashlib
import logging
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal

import keras
import pandas as pd

from tfmri.errors import InputError, Problem, did_you_mean
from tfmri.experiment.schema import WarmStart
from tfmri.models.published import read_sfcn
from tfmri.project import in_project
from tfmri.runs.directory import Run, find_run

WHERE = "training.warm_start"
log = logging.getLogger(__name__)


def begin_with(model: keras.Model, settings: WarmStart, tested: Collection[str] = ()) -> dict[str, Any]:
    """Gives `model` the weights of another run's fit, or of a file; warns where they know subjects of the test.

    Args:
        model: newly built; the variables of its layers are assigned.
        settings: which run and fit, or which file, and what becomes of the head.
        tested: the subjects of this run's test split.

    Returns:
        For the provenance: `run`, `fit`, `model` (the file), its `sha256`, the names of the layers `taken` and `new`,
        both of layers with weights, and how many `tested` subjects that run trained on or chose its epoch by. Of a
        file, `weights` (its path), `sha256`, `taken` and `new`.

    Raises:
        InputError: no such run, fit or model; no layer in common; layers of one name and different shapes; a head
            that is to be kept and does not fit; or as `tfmri.models.published.read_sfcn`.
    """
    if settings.weights is not None:
        path = in_project(settings.weights)
        taken, new = take_weights(model, read_sfcn(path), settings.head, "weights")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return {"weights": str(path), "sha256": digest, "taken": taken, "new": new}
    assert settings.run is not None
    run = find_run(settings.run)
    fit = run.fit(settings.fit)
    if not fit.path.is_dir():
        fits = sorted(path.name for path in fit.path.parent.glob("*") if path.is_dir())
        expected = f"one of {', '.join(fits)}" if fits else "a run that has been trained"
        found = f"the run {run.label} has no fit '{settings.fit}'"
        raise InputError(Problem(f"{WHERE}.fit", found, expected, did_you_mean(settings.fit, fits)))
    if not fit.model.is_file():
        advice = "It is written after the first epoch: train that run first"
        raise InputError(Problem(f"{WHERE}.run", f"there is no {fit.model} yet", advice=advice))
    try:
        source = keras.saving.load_model(fit.model, compile=False)
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(Problem(f"{WHERE}.run", f"{fit.model} cannot be read ({reason})")) from error
    taken, new = take_weights(model, source, settings.head)
    digest = hashlib.sha256(fit.model.read_bytes()).hexdigest()
    about = {"run": run.label, "fit": settings.fit, "model": str(fit.model), "sha256": digest}
    known = len(_learnt_from(run) & set(tested))
    if known:
        said = "%d of the %d test subjects trained the model that this one begins with: the test is not of new subjects"
        log.warning(said, known, len(tested))
    return about | {"taken": taken, "new": new, "test_subjects_known": known}


def take_weights(
    model: keras.Model, source: keras.Model, head: Literal["renew", "keep"], key: str = "run"
) -> tuple[list[str], list[str]]:
    """Copies the weights of every layer of `model` that `source` has too, by name.

    Args:
        model: to write into.
        source: to read from.
        head: whether the last layer of `model` stays new or takes that of `source`.
        key: the setting that named `source`, for messages.

    Returns:
        The names of the layers that took weights, and of those that stayed new.

    Raises:
        InputError: as `begin_with`.
    """
    old = {layer.name: layer for layer in source.layers if layer.weights}
    layers = [layer for layer in model.layers if layer.weights]
    last = layers[-1]
    if head == "keep":
        _check_head(last, old, next(reversed(old), ""))
    common = [layer for layer in layers if layer.name in old and (layer is not last or head == "keep")]
    differing = [
        f"{layer.name} {_shapes(old[layer.name])} there, {_shapes(layer)} here"
        for layer in common
        if _shapes(old[layer.name]) != _shapes(layer)
    ]
    if differing:
        shown = "; ".join(differing[:5]) + (f"; and {len(differing) - 5} more" if len(differing) > 5 else "")
        advice = "Take the architecture, its options and the number of image channels of those weights"
        raise InputError(Problem(f"{WHERE}.{key}", f"layers of other shapes: {shown}", advice=advice))
    if not common:
        found = f"no layer in common: that model has {', '.join([*old][:5])}, ..."
        raise InputError(Problem(f"{WHERE}.{key}", found, f"layers such as {layers[0].name}, as {model.name} has"))
    for layer in common:
        layer.set_weights(old[layer.name].get_weights())
    taken = [layer.name for layer in common]
    return taken, [layer.name for layer in layers if layer.name not in taken]


def freeze(model: keras.Model, patterns: Sequence[str]) -> list[str]:
    """Keeps layers from training. Batch normalisation then uses and keeps its running averages.

    Args:
        model: before an optimizer is built for its trainable variables.
        patterns: of layers' names, with `*`, `?` and `[12]`.

    Returns:
        The names of the layers that do not train, of those with weights.

    Raises:
        InputError: for every pattern that no layer with weights matches, or if nothing would be left to train.
    """
    layers = [layer for layer in model._flatten_layers(include_self=False) if layer.weights]
    names = [layer.name for layer in layers]
    problems = []
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            advice = did_you_mean(pattern, names) or f"There are {', '.join(names[:8])}{', ...' * (len(names) > 8)}"
            problems.append(Problem(f"{WHERE}.freeze", f"no layer with weights is called '{pattern}'", advice=advice))
    if problems:
        raise InputError(*problems)
    frozen = [layer for layer in layers if any(fnmatchcase(layer.name, pattern) for pattern in patterns)]
    for layer in frozen:
        layer.trainable = False
    if not model.trainable_variables:
        found = f"{', '.join(patterns)} leave nothing to train"
        raise InputError(Problem(f"{WHERE}.freeze", found, "patterns that spare at least the head"))
    return [layer.name for layer in frozen]


def in_words(about: dict[str, Any], frozen: Sequence[str]) -> str:
    """One line for people: what was taken, what is new, what does not train."""
    source = about["weights"] if "weights" in about else f"{about['run']}, fit {about['fit']}"
    parts = [f"weights of {source}, in {_some(about['taken'])}"]
    parts.append(f"new: {_some(about['new'])}" if about["new"] else "nothing new")
    parts.append(f"not trained: {_some(frozen)}" if frozen else "all trained")
    return "; ".join(parts)


def _learnt_from(run: Run) -> set[str]:
    """The subjects by which the run's models were trained or chosen."""
    sides = pd.read_csv(run.splits, dtype=str, keep_default_na=False)
    return set(sides.loc[sides["split"] != "test", "subject"])


def _check_head(head: keras.Layer, old: dict[str, keras.Layer], last: str) -> None:
    if head.name not in old:
        found = f"keep, and that model's last layer is '{last}', not '{head.name}'"
        raise InputError(Problem(f"{WHERE}.head", found, "renew"))
    there, here = old[head.name].weights[-1].shape[-1], head.weights[-1].shape[-1]
    if there != here:
        found = f"keep, and that model has {there} outputs, this one {here}"
        raise InputError(Problem(f"{WHERE}.head", found, "renew"))


def _shapes(layer: keras.Layer) -> str:
    return " ".join("x".join(map(str, weight.shape)) for weight in layer.weights)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{len(names)} layers, {names[0]} to {names[-1]}"
