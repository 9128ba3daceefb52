"""The table of scans as a whole: `where`, splits, and all mistakes at once."""

import pytest
from sound_labels import AGE, GOOD, SEX, problem, problems

from tfmri.cohort.table import read_labels


def test_a_sound_file_becomes_a_table_of_scans(study):
    path = study(*GOOD)
    cohort = read_labels(path, SEX | AGE)
    table = cohort.table
    assert list(table.columns) == ["subject", "session", "scan", "path", "site", "split", "sex", "age"]
    assert list(table["subject"]) == ["001", "002", "003", "004", "005", "006"]
    assert list(table["scan"]) == list(table["subject"])
    assert list(table["sex"]) == ["f", "f", "f", "m", "m", "m"]
    assert list(table["age"]) == [34, 41.5, 29, 50, 61, 33]
    assert table["path"][0] == str(path.parent / "scans" / "01.nii.gz")
    assert set(table["session"]) == set(table["site"]) == set(table["split"]) == {""}
    assert list(table.index) == list(range(6))
    assert cohort.notes == ()


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("age > 40", ["002", "004", "005"]),
        ("gender == 'm'", ["004", "005"]),  # under the file's name
        ("sex == 'm' or gender == 'Female'", ["002", "004", "005"]),  # under ours, and as it is spelled in the file
        ("subject != '001' and subject < '004'", ["002", "003"]),
        ("`hand used` == 'left'", ["005", "006"]),
        ("score >= 2", ["003", "004"]),  # n/a is no number, the others are
    ],
)
def test_where_keeps_the_rows_of_a_query(study, where, kept):
    ends = [",hand used,score", ",right,1", ",right,n/a", ",right,2", ",right,3", ",left,-1", ",left,"]
    lines = [line + end for line, end in zip(GOOD, ends, strict=True)]
    lines[0] = lines[0].replace("sex", "gender")
    lines[5:] = [line.replace("MALE", "m") for line in lines[5:]]
    cohort = read_labels(study(*lines), AGE, columns={"sex": "gender"}, where=where)
    assert list(cohort.table["subject"]) == kept
    assert f"labels.csv: {len(kept)} of 6 rows are kept by where: {where}" in cohort.notes


def test_rows_that_where_leaves_out_may_be_wrong(study):
    path = study(*GOOD, "007,no-such-file.nii.gz,other,", "007,,other,")
    assert len(read_labels(path, SEX, where="sex != 'other'").table) == 6


def test_the_files_own_split_is_read_in_its_usual_spellings(study):
    words = ("split", "Train", "training", "VAL", "dev", "holdout", "test")
    cohort = read_labels(study(*(f"{x},{word}" for x, word in zip(GOOD, words, strict=True))), SEX)
    assert list(cohort.table["split"]) == ["train", "train", "validation", "validation", "test", "test"]
    assert cohort.notes == ()


def test_an_empty_split_column_says_nothing_and_one_that_names_two_is_noted(study):
    lines = [line + "," for line in GOOD]
    lines[0] += "split"
    assert set(read_labels(study(*lines), SEX).table["split"]) == {""}
    lines[1:] = [line + ("test" if line < "003" else "train") for line in lines[1:]]
    assert any("validation will be cut from train" in note for note in read_labels(study(*lines), SEX).notes)


def test_the_way_from_all_rows_to_the_cohort_is_counted(study):
    lines = [*GOOD, "001,scans/07.nii.gz,,35", "007,scans/08.nii.gz,f,80"]
    cohort = read_labels(study(*lines), SEX, where="age < 70")
    assert [(each.name, each.rows, each.subjects) for each in cohort.flow] == [
        ("in labels.csv", 8, 7), ("where age < 70", 7, 6), ("with sex", 6, 6)
    ]  # fmt: skip
    assert len(cohort.table) == cohort.flow[-1].rows


def test_an_unknown_split(study):
    lines = [f"{x},{word}" for x, word in zip(GOOD, ("split", *["train"] * 4, "tset", "test"), strict=True)]
    found = problem(study(*lines))
    assert found.where == "labels.csv, row 6, column 'split'"
    assert found.found == "unknown value 'tset'"
    assert "'validation' (val, valid, dev" in found.expected


def test_a_split_that_is_filled_in_part(study):
    lines = [f"{x},{word}" for x, word in zip(GOOD, ("split", *["train"] * 3, "", "", "test"), strict=True)]
    found = problem(study(*lines))
    assert found.where == "labels.csv, rows 5-6, column 'split'"
    assert found.found == "no split, though other rows have one"
    assert "Fill in all of them, or empty the column" in found.advice


def test_a_subject_in_two_splits(study):
    lines = [f"{x},{word}" for x, word in zip(GOOD, ("split", *["train"] * 4, "test", "test"), strict=True)]
    found = problem(study(*lines, "005,scans/07.nii.gz,m,62,train"))
    assert found.where == "labels.csv, rows 6, 8, column 'split'"
    assert found.found == "subject '005' is in test (row 6) and in train (row 8)"
    assert found.expected == "all scans of a subject in one split"


@pytest.mark.parametrize(
    ("where", "said", "advice"),
    [
        ("aeg > 30", "name 'aeg' is not defined", "The columns are subject, path, sex, age"),
        ("age >", "fails", "Text stands in quotes"),
        ("sex > 3", "fails", "Text stands in quotes"),
        ("age = 3", "is not a question of yes or no", "write == and not ="),
        ("age + 1", "is not a question of yes or no", "Compare"),
        ("age > 100", "leaves none of the 6 rows", "numbers stand without quotes"),
        ("subject == 1", "leaves none of the 6 rows", "ids in quotes"),
        ("@os.getcwd() == 'x'", "fails", "Text stands in quotes"),
    ],
)
def test_a_where_that_fails_or_keeps_nothing(study, where, said, advice):
    found = problem(study(*GOOD), where=where)
    assert found.where == "data.where"
    assert where in found.found and said in found.found
    assert advice in found.advice


def test_all_problems_of_a_file_are_told_at_once(study):
    lines = ["subject,path,sex,age,split", "001,scans/01.nii.gz,f,34,train", "002,nowhere.nii.gz,q,forty,train"]
    lines += [",scans/03.nii.gz,f,29,training", "004,scans,m,50,tets", "001,scans/01.nii.gz,f,34,test"]
    wheres = {x.where.removeprefix("labels.csv, ") for x in problems(study(*lines), SEX | AGE)}
    assert wheres == {
        "row 3, column 'sex'",
        "row 3, column 'age'",
        "row 4, column 'subject'",
        "row 3, column 'path'",
        "row 5, column 'path'",
        "rows 2, 6, column 'path'",
        "row 5, column 'split'",
        "rows 2, 6, column 'split'",
    }


def test_hundreds_of_faults_of_a_kind_share_a_line_that_names_their_rows(study):
    lines = [f"{n},gone/{n}.nii.gz,{'fm'[n % 2]}" for n in range(300)]
    found = problems(study("subject,path,sex", *lines))
    assert len(found) == 21
    assert found[-1].where == "labels.csv, rows 22-301, column 'path'"
    assert found[-1].found == "the same kind of mistake in 280 more rows"
