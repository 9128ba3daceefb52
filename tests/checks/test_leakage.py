"""Tests of leakage: the people who were planted under two ids are found in a phantom cohort, and nobody else."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tfmri.checks.finding import Harm
from tfmri.checks.headers import read_headers
from tfmri.checks.leakage import leakage_findings
from tfmri.checks.likeness import likeness
from tfmri.checks.voxels import SMALL, Voxels, digest_of
from tfmri.images.prepare import prepare
from tfmri.images.read import read_volume
from tfmri.phantom.cohort import write_cohort

DATA = os.environ.get("TFMRI_TEST_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="TFMRI_TEST_DATA is not set")


@pytest.fixture(scope="module")
def leaky(tmp_path_factory):
    """The table of 24 people of whom 3 come again, what their voxels are, and who comes again how."""
    labels = write_cohort(tmp_path_factory.mktemp("phantom") / "leaky", "leaky", 24, seed=3, workers=1, shown=False)
    table = pd.read_csv(labels, dtype=str)
    table["scan"] = table["subject"] + "_" + table["session"]
    voxels = [look(labels.parent / path) for path in table["path"]]
    planted = json.loads((labels.parent / "truth.json").read_text())["planted"]["leaks"]["scans"]
    parted = next(f"{each['subject']}_1" for each in planted if each["kind"] == "repeat_session")
    table["split"] = np.where(table["scan"] == parted, "test", "train")
    return table, voxels, {each["kind"]: {f"{each['subject']}_1", f"{each['same_as']}_1"} for each in planted}


def look(path):
    """What `voxels.examine` finds, without the measures that leakage does not need."""
    volume = read_volume(path)
    return Voxels(digest=digest_of(volume), small=prepare(volume, SMALL).image[..., 0])


def found(table, voxels):
    return {finding.check: finding for finding in leakage_findings(table, voxels, pd.DataFrame(index=table.index))}


def test_copies_and_repeat_sessions_under_other_ids_are_found_and_nobody_else(leaky):
    table, voxels, planted = leaky
    findings = found(table, voxels)
    assert findings.keys() == {"same_image_under_two_ids", "same_person_under_two_ids"}
    copies, repeats = findings["same_image_under_two_ids"], findings["same_person_under_two_ids"]
    assert set(copies.scans) == planted["copy"] | planted["stored_otherwise"]
    assert set(repeats.scans) == planted["repeat_session"]
    assert copies.harm is repeats.harm is Harm.SPOILS
    assert copies.numbers["parted"] == 0 and repeats.numbers["parted"] == 1
    assert "(correlation 0." in repeats.found and "train and test); this split parts 1 of 1" in repeats.found
    assert repeats.numbers["lowest"] > 0.75 > 0.65 > repeats.numbers["usual"] + 4 * repeats.numbers["spread"]


def test_without_those_who_come_again_the_cohort_passes_though_some_have_two_sessions(leaky):
    table, voxels, _ = leaky
    clean = (table.index < 26).tolist()  # 24 people, 2 of them with a second session
    kept = [each for each, keep in zip(voxels, clean, strict=True) if keep]
    assert table["subject"][clean].nunique() == 24 and found(table[clean], kept) == {}


def test_sessions_are_found_if_each_has_an_id_of_its_own(leaky):
    table, voxels, _ = leaky
    clean = (table.index < 26).tolist()
    kept = [each for each, keep in zip(voxels, clean, strict=True) if keep]
    parted = table[clean].assign(subject=table["scan"])
    finding = found(parted, kept)["same_person_under_two_ids"]
    two = parted["scan"].str.rsplit("_", n=1).str[0].duplicated(keep=False)
    assert set(finding.scans) == set(parted["scan"][two]) and finding.numbers["pairs"] == 2


def test_an_image_under_three_ids_makes_two_pairs_and_one_under_its_own_id_is_only_doubtful():
    table = pd.DataFrame({"subject": list("abcdd"), "scan": list("vwxyz"), "split": ["train", "test", *3 * ["train"]]})
    findings = found(table, [Voxels(digest=digest) for digest in ("1", "1", "1", "2", "2")])
    assert findings["same_image_under_two_ids"].scans == ("v", "w", "x")
    assert findings["same_image_under_two_ids"].numbers["pairs"] == 2
    assert findings["same_image_twice"].harm is Harm.DOUBTFUL and findings["same_image_twice"].scans == ("y", "z")


def test_scans_that_could_not_be_read_are_not_one_image():
    table = pd.DataFrame({"subject": list("ab"), "scan": list("vw"), "split": "train"})
    assert found(table, [Voxels(), Voxels()]) == {}
    assert leakage_findings(table, None, pd.DataFrame()) == []


def test_likeness_stands_moved_turned_larger_brighter_and_noisier_scans(leaky):
    from scipy import ndimage
    from scipy.spatial.transform import Rotation

    table, voxels, _ = leaky
    first = ~table["subject"].duplicated() & (table.index < 26)
    images = [each.small.astype(np.float32) for each, keep in zip(voxels, first, strict=True) if keep]
    turn = 1.08 * Rotation.from_euler("xyz", [6, -4, 5], degrees=True).as_matrix()
    middle = (np.array(images[0].shape) - 1) / 2
    moved = ndimage.affine_transform(images[5], turn, middle - turn @ middle + [1.5, -2, 2.5], order=1, mode="nearest")
    moved = 0.7 * moved + 0.02 * moved**2 + np.random.default_rng(0).normal(0, 0.15, moved.shape)
    alike = likeness([*images, moved], [*map(str, range(len(images))), "again"])
    last = alike.particular[:-1] @ alike.particular[-1]
    assert last.argmax() == 5 and last[5] > 0.75 > 0.5 > np.delete(last, 5).max()
    assert [pair[:2] for pair in alike.pairs(0.65)] == [(5, len(images))]


@needs_data
def test_a_real_scan_at_its_native_resolution_under_another_id_is_found(tmp_path):
    root = Path(DATA)
    paths = sorted((root / "ds000011-2mm").glob("sub-*/anat/*_T1w.nii.gz"))
    assert len(paths) == 10
    shutil.copy(root / "native" / "ds000011_sub-02_T1w.nii.gz", tmp_path / "sub-77_T1w.nii.gz")
    every = [*paths, tmp_path / "sub-77_T1w.nii.gz"]
    names = [path.name.split("_")[0] for path in every]
    table = pd.DataFrame({"subject": names, "scan": names, "path": every, "split": "train"})
    voxels = [look(path) for path in every]
    assert leakage_findings(table[:-1], voxels[:-1], read_headers(every[:-1])) == []
    findings = found(table, voxels)
    assert findings.keys() == {"near_duplicate"} and findings["near_duplicate"].scans == ("sub-02", "sub-77")
