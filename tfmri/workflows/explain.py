"""`tfmri explain`: where in the scans of a split the networks of a run find their answers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd

from tfmri.cohort.splits import of_fold
from tfmri.errors import InputError, Problem, did_you_mean
from tfmri.evaluation.ensemble import ensemble
from tfmri.experiment.load import load_experiment
from tfmri.experiment.schema import Experiment
from tfmri.files import whole_path, write_json
from tfmri.images import histogram
from tfmri.images.cache import CachedScan
from tfmri.images.head import find_head
from tfmri.images.mask import head_mask
from tfmri.images.native import in_native_space
from tfmri.images.read import Volume
from tfmri.inference.model_file import load_model, preparation_of
from tfmri.runs.cohort import rows_of
from tfmri.runs.directory import Run
from tfmri.training.startup import load_tensorflow
from tfmri.workflows.cohort import run_scans, run_table
from tfmri.workflows.predictions import trained_fits, trusted_module

METHODS = ("gradient", "smoothgrad", "integrated", "gradcam", "gradcam++", "occlusion")
WINDOW = 20.0  # mm of the window of occlusion
PICTURED = 4  # scans


@dataclass(frozen=True)
class Wanted:
    """What is to be explained.

    Args:
        methods: of `METHODS`.
        split: test, validation or train.
        scans: how many of it, the first ones.
        target_class: whose logit, less the mean of the others', is explained; None for the class that is predicted.
        layer: of the class activation maps; None for the last one with places in space.
    """

    methods: Sequence[str] = ("integrated", "gradcam")
    split: str = "test"
    scans: int = 8
    target_class: str | None = None
    layer: str | None = None


def explain(run: Run, wanted: Wanted) -> str:
    """Writes maps as NIfTI on the prepared grid, pictures of some scans and of the mean of each group, and a summary.

    Of several fits, the maps are averaged.

    Returns:
        For the terminal: what of each method lies outside of the head, and where everything is.

    Raises:
        InputError: an unknown method, class or layer, or a split without scans.
    """
    experiment = load_experiment(run.experiment)
    target = experiment.targets[experiment.target]
    classes = list(target.classes or ())
    _check(wanted, classes)
    fits = trained_fits(run, experiment)
    table = run_table(run, experiment)
    asked = {plan: rows_of(of_fold(table, plan.fold), wanted.split) for plan in fits}
    rows = np.unique(np.concatenate(list(asked.values())))[: wanted.scans]
    if not len(rows):
        raise InputError(Problem("--scans", str(wanted.scans), "one or more"))
    chosen = table.iloc[rows].reset_index(drop=True)
    cached = run_scans(chosen, experiment)
    load_tensorflow()
    from tfmri.explain.scores import score_of
    from tfmri.tasks.registry import load_task
    from tfmri.training.devices import set_up

    settings = experiment.training
    set_up(None, settings.threads, settings.deterministic, experiment.seed)
    total: dict[str, np.ndarray] = {
        name: np.zeros((len(rows), *experiment.image.shape), np.float32) for name in wanted.methods
    }
    counts = np.zeros(len(rows), np.float32)
    places_of = {plan: np.flatnonzero(np.isin(rows, asked[plan])) for plan in fits}
    models, decoded = {}, []
    for plan, fit in fits.items():
        model, task = load_model(fit.model, trusted_module(experiment)), load_task(json.loads(fit.task.read_text()))
        if wanted.layer is not None and wanted.layer not in (names := [layer.name for layer in model.layers]):
            advice = did_you_mean(wanted.layer, names)
            raise InputError(Problem("--layer", f"'{wanted.layer}'", f"one of {', '.join(names)}", advice))
        standard = preparation_of(fit.model).standard
        models[plan] = model, task, standard
        for place in places_of[plan]:
            outputs = model(_image(cached[place], standard)[0][None], training=False).numpy()
            decoded.append(task.decode(outputs).assign(scan=str(place), fit=plan.name))
    # Every fit explains the same: what all of them together say, or the class that is asked for.
    together = ensemble(pd.concat(decoded), classes).set_index("scan")["prediction"]
    said = [together[str(place)] for place in range(len(rows))]
    explained = [wanted.target_class or str(each) for each in said] if classes else ["all"] * len(rows)
    for plan, (model, task, standard) in models.items():
        own = places_of[plan]
        for group in dict.fromkeys(explained[place] for place in own):
            places = [place for place in own if explained[place] == group]
            seen = [_image(cached[place], standard) for place in places]
            images, backgrounds = (np.stack([each[part] for each in seen]) for part in (0, 1))
            score = score_of(task, classes.index(group) if classes else None)
            for name, each in _maps(wanted, experiment, model, images, backgrounds, score).items():
                total[name][places] += each
        counts[own] += 1
    maps = {name: each / counts[:, None, None, None] for name, each in total.items()}
    heads = [_head(scan) for scan in cached]
    folder = run.evaluation(wanted.split) / "explain"
    summary = _write(folder, chosen, cached, maps, heads, said, explained, experiment.target)
    lines = [f"{len(rows)} scans of {wanted.split}, {len(fits)} fits; outside of the head lies of the attribution by"]
    lines += [
        f"  {name:<12} {share:.0%}, of the grid {summary['outside_head']['grid']:.0%}"
        for name, share in summary["outside_head"].items()
        if name != "grid"
    ]
    return "\n".join([*lines, f"maps and pictures: {folder}"])


def _check(wanted: Wanted, classes: Sequence[str]) -> None:
    for name in wanted.methods:
        if name not in METHODS:
            advice = did_you_mean(name, METHODS)
            raise InputError(Problem("--method", f"'{name}'", f"one of {', '.join(METHODS)}", advice))
    if wanted.split not in ("test", "validation", "train"):
        raise InputError(Problem("--split", f"'{wanted.split}'", "test, validation or train"))
    if wanted.target_class is not None and wanted.target_class not in classes:
        expected = f"one of {', '.join(classes)}" if classes else "nothing: the target is a number"
        raise InputError(Problem("--target-class", f"'{wanted.target_class}'", expected))


def _maps(
    wanted: Wanted, experiment: Experiment, model: Any, images: np.ndarray, backgrounds: np.ndarray, score: Any
) -> dict[str, np.ndarray]:
    """(n, x, y, z) of each method."""
    from tfmri.explain import attribution as by

    window = tuple(max(2, round(WINDOW / mm)) for mm in experiment.image.spacing)
    ways: Mapping[str, Any] = {
        "gradient": lambda: by.gradient(model, images, score),
        "smoothgrad": lambda: by.smoothgrad(model, images, score, experiment.seed),
        "integrated": lambda: by.integrated_gradients(model, images, score, backgrounds[:, None, None, None]),
        "gradcam": lambda: by.gradcam(model, images, score, wanted.layer),
        "gradcam++": lambda: by.gradcam(model, images, score, wanted.layer, plus=True),
        "occlusion": lambda: by.occlusion(model, images, score, backgrounds, (window[0], window[1], window[2])),
    }
    return {name: ways[name]() for name in wanted.methods}


def _image(scan: CachedScan, standard: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """(x, y, z, channel) float32 as the model sees it, and (channel,) its background."""
    image, air = np.load(scan.image).astype(np.float32), np.array(scan.background, np.float32)
    if standard is None:
        return image, air
    for channel, (own, scale) in enumerate(zip(scan.landmarks, standard, strict=True)):
        image[..., channel] = histogram.map_to_standard(image[..., channel], own, scale)
        air[channel] = histogram.map_to_standard(air[channel : channel + 1], own, scale)[0]
    return image, air


def _head(scan: CachedScan) -> np.ndarray:
    """(x, y, z) bool, where the head is; everywhere where none is found."""
    volume = Volume(np.ascontiguousarray(np.load(scan.image)[..., 0], np.float32), np.array(scan.record["affine"]))
    try:
        return head_mask(volume, find_head(volume))
    except InputError:
        return np.ones(volume.data.shape, bool)


def _write(
    folder: Path,
    chosen: pd.DataFrame,
    cached: Sequence[CachedScan],
    maps: Mapping[str, np.ndarray],
    heads: Sequence[np.ndarray],
    said: Sequence[Any],
    explained: Sequence[str],
    target: str,
) -> dict[str, Any]:
    from tfmri.explain.pictures import overlay

    truth = chosen[target]
    groups = {name: np.flatnonzero(np.array(explained) == name) for name in sorted(set(explained))}
    anatomies = [np.load(scan.image)[..., 0].astype(np.float32) for scan in cached]
    affines = [np.array(scan.record["affine"]) for scan in cached]
    figures, outside = [], {"grid": float(np.mean([1 - head.mean() for head in heads]))}
    for name, each in maps.items():
        shares = [
            np.abs(one)[~head].sum() / max(np.abs(one).sum(), 1e-30) for one, head in zip(each, heads, strict=True)
        ]
        outside[name] = float(np.mean(shares))
        for place, (scan, source) in enumerate(zip(chosen["scan"], chosen["path"], strict=True)):
            prepared = nibabel.Nifti1Image(each[place].astype(np.float32), affines[place])
            native = in_native_space(each[place], cached[place].record, Path(source))
            for space, image in (("", prepared), ("_native", native)):
                with whole_path(folder / "maps" / f"{scan}_{name}{space}.nii.gz") as path:
                    nibabel.save(image, path)
            if place < PICTURED:
                file = folder / f"{name}_{place + 1}.png"
                numbers = [
                    f"{each:.1f}" if isinstance(each, float) else str(each) for each in (said[place], truth.iloc[place])
                ]
                caption = f"{scan}: {numbers[0]}, in truth {numbers[1]}; {name}"
                overlay(each[place], anatomies[place], affines[place], "", file)
                figures.append({"file": file.name, "caption": caption, "heads": True})
        for group, members in groups.items():
            if len(members) > 1:
                file = folder / f"{name}_mean_{list(groups).index(group) + 1}.png"
                mean = np.mean([each[member] for member in members], axis=0)
                anatomy = np.mean([anatomies[member] for member in members], axis=0)
                overlay(mean, anatomy, affines[members[0]], "", file)
                figures.append(
                    {
                        "file": file.name,
                        "caption": f"mean of {len(members)} scans, {target} {group}; {name} (about: heads differ)",
                    }
                )
    summary = {"outside_head": outside, "figures": figures}
    write_json(folder / "summary.json", summary)
    return summary
