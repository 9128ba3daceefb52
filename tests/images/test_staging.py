from dataclasses import replace

import nibabel
import numpy as np
import pytest

from tfmri.images.cache import prepare_scans
from tfmri.images.prepare import Preparation
from tfmri.images.staging import scratch_folder, stage


@pytest.fixture
def cached(tmp_path):
    """Three prepared scans of 12³ voxels."""
    paths = []
    for index in range(3):
        ball = np.linalg.norm(np.indices((12, 12, 12)) - 5.5, axis=0) < 5
        noise = np.random.default_rng(index).normal(0, 3, ball.shape)
        paths.append(tmp_path / f"{index}.nii.gz")
        nibabel.save(
            nibabel.Nifti1Image((100 * ball + noise).astype(np.float32), np.diag([15.0, 15, 15, 1])), paths[-1]
        )
    return prepare_scans(paths, Preparation((15, 15, 15), (12, 12, 12), mask="head"), tmp_path / "cache", 1, False)


def test_the_scans_of_the_rows_are_read_from_the_copies_and_are_the_same(cached, tmp_path, capsys):
    near = stage(cached, [0, 2], tmp_path / "near", 1e9)
    assert near[1] == cached[1]
    for row in (0, 2):
        assert near[row].image.parent == near[row].mask.parent == tmp_path / "near"
        assert near[row].image.read_bytes() == cached[row].image.read_bytes()
        assert near[row].mask.read_bytes() == cached[row].mask.read_bytes()
        assert replace(near[row], image=cached[row].image, mask=cached[row].mask) == cached[row]
    assert "4 files of 2 prepared scans" in capsys.readouterr().out
    assert stage(cached, [0, 2], tmp_path / "near", 1e9) == near  # again, as a job does that is run again


def test_what_does_not_fit_is_read_from_where_it_lies(cached, tmp_path, capsys):
    assert stage(cached, [0, 1, 2], tmp_path / "near", 10_000) == cached
    assert "do not fit" in capsys.readouterr().out and not list((tmp_path / "near").iterdir())


def test_a_folder_that_cannot_be_written_to_costs_no_more_than_a_sentence(cached, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert stage(cached, [0], tmp_path / "file" / "near", 1e9) == cached
    assert "could not be copied" in capsys.readouterr().out


def test_the_folder_is_that_of_the_job(monkeypatch, tmp_path):
    monkeypatch.delenv("TFMRI_SCRATCH", raising=False)
    assert scratch_folder() is None
    monkeypatch.setenv("TFMRI_SCRATCH", str(tmp_path))
    assert scratch_folder() == tmp_path
