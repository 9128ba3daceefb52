"""Cells: missing ones, classes and numbers."""

import pytest
from sound_labels import AGE, GOOD, SEX, changed, problem

from tfmri.cohort.table import read_labels


def test_a_decimal_comma_is_read_where_semicolons_separate(study):
    lines = [line.replace(",", ";").replace("41.5", "41,5") for line in GOOD]
    assert read_labels(study(*lines), AGE).table["age"][1] == 41.5


@pytest.mark.parametrize("word", ["", "n/a", "NaN", "NA", "none", "Unknown"])
def test_rows_without_the_target_are_left_out_and_noted(study, word):
    cohort = read_labels(study(*changed(3, f"002,scans/no-such-file.nii.gz,{word},41")), SEX)
    assert list(cohort.table["subject"]) == ["001", "003", "004", "005", "006"]
    assert "labels.csv, row 3: no sex, so left out (1 of 6 rows)." in cohort.notes


def test_a_word_for_missing_can_be_a_class(study):
    classes = {"drug": {"none": [], "some": ["yes"]}}
    words = ("drug", "none", "None", "yes", "some", "yes", "")
    table = read_labels(study(*(f"{x},{word}" for x, word in zip(GOOD, words, strict=True))), classes).table
    assert list(table["drug"]) == ["none", "none", "some", "some", "some"]


def test_a_class_too_small_for_three_splits_is_noted(study):
    notes = read_labels(study(*GOOD[:-1]), SEX).notes
    assert any("class 'm' of sex has 2 subjects" in note for note in notes)


def test_a_missing_subject(study):
    found = problem(study(*changed(3, "n/a,scans/02.nii.gz,f,41")))
    assert found.where == "labels.csv, row 3, column 'subject'"
    assert (found.found, found.expected) == ("no subject", "an id")
    assert "cannot be kept together" in found.advice


def test_an_unknown_spelling_of_a_class(study):
    found = problem(study(*changed(3, "002,scans/02.nii.gz,femal,41")))
    assert found.where == "labels.csv, row 3, column 'sex'"
    assert found.found == "unknown value 'femal'"
    assert found.expected == "'f' (female, 2) or 'm' (male, 1)"
    assert found.advice.startswith("Did you mean 'female'? Correct it, or add the spelling to targets.sex.classes")


def test_the_same_unknown_spelling_is_told_once_with_all_its_rows(study):
    found = problem(study(*(line.replace(",f,", ",w,").replace("2.0", "w").replace("Female", "w") for line in GOOD)))
    assert found.where == "labels.csv, rows 2-4, column 'sex'"


def test_a_spelling_of_two_classes_is_refused(study):
    found = problem(study(*GOOD), {"sex": {"f": ["1"], "m": [1.0]}})
    assert found.where == "targets.sex.classes"
    assert found.found == "'1.0' is a spelling of both 'f' and 'm'"


@pytest.mark.parametrize("cell", ["about 40", "inf", "1_000", "040Y", "12.5.2010"])
def test_a_target_that_is_no_number(study, cell):
    found = problem(study(*changed(3, f"002,scans/02.nii.gz,f,{cell}")), AGE)
    assert found.where == "labels.csv, row 3, column 'age'"
    assert found.found == f"'{cell}' is not a number"
    assert found.expected == "a number such as 34 or 34.5"
    assert "leave it empty where the value is unknown" in found.advice


def test_a_decimal_comma_is_told_as_such(study):
    found = problem(study(*changed(3, '002,scans/02.nii.gz,f,"41,5"')), AGE)
    assert found.found == "'41,5' is not a number"
    assert found.advice == "This looks like a decimal comma: write 41.5, with a point."


def test_a_number_that_is_the_same_for_all(study):
    lines = [GOOD[0], *(line[: line.rfind(",") + 1] + "34" for line in GOOD[1:])]
    assert problem(study(*lines), AGE).found == "all 6 rows hold 34"


def test_one_class_only(study):
    found = problem(study(*GOOD[:4]))
    assert found.where == "labels.csv, column 'sex'"
    assert found.found == "all 3 rows are 'f'"
    assert found.expected == "at least two of f, m"


def test_a_class_with_one_subject_even_if_it_has_two_scans(study):
    found = problem(study(*GOOD[:5], "004,scans/05.nii.gz,m,51"))
    assert found.where == "labels.csv, rows 5-6, column 'sex'"
    assert (found.found, found.expected) == ("class 'm' has one subject", "at least 2 subjects")
    assert "leave the class out of targets.sex.classes" in found.advice


def test_a_class_without_subjects(study):
    found = problem(study(*GOOD), {"sex": SEX["sex"] | {"x": ["other"]}})
    assert (found.where, found.found) == ("labels.csv, column 'sex'", "class 'x' has no subject")


def test_no_row_with_the_target(study):
    found = problem(study(GOOD[0], *(line[: line.rfind(",") + 1] for line in GOOD[1:])), AGE)
    assert (found.where, found.found) == ("labels.csv, column 'age'", "all 6 rows are without age")


def test_no_row_with_all_targets(study):
    lines = changed(2, "001,scans/01.nii.gz,f,")
    lines[2:] = [f"{n:03},scans/{n:02}.nii.gz,,30" for n in range(2, 7)]
    assert problem(study(*lines), SEX | AGE).found == "no row has all of sex, age"
