"""`tfmri predict` on all that a person may give it, with models made by hand where training has no part in it."""

import zipfile

import keras
import numpy as np
import pandas as pd
import pytest
from cohort_of_balls import SIZE, write_head
from program import run

from tfmri.evaluation.adjustments import Adjustments
from tfmri.images.fitted import FittedPreparation
from tfmri.images.prepare import STEPS_VERSION, Preparation
from tfmri.inference.model_file import Carried, add_to_model, carried_by
from tfmri.models.registry import build_model


@pytest.fixture(scope="module")
def years(tmp_path_factory):
    """A folder with a model of ages, years.keras, and three scans."""
    folder = tmp_path_factory.mktemp("years")
    keras.utils.set_random_seed(0)
    build_model("small_cnn", (SIZE, SIZE, SIZE, 1), 1, filters=[4]).save(folder / "years.keras")
    carried = Carried(
        FittedPreparation(Preparation((8, 8, 8), (SIZE, SIZE, SIZE)), None, STEPS_VERSION),
        "age",
        {"task": "regression", "mean": 50.0, "sd": 10.0, "penalty": "mae", "delta": 1.0},
        usual={"finest_mm": (1.0, 2.0)},
        adjustments=Adjustments(0.9, 30, 30, half_width=7.5, slope=0.5, intercept=20.0).to_config(),
    )
    add_to_model(folder / "years.keras", carried)
    for index in range(3):
        write_head(folder / f"scan-{index}.nii.gz", index, 20 * index)
    return folder


@pytest.fixture
def there(years, monkeypatch):
    monkeypatch.chdir(years)
    return years


def test_numbers_have_intervals_and_scans_that_are_unlike_the_training_are_told(there, tmp_path):
    out = tmp_path / "deep" / "out.csv"
    said = run("predict", "years.keras", "scan-0.nii.gz", "scan-1.nii.gz", "-o", str(out))
    found = pd.read_csv(out)
    np.testing.assert_allclose(found["upper"] - found["lower"], 15)
    np.testing.assert_allclose(found["prediction"], (found["upper"] + found["lower"]) / 2)
    assert found["warnings"].str.contains("voxels of 9 mm along their shortest side").all()
    assert "2 of them are unlike" in said and "corrected_gap" not in found


def test_stages_have_probabilities_and_sets_and_numbers_with_a_spread_their_standard_deviation(there, tmp_path):
    stages = ["healthy", "MCI", "dementia"]
    staged = {"task": "ordinal", "classes": stages, "counts": [5, 3, 2], "class_weights": "none", "penalty": "coral"}
    sure = {"task": "regression", "mean": 50.0, "sd": 10.0, "penalty": "gaussian", "delta": 1.0, "beta": 0.0}
    learnt = {
        "stage": Adjustments(0.9, 30, 30, classes=tuple(stages), temperature=1.5, quantile=0.7),
        "age": Adjustments(0.9, 30, 30, sd_factor=2.0),
    }
    prepared = carried_by(there / "years.keras").prepared
    for name, task in (("stage", staged), ("age", sure)):
        path = tmp_path / f"{name}.keras"
        build_model("small_cnn", (SIZE, SIZE, SIZE, 1), 2, filters=[4]).save(path)
        add_to_model(path, Carried(prepared, name, task, adjustments=learnt[name].to_config()))
        run("predict", str(path), "scan-0.nii.gz", "scan-1.nii.gz", "-o", str(tmp_path / f"{name}.csv"))
    found = pd.read_csv(tmp_path / "stage.csv")
    p = found[[f"p_{name}" for name in stages]]
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert (p >= 0).all(axis=None) and found["prediction"].tolist() == [stages[i] for i in p.to_numpy().argmax(axis=1)]
    held = [[name for name in stages if row[f"p_{name}"] >= 0.3] for _, row in found.iterrows()]
    assert found["prediction_set"].str.split("|").tolist() == held
    found = pd.read_csv(tmp_path / "age.csv")
    assert (found["sd"] > 0).all() and found["sd"].nunique() == 2
    np.testing.assert_allclose(found["calibrated_sd"], 2 * found["sd"])


def test_mistyped_names_have_rows_of_their_own_and_only_nothing_but_them_is_refused(there, tmp_path):
    out = tmp_path / "out.csv"
    (tmp_path / "empty").mkdir()
    said = run("predict", "years.keras", "scam.nii", "scan-0.nii.gz", str(tmp_path / "empty"), "-o", str(out), code=3)
    found = pd.read_csv(out, keep_default_na=False)
    assert "1 of 3 scans predicted" in said and found["path"].tolist()[:2] == ["scam.nii", "scan-0.nii.gz"]
    assert [error.partition(": ")[2][:16] for error in found["error"]] == ["there is no such", "", "no scan is in th"]
    assert [cell == "" for cell in found["prediction"]] == [True, False, True]
    out.unlink()
    said = run("predict", "years.keras", "scam.nii", "other.nii", "-o", str(out), code=2)
    assert "scam.nii" in said and "other.nii" in said and not out.exists()


def test_a_table_that_cannot_be_written_is_told_before_the_work(there):
    said = run("predict", "years.keras", "scan-0.nii.gz", "-o", "scan-1.nii.gz/out.csv", code=2)
    assert "scan-1.nii.gz: this" in said and "predicting" not in said and "Traceback" not in said


def test_all_scans_may_fail_and_each_row_says_why(there, tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.nii.gz").write_bytes(b"no scan")
    out = tmp_path / "out.csv"
    said = run("predict", "years.keras", str(tmp_path), "-o", str(out), code=3)
    found = pd.read_csv(out)
    assert "0 of 2 scans predicted" in said and "Traceback" not in said
    assert found["error"].notna().all() and found["prediction"].isna().all()


def test_a_scan_given_again_has_a_row_again_and_a_remark(there, tmp_path):
    (tmp_path / "linked.nii.gz").symlink_to(there / "scan-0.nii.gz")
    (tmp_path / "labels.csv").write_text(f"id,file\nx,linked.nii.gz\ny,{there}/scan-1.nii.gz\nz,\n")
    out = tmp_path / "out.csv"
    given = ["scan-0.nii.gz", str(there / "scan-0.nii.gz"), str(tmp_path / "labels.csv")]
    run("predict", "years.keras", *given, "-o", str(out), code=3)
    found = pd.read_csv(out, keep_default_na=False)
    again = ["the same file as row 2" in cell for cell in found["warnings"]]
    assert again == [False, True, True, False, False] and found["subject"].tolist() == ["", "", "x", "y", "z"]
    assert found.loc[[1, 2], "prediction"].eq(found["prediction"][0]).all()
    assert found["error"][4] == "labels.csv, row 4, column 'file': no path" and found["path"][4] == ""


def test_models_that_cannot_be_used_are_told_in_a_sentence(there, tmp_path):
    with zipfile.ZipFile("years.keras") as archive, zipfile.ZipFile(tmp_path / "old.keras", "w") as old:
        for name in archive.namelist():
            if name != "about.json":
                old.writestr(name, archive.read(name))
    said = run("predict", str(tmp_path / "old.keras"), "scan-0.nii.gz", code=2)
    assert "does not say what it predicts" in said and "Train it again" in said
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "saved_model.pb").touch()
    said = run("predict", str(tmp_path / "bare"), "scan-0.nii.gz", code=2)
    assert "a model without its preparation" in said
