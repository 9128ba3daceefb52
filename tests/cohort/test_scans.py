"""Images and the names of scans."""

from pathlib import Path

import pytest
from sound_labels import GOOD, SEX, changed, problem

from tfmri.cohort.table import read_labels


def test_sessions_and_runs_give_each_scan_a_name_of_its_own_whatever_the_row_order(study):
    lines = ["subject,ses,path,sex", "a,1,scans/01.nii.gz,f", "a,2,scans/02.nii.gz,f", "a,2,scans/03.nii.gz,f"]
    lines += ["b,,scans/04.nii.gz,m", "b,,scans/05.nii.gz,m", "c,1,scans/06.nii.gz,m", "d,1,scans/07.nii.gz,f"]
    expected = ["a_1", "a_2", "a_2_run-2", "b", "b_run-2", "c_1", "d_1"]
    assert list(read_labels(study(*lines), SEX).table["scan"]) == expected
    assert list(read_labels(study(lines[0], *lines[:0:-1]), SEX).table["scan"]) == expected[::-1]


def test_scan_names_that_would_meet_by_chance_still_differ(study):
    lines = ["subject,session,path,sex", "a,b,scans/01.nii.gz,f", "a_b,,scans/02.nii.gz,f"]
    lines += ["a_b,run-2,scans/03.nii.gz,f", "c,,scans/04.nii.gz,m", "d,,scans/05.nii.gz,m"]
    assert read_labels(study(*lines), SEX).table["scan"].is_unique


def test_paths_may_be_absolute_or_start_with_the_home_folder_or_go_up_through_a_link(study, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    study(*GOOD)
    elsewhere = tmp_path / "deep" / "labels"
    elsewhere.mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(elsewhere)
    lines = changed(2, f"001,{tmp_path}/scans/01.nii.gz,f,34")
    lines[2] = lines[2].replace("scans", "~/scans")
    lines[3:] = [line.replace("scans", "../../scans") for line in lines[3:]]
    (elsewhere / "labels.csv").write_text("\n".join(lines))
    paths = read_labels(Path("~/link/labels.csv"), SEX).table["path"]
    assert list(paths) == [str(tmp_path / "scans" / f"{n:02}.nii.gz") for n in range(1, 7)]


def test_a_missing_image(study):
    path = study(*changed(3, "002,scan/02.nii.gz,f,41"))
    found = problem(path)
    assert found.where == "labels.csv, row 3, column 'path'"
    assert found.found == "there is no file 'scan/02.nii.gz'"
    assert found.expected == "the path of an image (.nii or .nii.gz)"
    assert found.advice == f"Relative paths count from the folder of the labels file, {path.parent}."


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("", "Write where the image is"),
        ("scans/02.nii", "There is '02.nii.gz' beside it"),
        ("scans\\02.nii.gz", "Write / between folders"),
        ("/nowhere/02.nii.gz", "Check the path"),
        ("scans/away.nii.gz", "datalad get"),
        ("scans/02.nii.gz/x.nii.gz", "Relative paths count from"),
        ("~nobody-of-that-name/02.nii.gz", "Check the path"),
        ("x" * 300, "Check the path"),
    ],
)
def test_a_missing_image_comes_with_the_likeliest_reason(study, cell, said):
    path = study(*changed(3, f"002,{cell},f,41"))
    (path.parent / "scans" / "away.nii.gz").symlink_to("annex.nii.gz")
    assert said in problem(path).advice


def test_a_folder_as_image(study):
    found = problem(study(*changed(3, "002,scans,f,41")))
    assert found.where == "labels.csv, row 3, column 'path'"
    assert found.found == "'scans' is a folder"
    assert found.advice == "Name the image inside it, such as scans/01.nii.gz."


def test_the_same_image_twice(study):
    found = problem(study(*GOOD, "001,scans/../scans/01.nii.gz,f,34"))
    assert found.where == "labels.csv, rows 2, 8, column 'path'"
    assert found.found.startswith("the same image in 2 rows: ") and found.found.endswith("scans/01.nii.gz")
    assert found.expected == "one row for each image"


def test_the_same_image_under_two_subjects(study):
    found = problem(study(*GOOD, "777,scans/01.nii.gz,f,34"))
    assert found.found.endswith("under the subjects 001 and 777")
    assert "two sides of a split" in found.advice
