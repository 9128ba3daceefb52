"""Labels as text: encodings, separators, rows and cells."""

import pytest
from sound_labels import AGE, GOOD, SEX, changed, problem

from tfmri.cohort.sheet import read_sheet
from tfmri.cohort.table import read_labels
from tfmri.errors import InputError


@pytest.mark.parametrize(
    "how",
    [
        {"encoding": "utf-8-sig"},
        {"encoding": "utf-16"},
        {"end": "\r\n"},
        {"end": "\r"},
    ],
)
def test_what_programs_write_around_a_table_does_not_matter(study, how):
    table = read_labels(study(*GOOD), SEX | AGE).table
    assert read_labels(study(*GOOD, name="other.csv", **how), SEX | AGE).table.equals(table)


@pytest.mark.parametrize(
    ("sign", "name"), [(";", "other.csv"), ("\t", "other.csv"), ("\t", "other.tsv"), (",", "o.tsv")]
)
def test_commas_semicolons_and_tabs_separate(study, sign, name):
    table = read_labels(study(*GOOD), SEX | AGE).table
    assert read_labels(study(*(x.replace(",", sign) for x in GOOD), name=name), SEX | AGE).table.equals(table)


def test_spaces_empty_rows_and_empty_columns_do_not_matter(study):
    table = read_labels(study(*GOOD), SEX | AGE).table
    lines = [line.replace(",", " , ") + ",," for line in GOOD]
    path = study(*lines[:3], "", ",,,,,", *lines[3:], ",,,,,", " , ", "", name="other.csv")
    assert read_labels(path, SEX | AGE).table.equals(table)


def test_letters_of_windows_are_read_and_noted(study):
    path = study("subject,path,sex,site", *(x[: x.rfind(",")] + ",Köln" for x in GOOD[1:]), encoding="cp1252")
    cohort = read_labels(path, SEX)
    assert set(cohort.table["site"]) == {"Köln"}
    assert any("Windows-1252" in note for note in cohort.notes)


def test_the_tables_of_real_datasets_are_read(real_scans):
    for name, count in (("ds002748-2mm", 48), ("ds000011-2mm", 10)):
        with pytest.raises(InputError, match="no column holds the path"):
            read_labels(real_scans / name / "participants.tsv", SEX)
        assert len(read_sheet(real_scans / name / "participants.tsv").cells) == count


def test_a_missing_file(study):
    study(*GOOD)
    found = problem(study().parent / "lables.csv")
    assert found.where.endswith("lables.csv")
    assert found.found == "there is no such file"
    assert found.advice.startswith("Did you mean '") and found.advice.endswith("labels.csv'?")


def test_a_folder_instead_of_a_file(tmp_path):
    found = problem(tmp_path)
    assert (found.where, found.found) == (str(tmp_path), "this is a folder")
    assert found.expected == "a .csv, .tsv, .xls or .xlsx file"


def test_a_file_that_is_no_table(study):
    path = study(*GOOD)
    path.write_bytes((path.parent / "scans" / "01.nii.gz").read_bytes())
    found = problem(path)
    assert found.found == "this is neither a text file nor a spreadsheet"
    assert "CSV UTF-8" in found.advice


@pytest.mark.parametrize(
    ("lines", "said"),
    [([], "the file is empty"), (["", ",,"], "the file is empty"), ([GOOD[0], ",,,"], "there are no rows below")],
)
def test_no_rows(study, lines, said):
    found = problem(study(*lines))
    assert said in found.found
    assert found.expected == "a header and one row for each scan"


def test_a_file_without_a_header(study):
    found = problem(study(*GOOD[1:]))
    assert (found.where, found.found) == ("labels.csv, row 1", "this row names an image")
    assert found.advice.endswith("such as sex, subject, path.")


def test_a_column_name_that_stands_twice(study):
    found = problem(study(*(line + line[line.rfind(",") :] for line in GOOD)))
    assert found.where == "labels.csv, row 1"
    assert found.found == "the column name 'age' stands 2 times (columns D and E)"
    assert found.advice.startswith("Rename or delete")


def test_a_row_with_more_cells_than_the_header(study):
    found = problem(study(*changed(4, "003,scans/03.nii.gz,f,34,5")))
    assert found.where == "labels.csv, row 4"
    assert found.found == "5 cells, more than the 4 columns of the header"
    assert found.expected == "4 cells"
    assert "(34,5)" in found.advice


def test_a_quotation_mark_without_its_pair(study):
    found = problem(study(*changed(4, '003,"scans/03.nii.gz,f,34')))
    assert "quotation marks do not pair up" in found.found
    assert found.where.startswith("labels.csv, line ")


def test_rows_are_counted_as_a_spreadsheet_does(study):
    path = study(GOOD[0], GOOD[1], "", '002,scans/02.nii.gz,"f",41', *GOOD[3:6], "", "006,scans/06.nii.gz,x,33")
    assert problem(path).where == "labels.csv, row 9, column 'sex'"


def test_a_file_that_cannot_be_read(study):
    found = problem(study(*GOOD) / "labels.csv")
    assert found.found == "the file cannot be read: Not a directory"
