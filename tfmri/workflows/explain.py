"""`tfmri explain`: where in the scans of a split the networks of a run find their answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfmri.cohort import known
from tfmri.cohort.splits import of_fold
from tfmri.errors import InputError, Problem, did_you_mean
from tfmri.experiment.load import load_experiment
from tfmri.experiment.schema import Experiment, FitPlan
from tfmri.explain.attribution import last_layer_in_space, layers_in_space
from tfmri.explain.folder import Explained, draw_pictures, outside_of_heads, write_maps
from tfmri.explain.methods import IN_WORDS, METHODS, Options
from tfmri.explain.networks import Question, load_network, maps_by_method, said_together
from tfmri.files import whole_folder, write_json
from tfmri.images.cache import CachedScan
from tfmri.images.head import find_head
from tfmri.images.mask import head_mask
from tfmri.images.read import Volume
from tfmri.runs.cohort import rows_of
from tfmri.runs.directory import Run
from tfmri.training.startup import load_tensorflow
from tfmri.workflows.cohort import run_scans, run_table
from tfmri.workflows.evaluate import age_bands
from tfmri.workflows.predictions import trained_fits, trusted_module
from tfmri.workflows.sanity import check_sanity, shuffled_run

WINDOW = 20.0  # mm of the window of occlusion
FEW = 7  # places of a layer along an axis: with fewer a map tells lobes
INCOMPLETE = 0.03  # of the difference of the scores that integrated gradients miss: worth a word
FEWEST = 3  # scans that make a mean


@dataclass(frozen=True)
class Wanted:
    """What is to be explained.

    Args:
        methods: of `METHODS`.
        split: test, validation or train.
        scans: how many of it, the first ones.
        target_class: whose logit, less the mean of the others', is explained; None for the class that is predicted.
        layer: of the class activation maps; None for the last one with places in space.
        sanity: whether to compare the maps with those of networks that have learnt nothing.
        sanity_run: one like this run, trained on shuffled labels; None for the one of the name that is advised.
    """

    methods: Sequence[str] = ("integrated", "gradcam")
    split: str = "test"
    scans: int = 8
    target_class: str | None = None
    layer: str | None = None
    sanity: bool = False
    sanity_run: str | None = None


def explain(run: Run, wanted: Wanted) -> str:
    """Writes maps as NIfTI, pictures of some scans and of the means of groups, and a summary (`explain.folder`).

    Of several fits, the maps are averaged.

    Returns:
        For the terminal: what of each method lies outside of the head, what has to be known, where everything is.

    Raises:
        InputError: an unknown method, class or layer, a split without scans, networks that give no numbers, or a run
            for the sanity checks that does not fit.
    """
    experiment = load_experiment(run.experiment)
    classes = list(experiment.targets[experiment.target].classes or ())
    _check(wanted, classes)
    fits = trained_fits(run, experiment)
    shuffled = shuffled_run(run, experiment, wanted.sanity_run) if wanted.sanity else None
    table, places = _choose(run, experiment, list(fits), wanted)
    scans = run_scans(table, experiment)
    heads = [_head(scan) for scan in scans]
    load_tensorflow()
    from tfmri.training.devices import set_up

    set_up(None, experiment.training.threads, experiment.training.deterministic, experiment.seed)
    module = trusted_module(experiment)
    networks = [load_network(plan.name, fit, module, places[plan]) for plan, fit in fits.items()]
    _check_layer(wanted.layer, networks[0].model)
    # Every fit explains the same: what all of them together say, or the class that is asked for.
    said = said_together(networks, scans, classes)
    explained = [wanted.target_class or str(each) for each in said] if classes else ["all"] * len(said)
    question = Question(scans, explained, classes, wanted.methods, _options(wanted, experiment))
    maps, missing = maps_by_method(networks, question)
    _refuse_other_than_numbers(maps)
    found = Explained(
        table, scans, maps, _captions(table, said, experiment.target), _groups(table, explained, experiment.target)
    )
    folder = run.evaluation(wanted.split) / "explain"
    with whole_folder(folder) as new:
        write_maps(new, found)
        figures, notes = draw_pictures(new, found)
        summary: dict[str, Any] = {
            "split": wanted.split,
            "scans": len(scans),
            "fits": len(networks),
            "outside_head": outside_of_heads(maps, heads),
            "incomplete": _by_scan(table, missing),
            "notes": notes + _about_layer(wanted, networks[0].model, experiment) + _about_completeness(missing),
            "figures": figures,
        }
        if wanted.sanity:
            summary["sanity"], figure = check_sanity(new, run, networks, question, maps, heads, shuffled)
            figures.append(figure)
        write_json(new / "summary.json", summary)
    return _in_words(summary, folder)


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
    if wanted.sanity_run is not None and not wanted.sanity:
        raise InputError(Problem("--sanity-run", "given without --sanity", "both, or neither"))


def _check_layer(layer: str | None, model: Any) -> None:
    if layer is not None and layer not in (names := list(layers_in_space(model))):
        advice = did_you_mean(layer, names)
        raise InputError(Problem("--layer", f"'{layer}'", f"one of {', '.join(names)}", advice))


def _refuse_other_than_numbers(maps: Mapping[str, np.ndarray]) -> None:
    for method, each in maps.items():
        if count := sum(not np.isfinite(one).all() for one in each):
            found = f"the maps of {count} of {len(each)} scans by '{method}' are NaN or infinite"
            raise InputError(Problem("--method", found, advice="Take another method, and look at the learning curves."))


def _choose(
    run: Run, experiment: Experiment, plans: Sequence[FitPlan], wanted: Wanted
) -> tuple[pd.DataFrame, dict[FitPlan, np.ndarray]]:
    """The first scans of the split, and which of them each fit is asked of."""
    table = run_table(run, experiment)
    asked = {plan: rows_of(of_fold(table, plan.fold), wanted.split) for plan in plans}
    rows = np.unique(np.concatenate(list(asked.values())))[: max(0, wanted.scans)]
    if not len(rows):
        raise InputError(Problem("--scans", f"{wanted.scans} of {wanted.split}, so that there are none", "1 or more"))
    return table.iloc[rows].reset_index(drop=True), {
        plan: np.flatnonzero(np.isin(rows, each)) for plan, each in asked.items()
    }


def _options(wanted: Wanted, experiment: Experiment) -> Options:
    x, y, z = (max(2, round(WINDOW / mm)) for mm in experiment.image.spacing)
    return Options((x, y, z), wanted.layer, experiment.seed)


def _head(scan: CachedScan) -> np.ndarray:
    """(x, y, z) bool, where the head is; everywhere where none is found."""
    volume = Volume(np.ascontiguousarray(np.load(scan.image)[..., 0], np.float32), np.array(scan.record["affine"]))
    try:
        return head_mask(volume, find_head(volume))
    except InputError:
        return np.ones(volume.data.shape, bool)


def _captions(table: pd.DataFrame, said: Sequence[Any], target: str) -> list[str]:
    def shown(value: Any) -> str:
        return f"{value:.1f}" if isinstance(value, float) else str(value)

    return [
        f"{scan}: {shown(answer)}, in truth {shown(truth)}"
        for scan, answer, truth in zip(table["scan"], said, table[target], strict=True)
    ]


def _groups(table: pd.DataFrame, explained: Sequence[str], target: str) -> dict[str, np.ndarray]:
    """Whose maps are averaged: by what is explained, and by site, sex, diagnosis and age as far as they are known."""
    columns: dict[str, Any] = {"": explained} if set(explained) == {"all"} else {f"predicted {target}": explained}
    columns |= {
        "site": table["site"],
        "sex": known.sexes(table),
        "diagnosis": known.diagnoses(table),
        "age": age_bands(known.ages(table)),
    }
    groups = {}
    for column, values in columns.items():
        for group in sorted(set(() if values is None else values) - {""}):
            members = np.flatnonzero(np.array(values) == group)
            if len(members) >= FEWEST:
                groups[f"{column} {group}".strip()] = members
    return groups


def _by_scan(table: pd.DataFrame, missing: Mapping[str, np.ndarray]) -> dict[str, float | None]:
    """Scan -> what integrated gradients miss of the difference of the scores; None where there is no difference."""
    if "integrated" not in missing:
        return {}
    each = zip(table["scan"], missing["integrated"], strict=True)
    return {str(scan): round(float(share), 6) if np.isfinite(share) else None for scan, share in each}


def _about_completeness(missing: Mapping[str, np.ndarray]) -> list[str]:
    shares = missing.get("integrated", np.empty(0))
    bad = shares[np.isfinite(shares) & (shares > INCOMPLETE)]
    if not len(bad):
        return []
    return [
        f"integrated gradients: of {len(bad)} of {len(shares)} scans the map misses up to {bad.max():.0%} of the "
        "difference between the scores of scan and background, which it should add up to: read these with care."
    ]


def _about_layer(wanted: Wanted, model: Any, experiment: Experiment) -> list[str]:
    """How coarse a class activation map is, and which layers give finer ones."""
    methods = [IN_WORDS[method] for method in wanted.methods if method.startswith("gradcam")]
    layers = layers_in_space(model)
    name = wanted.layer or last_layer_in_space(model)
    if not methods or min(layers[name]) >= FEW:
        return []
    finer = {size: other for other, size in layers.items() if np.prod(size) > np.prod(layers[name])}  # the last of each
    shape = np.array(experiment.image.shape)
    places = [f"{other} ({_by(size)})" for size, other in reversed(finer.items()) if min(shape // size) > 1]
    mm = max(shape * experiment.image.spacing / layers[name])
    others = f" Finer, of less deep features: --layer {', '.join(places)}." if places else ""
    coarse = f"layer {name} has {_by(layers[name])} places, so that the maps tell regions of {mm:.0f} mm, no more."
    return [f"{' and '.join(methods)}: {coarse}{others}"]


def _by(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))


def _in_words(summary: Mapping[str, Any], folder: Path) -> str:
    shares = dict(summary["outside_head"])
    grid = shares.pop("grid")
    sanity = summary.get("sanity", {})
    head = f"{summary['scans']} scans of {summary['split']}, {summary['fits']} fits; outside of the head lies of the "
    return "\n".join(
        [
            f"{head}attribution by",
            *(f"  {name:<12} {share:.0%}, of the grid {grid:.0%}" for name, share in shares.items()),
            *summary["notes"],
            *sanity.get("sentences", ()),
            *([f"Train one, and explain again: {sanity['command']}"] if sanity.get("command") else []),
            f"maps and pictures: {folder}",
        ]
    )
