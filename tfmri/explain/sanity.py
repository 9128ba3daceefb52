"""Whether maps depend on what a network has learnt: maps that do not are no explanation, however right they look.

Source: Adebayo et al. 2018, Sanity checks for saliency maps, NeurIPS: the cascading randomisation of section 3.1, and
for the data randomisation of section 3.2 a second network that was trained on labels dealt out among subjects.
Similarity is told by ranks, with and without the sign; within the head alone, since all maps agree about the air.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfmri.explain.methods import IN_WORDS

STEPS = 8  # of the cascade, at most: of a network with more layers, several are drawn anew in one step
SIMILAR, PARTLY = 0.5, 0.3  # rank correlations above which maps stay much the same, or in part


def randomised_from_the_top(model: Any, seed: int) -> Iterator[tuple[str, Any]]:
    """The network with more and more of its layers, from the output down, drawn anew by their own initialisers.

    Yields:
        The lowest layer that was drawn anew, and the network, which is one and the same in each step.
    """
    import keras

    keras.utils.set_random_seed(seed)
    fresh, changed = keras.models.clone_model(model), keras.models.clone_model(model)
    changed.set_weights(model.get_weights())
    names = [layer.name for layer in reversed(model.layers) if layer.weights]
    below = np.array_split(names[1:], min(STEPS - 1, len(names) - 1)) if len(names) > 1 else []
    for step in [np.array(names[:1]), *below]:
        for name in step:
            changed.get_layer(str(name)).set_weights(fresh.get_layer(str(name)).get_weights())
        yield str(step[-1]), changed


def similarity(one: np.ndarray, other: np.ndarray, inside: np.ndarray) -> dict[str, float]:
    """Spearman's rank correlation of two maps (x, y, z) where `inside`: `signed`, and of their `absolute` values.

    NaN where a map is the same everywhere, or not of numbers.
    """
    from scipy.stats import rankdata

    def correlation(first: np.ndarray, second: np.ndarray) -> float:
        ranks = [rankdata(each) - (each.size + 1) / 2 for each in (first, second)]
        size = float(np.sqrt((ranks[0] @ ranks[0]) * (ranks[1] @ ranks[1])))
        return float(ranks[0] @ ranks[1]) / size if size else np.nan

    first, second = one[inside], other[inside]
    return {"signed": correlation(first, second), "absolute": correlation(np.abs(first), np.abs(second))}


def mean_similarity(
    maps: Iterable[np.ndarray], others: Iterable[np.ndarray], heads: Sequence[np.ndarray]
) -> dict[str, float | None]:
    """The mean over scans of `similarity`; None where there is none."""
    found = [similarity(*each) for each in zip(maps, others, heads, strict=True)]
    means = {}
    for name in ("signed", "absolute"):
        known = [each[name] for each in found if np.isfinite(each[name])]
        means[name] = float(np.mean(known)) if known else None
    return means


def verdict(method: str, found: Mapping[str, float | None], changed: str) -> str:
    """A sentence about the maps of a method with what they have in common with those of the other network.

    Args:
        method: of `METHODS`.
        found: of `mean_similarity`.
        changed: what was done to the network, such as 'all weights drawn anew'.
    """
    name, known = IN_WORDS[method], {key: value for key, value in found.items() if value is not None}
    if not known:
        return f"{name}, {changed}: the other maps are the same everywhere, so that there is nothing to compare."
    numbers = ", ".join(f"{value:.2f} {key}" for key, value in known.items())
    if len(set(known.values())) == 1:  # of methods whose maps have no sign
        numbers = f"{max(known.values()):.2f}"
    if max(known.values()) > SIMILAR:
        return (
            f"{name}, {changed}: THE MAPS STAY MUCH THE SAME (rank correlation {numbers}). They show the scan more "
            "than what the network has learnt: do not take them for an explanation."
        )
    still = ", though where they are strong the scan alone still tells in part" if max(known.values()) > PARTLY else ""
    return f"{name}, {changed}: the maps become others, as they should (rank correlation {numbers}){still}."


def draw_cascade(
    steps: Sequence[str],
    found: Mapping[str, Sequence[Mapping[str, float | None]]],
    shuffled: Mapping[str, Mapping[str, float | None]],
    path: Path,
) -> list[Path]:
    """Similarity with the trained network's maps against how far down the network was drawn anew, as PNG and PDF.

    Args:
        steps: the lowest layer of each step of the cascade.
        found: method -> of each step, `mean_similarity`.
        shuffled: method -> the same of a network trained on shuffled labels; may be empty.
        path: without suffix.
    """
    from tfmri.evaluation.drawing import COLOURS, MARKERS, saved

    places = np.arange(len(steps) + 1)
    ticks = ["trained", *steps, *(["trained on\nshuffled labels"] if shuffled else [])]
    with saved(path, 9.5, 4.4) as figure:
        panels = figure.subplots(1, 2, sharey=True)
        for axes, kind, title in zip(panels, ("signed", "absolute"), ("with sign", "absolute values"), strict=True):
            axes.axhspan(SIMILAR, 1.04, color="0.94", zorder=0)
            for number, (method, each) in enumerate(found.items()):
                look: Any = {"color": COLOURS[number % 6], "marker": MARKERS[number % 6], "label": IN_WORDS[method]}
                axes.plot(places, [1.0, *(np.nan if step[kind] is None else step[kind] for step in each)], **look)
                if shuffled and shuffled[method][kind] is not None:
                    axes.plot([len(steps) + 1.4], [shuffled[method][kind]], linestyle="", **look | {"label": None})
            axes.axhline(0, color="0.6", linewidth=0.8)
            axes.set(title=title, ylim=(min(-0.15, axes.get_ylim()[0]), 1.04))
            shown = [*places, *([len(steps) + 1.4] if shuffled else [])]
            axes.set_xticks(shown, ticks, rotation=40, ha="right", rotation_mode="anchor", fontsize=9)
        panels[0].set_ylabel("rank correlation of the maps")
        panels[0].set_xlabel("drawn anew, from the output down to")
        panels[1].set_xlabel("drawn anew, from the output down to")
        panels[1].legend()
    return [path.with_name(f"{path.name}{suffix}") for suffix in (".png", ".pdf")]
