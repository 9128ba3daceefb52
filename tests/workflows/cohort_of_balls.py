"""A cohort small enough to train on in seconds."""

from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import yaml

SIZE = 24
SETTINGS = {
    "data": {"labels": "labels.csv"},
    "targets": {"sex": {"task": "classification", "classes": {"f": ["f", "female"], "m": ["m", "male"]}}},
    "image": {"spacing": 8, "shape": [SIZE, SIZE, SIZE]},
    "split": {"test": 0.25, "validation": 0.25},
    "model": {"name": "small_cnn", "filters": [4, 8]},
    "augment": ["flip", "affine", "noise"],  # compiled in a fraction of the time of `standard`
    "training": {"epochs": 1, "batch_size": 4},
}


def write_head(path: Path, seed: int, bright: float) -> None:
    """A ball of noise in air: 20³ voxels of 9 mm."""
    x, y, z = np.indices((20, 20, 20)) - 9.5
    inside = np.sqrt(x**2 + (y / 1.1) ** 2 + z**2) < 8
    noise = np.random.default_rng(seed).normal(0, 5, inside.shape)
    image = np.where(inside, 100 + noise + bright * (x > 2), np.abs(noise)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(image, np.diag([9.0, 9, 9, 1])), path)


def write_cohort(folder: Path) -> None:
    """Writes scans, labels.csv and small.yaml."""
    rows = []
    for index in range(16):
        sex = "fm"[index % 2]
        write_head(folder / f"{index:02}.nii.gz", index, 60 * (sex == "m"))
        rows.append({"subject": f"s{index:02}", "path": f"{index:02}.nii.gz", "sex": sex, "age": 20 + 3 * index})
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    (folder / "small.yaml").write_text(yaml.safe_dump(SETTINGS))
