"""A head whose place in the world is known in closed form, on any grid."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation


class Head:
    """Intensity 100 in an ellipsoid, 0 outside, and in it a Gaussian spot of height 300 and sigma 8 mm."""

    centre = np.array([7.0, -12.0, 21.0])  # mm
    semi_axes = np.array([60.0, 75.0, 65.0])  # mm
    spot = np.array([25.0, 15.0, 33.0])  # mm

    def __call__(self, affine: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
        world = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
        distance = np.sqrt((((world - self.centre) / self.semi_axes) ** 2).sum(axis=-1))
        spot = np.exp(-((world - self.spot) ** 2).sum(axis=-1) / (2 * 8.0**2))
        return (100 * np.clip((1 - distance) * 20 + 0.5, 0, 1) + 300 * spot).astype(np.float32)


@pytest.fixture
def head() -> Head:
    return Head()


@pytest.fixture
def grid() -> Callable[..., np.ndarray]:
    """An affine: spacing in mm, degrees about x, y, z, and where the middle of the array lies in mm."""

    def affine_of(spacing, shape, degrees=(0, 0, 0), middle=Head.centre) -> np.ndarray:
        affine = np.eye(4)
        affine[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() * np.asarray(spacing)
        affine[:3, 3] = np.asarray(middle) - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
        return affine

    return affine_of


@pytest.fixture
def scan(tmp_path, head, grid) -> Callable[..., Path]:
    """Writes a small scan of a head, one of a kind for each number, and gives its path."""

    def write(number: int = 0, name: str | None = None) -> Path:
        affine = grid((8, 8, 8), (24, 24, 24))
        data = head(affine, (24, 24, 24)) * (1 + number / 100)
        path = tmp_path / "scans" / (name or f"scan-{number}.nii.gz")
        path.parent.mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(data.astype(np.int16), affine), path)
        return path

    return write
