"""Maps of the trained fits of a run together: each is asked of scans as it sees them, and their maps are averaged."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tfmri.errors import InputError, Problem
from tfmri.evaluation.ensemble import ensemble
from tfmri.explain.methods import Options, maps_of
from tfmri.explain.scores import score_of
from tfmri.images import histogram
from tfmri.images.cache import CachedScan
from tfmri.inference.model_file import load_model, preparation_of
from tfmri.runs.directory import Fit


@dataclass(frozen=True)
class Network:
    """A trained fit.

    Args:
        name: of the fit.
        model: a Keras model.
        task: that decodes its outputs.
        standard: (channel, landmarks) onto which scans are moved for it; None where they are taken as they are.
        places: of the chosen scans, those that it is asked of.
    """

    name: str
    model: Any
    task: Any
    standard: np.ndarray | None
    places: np.ndarray


@dataclass(frozen=True)
class Question:
    """What is to be explained of scans.

    Args:
        scans: the prepared scans.
        explained: of each, the class whose logit it is; anything where `classes` is empty.
        classes: in the order of the models' outputs; empty for a number.
        methods: of `METHODS`.
        options: of the methods.
    """

    scans: Sequence[CachedScan]
    explained: Sequence[str]
    classes: Sequence[str]
    methods: Sequence[str]
    options: Options


def load_network(name: str, fit: Fit, module: str, places: np.ndarray) -> Network:
    """A fit's network; `module` is that of the person's own layers, which may be in the file."""
    from tfmri.tasks.registry import load_task

    task = load_task(json.loads(fit.task.read_text()))
    return Network(name, load_model(fit.model, module), task, preparation_of(fit.model).standard, places)


def said_together(networks: Sequence[Network], scans: Sequence[CachedScan], classes: Sequence[str]) -> list[Any]:
    """What the networks together say of each scan: a class, or a number.

    Raises:
        InputError: outputs that are no numbers.
    """
    decoded = []
    for network in networks:
        for place in network.places:
            outputs = np.asarray(network.model(_seen_by(network, scans[place])[0][None], training=False))
            if not np.isfinite(outputs).all():
                advice = "Training went wrong: look at the learning curves, and begin anew with a lower learning rate."
                found = "its outputs are NaN or infinite: there is nothing to explain"
                raise InputError(Problem(f"the model of fit {network.name}", found, advice=advice))
            decoded.append(network.task.decode(outputs).assign(scan=str(place), fit=network.name))
    together = ensemble(pd.concat(decoded), classes).set_index("scan")["prediction"]
    return [together[str(place)] for place in range(len(scans))]


def maps_by_method(
    networks: Sequence[Network], question: Question
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The mean over networks of their maps.

    Returns:
        Method -> (n, x, y, z) float32, which has to be asked of at least one network a scan; and method -> (n,) what is
        missing of completeness (`integrated_gradients`), in the network where most is.
    """
    count = len(question.scans)
    shape = np.load(question.scans[0].image, mmap_mode="r").shape[:3]
    total = {method: np.zeros((count, *shape), np.float32) for method in question.methods}
    missing = {method: np.full(count, np.nan) for method in question.methods}
    counts = np.zeros(count, np.float32)
    for network in networks:
        for group in dict.fromkeys(question.explained[place] for place in network.places):
            places = [place for place in network.places if question.explained[place] == group]
            seen = [_seen_by(network, question.scans[place]) for place in places]
            images, backgrounds = (np.stack([each[part] for each in seen]) for part in (0, 1))
            score = score_of(network.task, question.classes.index(group) if question.classes else None)
            for method in question.methods:
                values, left = maps_of(method, network.model, images, backgrounds, score, question.options)
                total[method][places] += values
                missing[method][places] = np.fmax(missing[method][places], left)
        counts[network.places] += 1
    return {method: each / counts[:, None, None, None] for method, each in total.items()}, missing


def _seen_by(network: Network, scan: CachedScan) -> tuple[np.ndarray, np.ndarray]:
    """(x, y, z, channel) float32 as the network sees it, and (channel,) its background."""
    image, air = np.load(scan.image).astype(np.float32), np.array(scan.background, np.float32)
    if network.standard is None:
        return image, air
    for channel, (own, scale) in enumerate(zip(scan.landmarks, network.standard, strict=True)):
        image[..., channel] = histogram.map_to_standard(image[..., channel], own, scale)
        air[channel] = histogram.map_to_standard(air[channel : channel + 1], own, scale)[0]
    return image, air
