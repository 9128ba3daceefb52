"""A folder with eight small scans, and a labels.csv that each test makes wrong in its own way."""

import os
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., Path]:
    """Writes a labels file of these lines beside scans/01.nii.gz to scans/08.nii.gz; its path comes back."""
    (tmp_path / "scans").mkdir()
    for number in range(1, 9):
        image = nib.Nifti1Image(np.full((2, 2, 2), number, np.uint8), np.eye(4))
        nib.save(image, tmp_path / "scans" / f"{number:02}.nii.gz")

    def write(*lines: str, name: str = "labels.csv", encoding: str = "utf-8", end: str = "\n") -> Path:
        path = tmp_path / name
        path.write_bytes((end.join(lines) + end).encode(encoding))
        return path

    return write


@pytest.fixture
def real_scans() -> Path:
    folder = os.environ.get("TFMRI_TEST_DATA")
    if not folder:
        pytest.skip("TFMRI_TEST_DATA is not set: no real scans here")
    return Path(folder)
