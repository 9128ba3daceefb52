import csv
from pathlib import Path

import pytest
from trees import fates, joined, tree

from tfmri.cohort.layouts.folders import folders
from tfmri.cohort.layouts.layout import write_labels
from tfmri.cohort.layouts.names import Name, read_name
from tfmri.cohort.table import read_labels
from tfmri.errors import InputError, Problem

SEX = {"sex": {"f": ["f", "female", 2], "m": ["m", "male", 1]}}


def problems(*arguments, **more) -> tuple[Problem, ...]:
    with pytest.raises(InputError) as caught:
        folders(*arguments, **more)
    return caught.value.problems


@pytest.mark.parametrize(
    ("name", "subject", "session", "run"),
    [
        ("Sub_101_T1", "Sub_101", "", ""),
        ("101", "101", "", ""),
        ("T1_101", "101", "", ""),
        ("Sub_101_T1_brain_n4", "Sub_101", "", ""),
        ("Sub_101_ses-2_T1", "Sub_101", "ses-2", ""),
        ("Sub_101_T1_ses-2", "Sub_101", "ses-2", ""),
        ("sub-101_ses-pre_run-2_T1w", "sub-101", "ses-pre", "run-2"),
        ("OAS1_0001_MR1_mpr-1_anon", "OAS1_0001", "MR1", ""),
        ("IXI012-HH-1211-T1", "IXI012-HH-1211", "", ""),
        ("002_S_0413_m06_MPRAGE", "002_S_0413", "m06", ""),
        ("101_20190501_T1", "101", "20190501", ""),
        ("101_baseline", "101", "baseline", ""),
        ("Sub_M12_T1", "Sub_M12", "", ""),
        ("CC110033_T1w.v2", "CC110033", "v2", ""),
        ("101_3T_T1", "101", "", ""),
        ("Sub101T1", "Sub101T1", "", ""),
    ],
)
def test_who_and_when_is_read_from_a_files_name(name, subject, session, run):
    assert read_name(Path(name + ".nii.gz")) == Name(subject, session, run)


def test_scans_are_found_with_their_class_by_subject(tmp_path):
    tree(tmp_path, "Females/Sub_101_T1.nii.gz", "Females/Sub_103_T1.nii", "Males/Sub_102_T1.nii.gz", "notes.txt")
    layout = folders(tmp_path)
    assert list(layout.table.columns) == ["subject", "path", "sex"]
    assert joined(layout, "subject", "sex") == [("Sub_101", "f"), ("Sub_102", "m"), ("Sub_103", "f")]
    assert layout.table["path"][0] == str(tmp_path / "Females/Sub_101_T1.nii.gz")
    assert layout.lines() == (
        "3 scans found, 3 joined (3 subjects), 0 dropped",
        "The class stands in column 'sex': 'Females' as 'f' (2), 'Males' as 'm' (1).",
        "Ids are read from the names: 'Females/Sub_101_T1.nii.gz' is subject 'Sub_101'.",
    )


@pytest.mark.parametrize(
    ("names", "column", "classes"),
    [
        (("FEMALE", "male"), "sex", ["f", "m"]),
        (("Men", "women"), "sex", ["m", "f"]),
        (("1_Female", "2_Male"), "sex", ["f", "m"]),
        (("AD", "CN", "MCI"), "diagnosis", ["dementia", "healthy", "MCI"]),
        (("Healthy Controls", "alzheimer's"), "diagnosis", ["healthy", "dementia"]),
        (("Controls", "Patients"), "group", ["Controls", "Patients"]),
        (("Females", "Males", "Unclear"), "group", ["Females", "Males", "Unclear"]),
    ],
)
def test_classes_have_their_usual_names_where_the_folders_are_called_so(tmp_path, names, column, classes):
    layout = folders(tree(tmp_path, *(f"{name}/Sub_{number}.nii.gz" for number, name in enumerate(names))))
    assert list(layout.table[column]) == classes


def test_the_column_can_be_called_otherwise(tmp_path):
    tree(tmp_path, "Females/1.nii.gz", "Males/2.nii.gz")
    assert joined(folders(tmp_path, target="gender"), "subject", "gender") == [("1", "Females"), ("2", "Males")]
    assert joined(folders(tmp_path, target="sex"), "sex") == [("f",), ("m",)]
    assert "'path' is a column of its own" in problems(tmp_path, target="path")[0].found


def test_folders_that_differ_in_case_only_are_one_class_and_said(tmp_path):
    layout = folders(tree(tmp_path, "Patients/1.nii.gz", "patients/2.nii.gz", "Controls/3.nii.gz"))
    assert joined(layout, "subject", "group") == [("1", "Patients"), ("2", "Patients"), ("3", "Controls")]
    assert "'Patients' and 'patients' as 'Patients' (2)" in layout.notes[0]


def test_the_same_subject_in_two_classes_is_an_error_that_lists_them(tmp_path):
    tree(tmp_path, "Females/Sub_101_T1.nii.gz", "Females/Sub_102_T1.nii.gz", "Females/Sub_7.nii.gz")
    tree(tmp_path, "Males/Sub_101_T1.nii.gz", "Males/sub-0102_ses-2_T1.nii.gz", "Males/Sub_8.nii.gz")
    first, second = problems(tmp_path)
    assert first.where == "Females/Sub_101_T1.nii.gz and Males/Sub_101_T1.nii.gz"
    assert first.found == "subject 'Sub_101' is in 2 classes"
    assert second.found == "subject 'Sub_102' and 'sub-0102' is in 2 classes"
    assert "different names" in second.advice


def test_very_many_such_subjects_are_counted_instead(tmp_path):
    names = [f"{folder}/{number}.nii.gz" for folder in ("A", "B") for number in range(100)]
    found = problems(tree(tmp_path, *names))
    assert len(found) == 21 and found[-1].found == "80 more subjects are in several classes"


def test_a_folder_below_the_class_is_a_subject_and_one_below_that_a_session(tmp_path):
    tree(tmp_path, "f/Sub_1/ses-1/anat/T1.nii.gz", "f/Sub_1/ses-2/anat/T1.nii.gz", "m/T1/Sub_2_run-1_T1.nii.gz")
    tree(tmp_path, "m/T1/Sub_2_run-2_T1.nii.gz")
    layout = folders(tmp_path)
    assert joined(layout, "subject", "session", "run", "sex") == [
        ("Sub_1", "ses-1", "", "f"),
        ("Sub_1", "ses-2", "", "f"),
        ("Sub_2", "", "run-1", "m"),
        ("Sub_2", "", "run-2", "m"),
    ]


def test_files_and_folders_of_subjects_may_stand_side_by_side(tmp_path):
    tree(tmp_path, "AD/Sub_1/T1.nii.gz", "AD/Sub_2_T1.nii.gz", "CN/Sub_3/scan/Sub_3_T1.nii.gz", "CN/Sub_4.nii.gz")
    layout = folders(tmp_path)
    assert sorted(joined(layout, "subject", "diagnosis")) == [
        ("Sub_1", "dementia"),
        ("Sub_2", "dementia"),
        ("Sub_3", "healthy"),
        ("Sub_4", "healthy"),
    ]
    assert layout.notes[-1] == "Ids are read from the names: 'AD/Sub_1/T1.nii.gz' is subject 'Sub_1'."
    tree(tmp_path, "AD/Sub_1_T1.nii.gz")
    several = ("dropped", "repeated: several scans of one session; choose with --pattern")
    assert fates(folders(tmp_path))["AD/Sub_1_T1.nii.gz"] == fates(folders(tmp_path))["AD/Sub_1/T1.nii.gz"] == several


@pytest.mark.parametrize(
    ("files", "subjects"),
    [
        (["f/nifti/Sub_1.nii.gz", "f/nifti/Sub_3.nii.gz", "m/nifti/Sub_2.nii.gz"], ["Sub_1", "Sub_2", "Sub_3"]),
        (["f/Guys/1_T1.nii", "f/Guys/3_T1.nii", "f/HH/5.nii", "f/HH/7.nii", "m/2.nii"], ["1", "2", "3", "5", "7"]),
        (["f/Anna/T1.nii", "f/Eva/scan.nii", "m/Otto/mprage_1.nii"], ["Anna", "Eva", "Otto"]),
        (["f/002_S_1/MPRAGE/2006-05-01/S13.nii", "m/003_S_2/MPRAGE/2006-05-02/S14.nii"], ["002_S_1", "003_S_2"]),
    ],
)
def test_a_folder_below_the_class_that_holds_several_people_is_nobody(tmp_path, files, subjects):
    assert [subject for (subject,) in joined(folders(tree(tmp_path, *files)), "subject")] == subjects


def test_of_several_scans_of_a_session_none_is_taken_until_a_pattern_chooses(tmp_path):
    names = [f"{sex}/Sub_{n}_{kind}.nii.gz" for n, sex in enumerate("ffmm") for kind in ("T1", "FLAIR")]
    tree(tmp_path, *names, "f/Sub_9_T1.nii.gz")
    found = problems(tmp_path)[0]
    assert found.found == "only scans of 'f' could be taken"
    assert "8  dropped  repeated: several scans of one session; choose with --pattern" in found.advice
    assert "--pattern, such as '*_T1.nii.gz' (fits 5), '*_FLAIR.nii.gz' (fits 4), or" in found.advice
    assert joined(folders(tmp_path, pattern="*_T1.nii.gz"), "subject", "sex") == [
        ("Sub_0", "f"),
        ("Sub_1", "f"),
        ("Sub_2", "m"),
        ("Sub_3", "m"),
        ("Sub_9", "f"),
    ]
    assert problems(tmp_path, pattern="*_t1.nii")[0].where == "--pattern"


def test_what_is_no_scan_is_told_or_passed_over(tmp_path):
    tree(
        tmp_path,
        "f/1.nii.gz",
        "f/1.nii",
        "f/._1.nii.gz",
        "m/2.nii.gz",
        "m/3.nii.gz",
        "4.nii.gz",
        "empty/",
        ".git/5.nii",
    )
    (tmp_path / "m" / "3.nii.gz").write_bytes(b"")
    assert fates(folders(tmp_path)) == {
        "f/1.nii": ("dropped", "repeated: the same scan is there as .nii.gz"),
        "f/1.nii.gz": ("joined", ""),
        "m/2.nii.gz": ("joined", ""),
        "m/3.nii.gz": ("dropped", "no image: an empty file"),
        "4.nii.gz": ("dropped", "no label: in no folder of a class"),
        "empty": ("no scan", "no image: no scan in the folder"),
    }


def test_subjects_that_look_alike_within_a_class_are_told(tmp_path):
    layout = folders(tree(tmp_path, "f/Sub_1.nii.gz", "f/sub-01_ses-2.nii.gz", "m/2.nii.gz"))
    assert layout.notes[-1].startswith("Look alike, but count as different subjects: 'Sub_1' and 'sub-01'.")


@pytest.mark.parametrize(
    ("files", "given", "found", "advice"),
    [
        (
            ["data/F/1.nii.gz", "data/M/2.nii.gz"],
            "",
            "only 'data' has scans",
            "Give {}/data, which has the folders F, M.",
        ),
        (["F/1.nii.gz", "M/2.nii.gz"], "F", "the scans lie in this folder itself", "Give the folder above it"),
        (
            ["HH/F/1.nii", "HH/M/2.nii", "Guys/F/3.nii", "Guys/M/4.nii"],
            "",
            "lie one level deeper, in Guys",
            "Give {}/Guys",
        ),
        (["Sub_1/T1.nii", "Sub_2/T1.nii", "Sub_3/T1.nii"], "", "called like people", "tfmri labels subjects"),
        (["F/1.dcm", "F/2.dcm", "M/3.dcm"], "", "there are no images", "There are 3 DICOM files"),
        (["F/1.hdr", "F/1.img", "M/3.txt"], "", "there are no images", "Analyze images"),
        (["F/", "M/"], "", "there are no images", "For other layouts"),
        (["F/1.nii.gz", "M/2.nii.gz"], "X", "there is no such folder", "Check the path"),
        (["F/1.nii.gz", "M/2.nii.gz"], "F/1.nii.gz", "this is a file", "Check the path"),
    ],
)
def test_another_tree_is_an_error_that_says_what_it_may_be(tmp_path, files, given, found, advice):
    tree(tmp_path, *files)
    problem = problems(tmp_path / given)[0]
    assert problem.where == str(tmp_path / given)
    assert found in problem.found
    assert advice.format(tmp_path) in problem.advice
    assert problem.expected.startswith("a folder for each class")


def test_real_scans_by_sex_become_labels_that_are_read(real_scans, tmp_path):
    with (real_scans / "ds002748-2mm" / "participants.tsv").open() as file:
        people = list(csv.DictReader(file, delimiter="\t"))
    for person in people:
        name = person["participant_id"]
        link = tmp_path / {"f": "Females", "m": "Males"}[person["gender"]] / f"{name.replace('sub-', 'Sub_')}_T1.nii.gz"
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(real_scans / "ds002748-2mm" / name / "anat" / f"{name}_T1w.nii.gz")
    write_labels(folders(tmp_path).table, tmp_path / "labels.csv")
    table = read_labels(tmp_path / "labels.csv", SEX).table
    expected = {person["participant_id"].replace("sub-", "Sub_"): person["gender"] for person in people}
    assert dict(zip(table["subject"], table["sex"], strict=True)) == expected
