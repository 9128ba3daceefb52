"""Heads drawn from ellipsoids, whole or without skull and scalp, upright, with a face and a neck, in any contrast."""

from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

SHAPE, SPACING = (64, 76, 66), 3.0
AFFINE = np.diag([SPACING] * 3 + [1.0])
AFFINE[:3, 3] = [-95.0, -110.0, -110.0]
T1 = {"white": 1.0, "grey": 0.7, "fluid": 0.15, "bone": 0.04, "scalp": 0.8}
T2 = {"white": 0.4, "grey": 0.6, "fluid": 1.2, "bone": 0.04, "scalp": 0.6}


def draw_head(seed: int, whole: bool = True, contrast: Mapping[str, float] = T1, noise: float = 0.03) -> np.ndarray:
    """(64, 76, 66) float32 at 3 mm, RAS, tissue near 300; a brain alone lies in zeros."""
    rng = np.random.default_rng(seed)
    mm = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij"), axis=-1) * SPACING + AFFINE[:3, 3]
    size = np.exp(rng.normal(0, 0.03, 3))
    depth = _depth(mm, size * [66, 82, 62])  # mm below the surface of the brain
    below = _depth(mm - [0, -52, -52], size * [48, 34, 28])  # the cerebellum
    stem = (np.hypot(mm[..., 0], mm[..., 1] + 22) < 11) & (mm[..., 2] < -30) & (mm[..., 2] > -75)
    folds = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 1.2)
    image = np.zeros(SHAPE)
    face = (np.abs(mm[..., 0]) < 45) & (mm[..., 1] > 0) & (mm[..., 1] < 92) & (mm[..., 2] < -45) & (mm[..., 2] > -105)
    neck = (np.hypot(mm[..., 0], mm[..., 1] + 25) < 52) & (mm[..., 2] < -60)
    if whole:
        image[(depth > -17) | face | neck] = contrast["scalp"]
        image[depth > -11] = contrast["bone"]
        image[depth > -4] = contrast["fluid"]
    image[(depth > 0) & (folds > -0.09)] = contrast["grey"]
    image[depth > 6] = contrast["white"]
    image[(depth > 6) & (depth < 16) & (folds < -0.05)] = contrast["grey"]
    image[(np.abs(mm[..., 0]) < 14) & (np.abs(mm[..., 1]) < 26) & (np.abs(mm[..., 2] - 8) < 10)] = contrast["fluid"]
    image[below > 0], image[stem] = contrast["grey"], contrast["white"]
    image *= np.exp(0.03 * ndimage.gaussian_filter(rng.standard_normal(SHAPE), 6) * 25)
    image = ndimage.gaussian_filter(image, 0.4)
    brain = (depth > 0) | (below > 0) | stem
    image = np.hypot(image + noise * rng.standard_normal(SHAPE), noise * rng.standard_normal(SHAPE))
    return (300 * np.exp(rng.normal(0, 0.1)) * (image if whole else image * brain)).astype(np.float32)


def _depth(mm: np.ndarray, half_axes: np.ndarray) -> np.ndarray:
    return (1 - np.sqrt(((mm / half_axes) ** 2).sum(axis=-1))) * np.mean(half_axes)


def save(path: Path, data: np.ndarray, affine: np.ndarray = AFFINE, dtype=np.float32) -> Path:
    """A NIfTI file with qform and sform."""
    image = nib.Nifti1Image(data.astype(dtype), affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    nib.save(image, path)
    return path
