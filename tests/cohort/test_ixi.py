import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from tfmri.cohort.layouts.ixi import ixi
from tfmri.cohort.layouts.layout import write_labels
from tfmri.cohort.table import read_labels
from tfmri.errors import InputError, Problem

TARGETS = {"sex": {"f": ["female"], "m": ["male"]}, "age": None}
HEADER = "IXI_ID,SEX_ID (1=m; 2=f),HEIGHT,WEIGHT,ETHNIC_ID,DATE_AVAILABLE,AGE"
ROWS = ["1,1,170,80,2,0,", "2,2,164,58,1,1,35.8", "12,1,0,0,0,1,38.75", "13,1,182,70,1,1,46.5", "14,2,163,65,1,1,34.2"]
NAMES = ["IXI002-Guys-0828-T1.nii.gz", "IXI012-HH-1211-T1.nii.gz", "IXI013-HH-1212-T1.nii.gz", "IXI014-IOP-1236-T1.nii"]


def scan(path: Path, number: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.full((2, 2, 2), number, np.uint8), np.eye(4)), path)


def cohort(root: Path, names=NAMES, rows=ROWS, folder: str = "IXI-T1") -> Path:
    for number, name in enumerate(names):
        scan(root / folder / name, number)
    (root / "IXI.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    return root


def problem(*arguments: Path) -> Problem:
    with pytest.raises(InputError) as caught:
        ixi(*arguments)
    return caught.value.problems[0]


def fates(layout) -> dict[str, str]:
    return {row["item"]: row["reason"] or row["fate"] for row in layout.report.to_dict("records")}


def test_site_comes_from_the_name_and_the_rest_from_the_table(tmp_path):
    table = ixi(cohort(tmp_path)).table
    assert list(table.columns[:5]) == ["subject", "path", "site", "sex", "age"]
    assert table.drop(columns="path").iloc[:2].to_numpy().tolist() == [
        ["IXI002", "Guys", "f", "35.8", "164", "58", "1", "1"],
        ["IXI012", "HH", "m", "38.75", "", "", "", "1"],  # 0 is an empty field of the form
    ]
    assert table["path"][3] == str(tmp_path / "IXI-T1" / NAMES[3])


def test_the_table_is_found_beside_the_scans_or_above_or_where_one_says(tmp_path):
    cohort(tmp_path)
    assert len(ixi(tmp_path / "IXI-T1").table) == 4
    (tmp_path / "IXI.csv").rename(tmp_path / "people.csv")
    assert problem(tmp_path).found == "there is no table of the people"
    assert len(ixi(tmp_path, tmp_path / "people.csv").table) == 4
    (tmp_path / "IXI.xls").touch()
    (tmp_path / "ixi.csv").touch()
    assert "several tables: IXI.xls and ixi.csv" in problem(tmp_path).found


def test_rows_that_repeat_an_id_are_one_where_they_agree_and_drop_the_person_where_they_differ(tmp_path):
    rows = [*ROWS, "2,2,0,0,0,1,35.8", "12,2,0,0,0,1,38.75", "13,1,0,0,0,1,47", "14,,150,65,1,1,"]
    layout = ixi(cohort(tmp_path, rows=rows))
    assert list(layout.table["subject"]) == ["IXI002", "IXI014"]
    assert layout.table.loc[0, "HEIGHT"] == "164"
    last = layout.table.loc[1]
    assert (last["sex"], last["age"], last["HEIGHT"], last["WEIGHT"]) == ("f", "34.2", "", "65")
    assert fates(layout)[f"IXI-T1/{NAMES[1]}"] == "repeated: rows of IXI.csv differ on this person"
    details = layout.report.set_index("item")["detail"]
    assert [details[f"IXI-T1/{name}"] for name in NAMES[1:3]] == ["rows 4, 8: sex", "rows 5, 9: age"]
    assert "4 people have several rows. Those of 2 agree in sex and age" in layout.notes[1]


def test_what_is_not_joined_is_told_with_the_reason(tmp_path):
    names = [*NAMES, "IXI999-HH-0001-T1.nii.gz", "IXI014-IOP-1236-T1.nii.gz", "IXI016-Guys-0697-T1.nii.gz"]
    cohort(tmp_path, names, [*ROWS, "16,,170,80,1,1,", "17,1,170,80,1,1,50"])
    (tmp_path / "IXI-T1" / NAMES[0]).write_bytes(b"")
    layout = ixi(tmp_path)
    assert list(layout.table["subject"]) == ["IXI012", "IXI013", "IXI014"]
    assert layout.table["path"].iloc[-1].endswith(".nii.gz")
    assert {item: reason for item, reason in fates(layout).items() if reason != "joined"} == {
        f"IXI-T1/{NAMES[0]}": "no image: an empty file",
        f"IXI-T1/{NAMES[3]}": "repeated: the same scan is there as .nii.gz",
        "IXI-T1/IXI016-Guys-0697-T1.nii.gz": "no label: no sex or age in IXI.csv",
        "IXI-T1/IXI999-HH-0001-T1.nii.gz": "no label: no row in IXI.csv",
        "IXI001": "no image: no scan of this id",
        "IXI017": "no image: no scan of this id",
    }


def test_a_person_without_age_is_joined_all_the_same_and_left_out_by_who_needs_the_age(tmp_path):
    layout = ixi(cohort(tmp_path, [*NAMES, "IXI001-HH-0100-T1.nii.gz"]))
    assert layout.table.loc[0, ["subject", "sex", "age"]].tolist() == ["IXI001", "m", ""]
    write_labels(layout.table, tmp_path / "labels.csv")
    assert len(read_labels(tmp_path / "labels.csv", {"sex": TARGETS["sex"]}).table) == 5
    assert len(read_labels(tmp_path / "labels.csv", TARGETS).table) == 4


def test_other_contrasts_are_not_taken_and_a_second_scan_of_a_person_is_one_more_row(tmp_path):
    others = ["IXI012-HH-1211-T2.nii.gz", "IXI012-HH-1211-PD.nii.gz", "IXI012-HH-1211-MRA.nii.gz", "readme.nii.gz"]
    layout = ixi(cohort(tmp_path, [*NAMES, *others, "IXI012-HH-1300-T1.nii.gz"]))
    assert list(layout.table["subject"]) == ["IXI002", "IXI012", "IXI012", "IXI013", "IXI014"]


def test_of_several_versions_one_is_taken_for_all(tmp_path):
    cohort(tmp_path)
    for name in NAMES[:3]:
        scan(tmp_path / "IXI-T1" / name.replace("T1.", "T1_brain."))
    layout = ixi(tmp_path)
    assert not layout.table["path"].str.contains("brain").any() and len(layout.table) == 4
    assert fates(layout)["IXI-T1/IXI012-HH-1211-T1_brain.nii.gz"] == "repeated: another version, *_brain"
    (tmp_path / "IXI-T1" / NAMES[0]).unlink()
    (tmp_path / "IXI-T1" / NAMES[3]).unlink()
    layout = ixi(tmp_path)  # 3 of one version and 2 of the other
    assert layout.table["path"].str.contains("brain").all() and len(layout.table) == 3


def test_copies_in_several_folders_are_left_to_the_person(tmp_path):
    cohort(tmp_path)
    for name in NAMES[:2]:
        scan(tmp_path / "smoothed" / name)
    found = problem(tmp_path)
    assert found.found == f"2 scans are there in several folders: {tmp_path / 'IXI-T1'}, {tmp_path / 'smoothed'}"
    assert len(ixi(tmp_path / "smoothed").table) == 2


def test_wrong_folders_and_tables_are_told(tmp_path):
    assert problem(tmp_path / "nowhere").found == "there is no such folder"
    (tmp_path / "IXI-T1.tar").touch()
    assert "unpacked first" in problem(tmp_path).advice
    cohort(tmp_path)
    (tmp_path / "IXI.csv").write_text("name,AGE\nx,3\n")
    assert problem(tmp_path).found == "there is no column IXI_ID; there are 'name', 'AGE'"
    (tmp_path / "IXI.csv").write_text(HEADER + "\n900,1,1,1,1,1,40\n")
    none = problem(tmp_path)
    assert none.found == "none of 4 scans could be joined" and "no label: no row in IXI.csv" in none.advice


def test_scans_reached_through_a_link_are_found_once(tmp_path):
    cohort(tmp_path / "disk")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "IXI").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "round").symlink_to(tmp_path / "disk")
    assert len(ixi(tmp_path / "here", tmp_path / "disk" / "IXI.csv").table) == 4


def test_the_published_table_labels_the_scans_of_all_whose_age_it_tells(real_scans, tmp_path):
    published = real_scans / "tables" / "IXI.xls"
    people = pd.read_excel(published, engine="calamine")
    assert len(people) == 619 and people["IXI_ID"].nunique() == 593
    scan(tmp_path / "one.nii.gz")
    numbers = sorted(set(people.loc[people["AGE"].notna(), "IXI_ID"]))
    for row, number in enumerate(numbers):
        name = f"IXI{number:03}-{('Guys', 'HH', 'IOP')[row % 3]}-{row + 700:04}-T1.nii.gz"
        shutil.copy(tmp_path / "one.nii.gz", tmp_path / name)
    layout = ixi(tmp_path, published)
    dropped = layout.report[layout.report["fate"] == "dropped"]
    assert set(dropped["reason"]) == {"repeated: rows of IXI.xls differ on this person"}
    differ = [
        (item[:6], detail.partition(": ")[2]) for item, detail in zip(dropped["item"], dropped["detail"], strict=True)
    ]
    assert differ == [("IXI219", "age"), ("IXI328", "sex, age")]
    assert any("26 people have several rows. Those of 24 agree" in note for note in layout.notes)
    write_labels(layout.table, tmp_path / "labels.csv")
    table = read_labels(tmp_path / "labels.csv", TARGETS).table
    assert len(table) == len(numbers) - 2 and table["subject"].is_unique
    rows = people.drop_duplicates("IXI_ID").set_index("IXI_ID")
    theirs = rows.loc[table["subject"].str.removeprefix("IXI").astype(int)]
    assert np.allclose(table["age"], theirs["AGE"])
    assert list(table["sex"]) == list(theirs["SEX_ID (1=m, 2=f)"].map({1: "m", 2: "f"}))
    assert set(table["site"]) == {"Guys", "HH", "IOP"}


def test_images_that_are_not_named_as_its_scans_are_left_aside_and_told(tmp_path):
    cohort(tmp_path)
    scan(tmp_path / "IXI-T1" / "IXI002-Guys-0828-T2.nii.gz")
    layout = ixi(tmp_path)
    assert fates(layout)["IXI-T1/IXI002-Guys-0828-T2.nii.gz"] == "no name of a T1-weighted scan of IXI"
    assert len(layout.table) == 4 and layout.lines()[0].startswith("4 scans found, 4 joined")
