"""A first experiment file for given labels: what it proposes can be trained on as it stands."""

from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from tfmri.cohort.table import read_labels
from tfmri.errors import InputError
from tfmri.experiment.load import load_experiment
from tfmri.workflows.new import new


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a labels.csv of `columns` beside a scan of a 150 x 180 x 140 mm head for each row, and goes there."""
    monkeypatch.chdir(tmp_path)
    x, y, z = np.indices((40, 48, 40)) * 5.0
    inside = ((x - 100) / 75) ** 2 + ((y - 120) / 90) ** 2 + ((z - 100) / 70) ** 2 < 1
    head = np.where(inside, 100, 0) + np.random.default_rng(0).normal(0, 2, inside.shape)

    def write(name="path", **columns):
        table = pd.DataFrame(columns)
        table.insert(0, "subject", [f"s{row:02}" for row in range(len(table))])
        table[name] = table["subject"] + ".nii.gz"
        for path in table[name]:
            nibabel.save(nibabel.Nifti1Image(head.astype(np.int16), np.diag([5.0, 5, 5, 1])), path)
        table.to_csv("labels.csv", index=False)
        return tmp_path / "labels.csv"

    return write


def read_back(path):
    """The experiment, and the cohort that its own settings read."""
    experiment = load_experiment(path)
    targets = {name: target.classes for name, target in experiment.targets.items()}
    return experiment, read_labels(experiment.data.labels, targets, experiment.data.columns, experiment.data.where)


def test_diagnoses_come_first_with_their_spellings_together_and_in_their_usual_order(write):
    labels = write(age=range(40, 58), dx=["AD", "CN", "MCI", "control", "LMCI", "ad"] * 3, Gender=["F", "M"] * 9)
    path, chosen = new("mine", labels, None, ())
    experiment, cohort = read_back(path)
    assert chosen.column == "dx" and list(experiment.targets) == ["diagnosis"]
    assert list(experiment.targets["diagnosis"].classes) == ["healthy", "MCI", "dementia"]
    assert cohort.table["diagnosis"].value_counts().to_dict() == {"healthy": 6, "MCI": 6, "dementia": 6}
    text = path.read_text()
    assert "# sex: {task: classification" in text and "# age: {task: regression}" in text


def test_numbers_are_for_regression_and_codes_of_sex_are_taken_by_convention_and_said(write):
    labels = write(age=range(40, 52), sex=[1, 2] * 6)
    path, chosen = new("age", labels, "age", ())
    assert read_back(path)[1].table["age"].tolist() == list(range(40, 52))
    path, chosen = new("sex", labels, "sex", ())
    assert read_back(path)[1].table["sex"].tolist() == ["m", "f"] * 6
    assert "ISO/IEC 5218" in chosen.remarks[0] and "ISO/IEC 5218" in path.read_text()


def test_a_value_that_one_subject_has_is_left_out_by_a_query(write):
    path, chosen = new("mine", write(group=["a", "b"] * 5 + ["it's odd"]), None, ())
    assert chosen.rare == ("it's odd",)
    assert sorted(read_back(path)[1].table["group"].unique()) == ["a", "b"]


def test_the_grid_holds_the_heads_and_the_spacing_is_that_of_the_scans(write):
    path, _ = new("mine", write(age=range(40, 52)), None, ())
    image = load_experiment(path).image
    assert image.spacing == (5, 5, 5)
    for voxels, side in zip(image.shape, (150, 180, 140), strict=True):
        assert side <= voxels * 5 < side + 2 * 6 + 2 * 8 * 5 and voxels % 8 == 0


def test_columns_of_unusual_names_are_found_by_what_they_hold_or_as_they_are_given(write):
    path, _ = new("mine", write(name="Bild", Alter=range(40, 52)), None, ["data.columns.age=Alter"])
    assert load_experiment(path).data.columns["path"] == "Bild"
    path, chosen = new("two", write(name="Bild", Alter=range(40, 52)), "Alter", ())
    assert chosen.name == "Alter" and len(read_back(path)[1].table) == 12


@pytest.mark.parametrize(
    ("columns", "target", "said"),
    [
        ({"note": [f"text {row}" for row in range(12)]}, None, "no column could be learnt"),
        ({"age": range(12)}, "agee", "Did you mean 'age'"),
        (
            {"age": [7] * 12},
            None,
            "'age': cannot be learnt: there is one value only",
        ),
        ({"age": range(12), "score": list("abcdefghijkl")}, "score", "'score'.* only 0 of its 12 different values"),
        ({"age": ["39,5", *range(40, 51)]}, "age", "'age'.*'39,5' is not a number"),
        ({"sex": ["f", "m"] * 3, "score": [1, 2, 2, 2, 2, 2]}, "score", "too few different numbers"),
    ],
)
def test_what_cannot_be_learnt_is_said_and_nothing_is_written(write, tmp_path, columns, target, said):
    with pytest.raises(InputError, match=said):
        new("mine", write(**columns), target, ())
    assert not list(tmp_path.rglob("*.yaml"))


def test_an_experiment_that_is_there_is_not_overwritten(write):
    labels = write(age=range(40, 52))
    path, _ = new("mine", labels, None, ())
    before = path.read_text()
    with pytest.raises(InputError, match="there already"):
        new("mine", labels, None, ())
    assert path.read_text() == before


def test_few_ages_are_numbers_and_so_is_any_column_of_numbers_that_is_asked_for(write):
    labels = write(sex=["f", "m"] * 3, age=[41, 52, 63, 41, 52, 63], score=[1, 2, 3, 4, 5, 6])
    assert new("age", labels, "age", ())[1].settings == {"task": "regression"}
    path, chosen = new("score", labels, "score", ())
    assert chosen.settings == {"task": "regression"} and len(read_back(path)[1].table) == 6
    assert new("sex", labels, None, ())[1].name == "sex"


def test_an_age_that_cannot_be_learnt_is_told_where_another_column_is_taken(write, capsys):
    new("sex", write(sex=["f", "m"] * 6, age=["39,5", *range(40, 51)]), None, ())
    assert "note: column 'age' cannot be learnt: '39,5' is not a number" in capsys.readouterr().out


def test_scans_that_cannot_be_read_are_left_out_and_told_unless_none_can(write, capsys):
    labels = write(age=range(40, 60))
    for damaged in ("s00", "s07"):
        Path(f"{damaged}.nii.gz").write_bytes(b"no image")
    Path("s19.nii.gz").unlink()
    path, _ = new("mine", labels, None, ())
    assert "the 12 scans looked at" in path.read_text()
    said = capsys.readouterr().out
    assert (
        "note: 3 of 15 scans looked at cannot be read: " in said and "s00.nii.gz" in said and "tfmri check mine" in said
    )
    for scan in Path().glob("*.nii.gz"):
        scan.write_bytes(b"no image")
    with pytest.raises(InputError, match=r"s00\.nii\.gz"):
        new("other", labels, None, ())
