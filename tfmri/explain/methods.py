"""The methods by their names, as a person asks for them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfmri.explain import attribution as by

METHODS = ("gradient", "smoothgrad", "integrated", "gradcam", "gradcam++", "occlusion")
IN_WORDS = {
    "gradient": "gradient",
    "smoothgrad": "SmoothGrad",
    "integrated": "integrated gradients",
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "occlusion": "occlusion",
}


@dataclass(frozen=True)
class Options:
    """How the methods are used.

    Args:
        window: (x, y, z) voxels, of occlusion.
        layer: of class activation maps; None for the last one with places in space.
        seed: of SmoothGrad's noise.
        points: of the integral of integrated gradients.
    """

    window: tuple[int, int, int]
    layer: str | None = None
    seed: int = 0
    points: Sequence[int] = by.QUADRATURE


def maps_of(
    method: str, model: Any, images: np.ndarray, backgrounds: np.ndarray, score: by.Score, options: Options
) -> tuple[np.ndarray, np.ndarray]:
    """Attribution maps by one method.

    Args:
        method: of `METHODS`.
        model: a Keras model.
        images: (n, x, y, z, channel) float32.
        backgrounds: (n, channel) intensities of air.
        score: of the model's outputs.
        options: of the methods.

    Returns:
        (n, x, y, z), and (n,) what is missing of completeness, as `integrated_gradients` tells it; NaN of others.
    """
    air = backgrounds[:, None, None, None]
    ways: Mapping[str, Callable[[], Any]] = {
        "gradient": lambda: by.gradient(model, images, score),
        "smoothgrad": lambda: by.smoothgrad(model, images, score, options.seed),
        "integrated": lambda: by.integrated_gradients(model, images, score, air, options.points),
        "gradcam": lambda: by.gradcam(model, images, score, options.layer),
        "gradcam++": lambda: by.gradcam(model, images, score, options.layer, plus=True),
        "occlusion": lambda: by.occlusion(model, images, score, backgrounds, options.window),
    }
    found = ways[method]()
    return found if isinstance(found, tuple) else (found, np.full(len(images), np.nan))
