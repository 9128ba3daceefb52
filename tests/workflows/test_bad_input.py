"""What a person gets wrong is said in one readable message with exit code 2, and leaves nothing half-written."""

import gzip
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest


def change(row: int, column: str, value: object):
    def spoil() -> None:
        table = pd.read_csv("labels.csv", dtype=str)
        table.loc[row, column] = value
        table.to_csv("labels.csv", index=False)

    return spoil


def drop_column() -> None:
    pd.read_csv("labels.csv").drop(columns="sex").to_csv("labels.csv", index=False)


def one_class() -> None:
    pd.read_csv("labels.csv").assign(sex="f").to_csv("labels.csv", index=False)


def one_of_a_class() -> None:
    sexes = ["m"] + ["f"] * 15
    pd.read_csv("labels.csv").assign(sex=sexes).to_csv("labels.csv", index=False)


def repeat_a_scan() -> None:
    table = pd.read_csv("labels.csv")
    pd.concat([table, table.iloc[[3]]]).to_csv("labels.csv", index=False)


def directory_as_image() -> None:
    Path("03.nii.gz").unlink()
    Path("03.nii.gz").mkdir()


def cut_short() -> None:
    path = Path("03.nii.gz")
    path.write_bytes(path.read_bytes()[:2000])


def voxels(change_them):
    def spoil() -> None:
        image = nibabel.load("03.nii.gz")
        data = change_them(image.get_fdata())
        nibabel.save(nibabel.Nifti1Image(data, image.affine), "03.nii.gz")

    return spoil


def with_nan(data: np.ndarray) -> np.ndarray:
    data[5, 5, 5] = np.nan
    return data


CASES = {
    "missing labels file": (Path("labels.csv").unlink, [], ["labels.csv", "no such file"]),
    "missing column": (drop_column, [], ["labels.csv", "sex"]),
    "missing image": (Path("03.nii.gz").unlink, [], ["03.nii.gz", "row 5"]),
    "directory as image": (directory_as_image, [], ["03.nii.gz", "folder"]),
    "truncated gzip": (cut_short, [], ["03.nii.gz", "cut short"]),
    "not a NIfTI": (lambda: Path("03.nii.gz").write_bytes(gzip.compress(b"hello " * 200)), [], ["03.nii.gz", "NIfTI"]),
    "4D image": (voxels(lambda data: np.stack([data, data], -1)), [], ["03.nii.gz", "4"]),
    "NaN voxels": (voxels(with_nan), [], ["03.nii.gz", "NaN"]),
    "constant image": (voxels(lambda data: np.ones_like(data)), [], ["03.nii.gz", "all voxels are 1"]),
    "one class only": (one_class, [], ["sex", "m"]),
    "a class with one subject": (one_of_a_class, [], ["sex", "'m'"]),
    "unknown spelling": (change(3, "sex", "mael"), [], ["row 5", "sex", "mael", "male"]),
    "target not a number": (
        change(3, "age", "forty"),
        ["--set", "targets={age: {task: regression}}"],
        ["row 5", "age", "forty", "number"],
    ),
    "repeated scan": (repeat_a_scan, [], ["03.nii.gz", "row"]),
    "fewer training scans than a batch": (lambda: None, ["--set", "training.batch_size=9"], ["batch_size", "9", "8"]),
    "unknown key": (lambda: None, ["--set", "training.epoch=9"], ["training.epoch", "Did you mean 'epochs'?"]),
    "impossible shape": (lambda: None, ["--set", "image.shape=[24,24,1]"], ["shape", "24"]),
    "unknown monitor": (lambda: None, ["--set", "training.monitor=validation_los"], ["monitor", "validation_loss"]),
    "elastic deformation that folds": (
        lambda: None,
        ["--set", "augment=[{elastic: {displacement: 50}}]"],
        ["augment, elastic", "50 mm"],
    ),
    "an age outside the bins": (
        lambda: None,
        ["--set", "targets={age: {task: soft_labels, range: [20, 60]}}"],
        ["age", "outside the bins", "62"],
    ),
    "no such device": (lambda: None, ["--set", "training.devices=[GPU:7]"], ["devices", "GPU:7", "CPU:0"]),
    "impossible run name": (lambda: None, ["--run", "a/b"], ["--run", "a/b"]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_said_and_nothing_is_left_half_written(cohort, tfmri, case):
    spoil, arguments, said = CASES[case]
    spoil()
    code, output = tfmri("train", "small.yaml", *arguments)
    assert code == 2, output
    assert "Traceback" not in output
    for words in said:
        assert words in output
    assert not list(cohort.glob("runs/*/*"))


def test_a_mistake_with_debug_shows_where_in_the_program_it_was_noticed(cohort, tfmri, monkeypatch):
    from tfmri.cli import main
    from tfmri.errors import InputError

    Path("labels.csv").unlink()
    monkeypatch.setattr(sys, "argv", ["tfmri", "train", "small.yaml", "--debug"])
    with pytest.raises(InputError):
        main()


@pytest.fixture
def tiny_disk(tmp_path_factory):
    """A real file system of 16 KiB."""
    folder = tmp_path_factory.mktemp("tiny")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small file system takes root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_said_and_no_run_is_begun(cohort, tfmri, tiny_disk, monkeypatch):
    monkeypatch.setenv("TFMRI_RUNS", str(tiny_disk))
    (tiny_disk / "filling").write_bytes(bytes(12 * 1024))
    code, output = tfmri("train", "small.yaml")
    assert code == 2, output
    assert "no space is left on the disk" in output
    assert not list(tiny_disk.glob("small/*"))
    assert not list(tiny_disk.glob("small/.*"))
