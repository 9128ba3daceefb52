"""A network that was trained on the phantom finds age and dementia where they were planted: ventricles, hippocampi."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import ndimage

from tfmri.images.head import find_head
from tfmri.images.read import Volume
from tfmri.phantom.anatomy import load_anatomy
from tfmri.phantom.cohort import write_cohort

pytestmark = pytest.mark.system
TARGETS = {
    "age": {"task": "regression", "loss": "mse"},
    "diagnosis": {"task": "classification", "classes": ["healthy", "dementia"]},
}
SETTINGS = {
    "image": {"spacing": 4, "shape": [42, 48, 42]},
    "augment": ["flip", "affine"],
    "model": {"name": "small_cnn"},
    "training": {"epochs": 14, "batch_size": 8, "optimizer": {"name": "adamw", "learning_rate": 2e-3}},
}


def top_of(low, high):
    """The point of a head's box by which heads are laid on each other: grids keep the top of the head."""
    return np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, high[2]])


def on_the_template(path, record, anatomy, top):
    """A map, blurred, on every second voxel of the phantom's template."""
    image = nib.load(path)
    places = np.moveaxis(np.indices(anatomy.brain.shape), 0, -1)[::2, ::2, ::2]
    mm = places @ anatomy.affine[:3, :3].T + anatomy.affine[:3, 3] - top
    voxels = (mm + top_of(*np.array(record["done"]["channels"][0]["head_mm"])) - image.affine[:3, 3]) / 4
    return ndimage.map_coordinates(ndimage.gaussian_filter(image.get_fdata(), 1), np.moveaxis(voxels, -1, 0), order=1)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """The labels file of 110 subjects."""
    return write_cohort(tmp_path_factory.mktemp("cohort"), subjects=110, shown=False)


@pytest.mark.parametrize(
    ("target", "where", "options", "planted"),
    [
        ("age", None, [], "lateral_ventricles"),
        ("diagnosis", "diagnosis != 'MCI'", ["--target-class", "dementia"], "hippocampi"),
    ],
)
def test_the_mean_map_lies_where_the_target_is_planted(target, where, options, planted, cohort, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("TFMRI_RUNS", "TFMRI_CACHE"):
        monkeypatch.delenv(name, raising=False)
    settings = {"data": {"labels": str(cohort), "where": where}, "targets": {target: TARGETS[target]}, **SETTINGS}
    (tmp_path / "planted.yaml").write_text(yaml.safe_dump(settings))
    for arguments in (
        ["train", "planted.yaml", "--run", "first"],
        ["explain", "planted/first", "--method", "integrated", "--scans", "16", *options],
    ):
        done = subprocess.run([Path(sys.executable).with_name("tfmri"), *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    anatomy = load_anatomy()
    template = anatomy.brain + anatomy.fat + anatomy.soft
    found = find_head(Volume((600 * template).astype(np.float32), anatomy.affine))
    head = ndimage.binary_fill_holes(template > 0.15)[::2, ::2, ::2]
    records = [json.loads(path.read_text()) for path in (tmp_path / "cache").glob("*.json")]
    by_path = {each["sources"][0]["path"]: each for each in records if "done" in each}
    paths = pd.read_csv("runs/planted/first/scans.csv", dtype=str).set_index("scan")["path"]
    maps = tmp_path / "runs" / "planted" / "first" / "evaluation" / "test" / "explain" / "maps"
    each = [
        on_the_template(
            path, by_path[paths[path.name[: -len("_integrated.nii.gz")]]], anatomy, top_of(found.low, found.high)
        )
        for path in sorted(maps.glob("sub-*_integrated.nii.gz"))
    ]
    assert len(each) == 16
    mean = np.abs(np.mean(each, axis=0)) * head
    share = {}  # of the attribution in a region, over that of the head's volume: 1 is what chance gives
    for name, region in anatomy.regions.items():
        near = ndimage.binary_dilation(region, iterations=2)[::2, ::2, ::2] & head
        share[name] = (mean[near].sum() / mean.sum()) / (near.sum() / head.sum())
    assert share.pop(planted) > max(2.5, *share.values()), share
