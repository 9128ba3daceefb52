import sys

import pandas as pd
import pytest

from tfmri.cli import main
from tfmri.cohort.table import read_labels

SEX = {"sex": {"f": ["f", "female", 2], "m": ["m", "male", 1]}}


@pytest.fixture
def labels(tmp_path, monkeypatch, capfd):
    """Runs `tfmri labels` in a folder with four scans by class and by subject; its exit code and what it said."""
    for number in range(1, 5):
        for place in (f"by class/{'FfMm'[number - 1 :][:1]}/Sub_{number}_T1.nii.gz", f"data/Sub_{number}/T1.nii.gz"):
            (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / place).write_bytes(place.encode())
    (tmp_path / "people.tsv").write_text("code\tsex\tage\n01\tf\t30\n02\tf\t31\n03\tm\t32\n04\tm\t33\n05\tm\t34\n")
    monkeypatch.chdir(tmp_path)

    def labels(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["tfmri", "labels", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code, *capfd.readouterr()

    return labels


def test_classes_in_folders_become_labels(labels, tmp_path):
    code, said, _ = labels("folders", "by class", "-o", "out/labels.csv")
    assert code == 0
    assert said.startswith("4 scans found, 4 joined (4 subjects), 0 dropped\n")
    assert said.endswith("out/labels.csv: 4 rows\n\nnext:\n  tfmri new NAME --labels out/labels.csv\n")
    table = read_labels(tmp_path / "out" / "labels.csv", SEX).table
    assert dict(zip(table["subject"], table["sex"], strict=True)) == {
        "Sub_1": "f",
        "Sub_2": "f",
        "Sub_3": "m",
        "Sub_4": "m",
    }


def test_subjects_and_a_table_become_labels_and_an_account(labels, tmp_path):
    options = ["--table", "people.tsv", "--id", "code", "--target", "sex", "--report", "account.csv"]
    code, said, _ = labels("subjects", "data", *options)
    assert code == 0
    assert "account.csv: what became of each" in said and "labels.csv: 4 rows" in said
    assert (tmp_path / "labels.csv").read_text().splitlines()[1] == "Sub_1,data/Sub_1/T1.nii.gz,f"
    assert pd.read_csv(tmp_path / "account.csv")["fate"].value_counts().to_dict() == {"joined": 4, "no scan": 1}
    assert len(read_labels(tmp_path / "labels.csv", SEX).table) == 4


@pytest.mark.parametrize(
    "arguments",
    [
        ["folders", "data"],
        ["folders", "by class", "--pattern", "*_T2*"],
        ["subjects", "by class", "--table", "people.tsv", "--id", "code"],
        ["subjects", "data", "--table", "people.tsv"],
        ["subjects", "data", "--table", "nothing.tsv"],
        ["bids", "data"],
        ["ixi", "data"],
        ["oasis", "data"],
        ["ukb", "data", "--table", "people.tsv"],
    ],
)
def test_nothing_is_written_where_nothing_fits(labels, tmp_path, arguments):
    code, said, error = labels(*arguments)
    assert (code, said) == (2, "")
    assert error.startswith("tfmri: ") and "Traceback" not in error
    assert not (tmp_path / "labels.csv").exists()


def test_a_table_is_asked_for_where_there_must_be_one(labels):
    code, _, error = labels("subjects", "data")
    assert code == 2 and "--table" in error


def test_more_fields_of_uk_biobank_can_be_asked_for(labels, tmp_path):
    for eid in (1000012, 1000024):
        image = tmp_path / "ukb" / f"{eid}_20252_2_0" / "T1" / "T1_brain_to_MNI.nii.gz"
        image.parent.mkdir(parents=True)
        image.write_bytes(b"scan")
    (tmp_path / "fields.csv").write_text("eid,31-0.0,21003-2.0,21002-2.0\n1000012,0,61,70\n1000024,1,62,80\n")
    command = ["ukb", "ukb", "--table", "fields.csv"]
    assert labels(*command, "--field", "weight=21002-{instance}.0")[0] == 0
    table = pd.read_csv(tmp_path / "labels.csv", dtype=str)
    assert list(table["weight"]) == ["70", "80"] and list(table["sex"]) == ["f", "m"]
    code, _, error = labels(*command, "--image", "T1/T1.nii.gz")
    assert code == 2 and "no image: no T1/T1.nii.gz in it" in error
    code, _, error = labels(*command, "--field", "weight={x}")
    assert code == 2 and "names no field" in error
