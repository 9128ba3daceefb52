"""Which column is which."""

import pytest
from sound_labels import AGE, GOOD, SEX, problem, problems

from tfmri.cohort.table import read_labels


def test_usual_names_are_recognised_and_noted(study):
    lines = [line + ",HH" for line in GOOD]
    lines[0] = "Participant ID,File-Name,Gender,Age,Centre"
    cohort = read_labels(study(*lines), SEX | AGE)
    assert list(cohort.table["site"]) == ["HH"] * 6
    assert "Age" not in cohort.table
    note = " ".join(cohort.notes)
    for said in ("'Participant ID' as subject", "'File-Name' as path", "'Gender' as sex", "'Centre' as site"):
        assert said in note


def test_columns_can_be_named_and_others_stay_untouched(study):
    lines = [line + end for line, end in zip(GOOD, (",Educ,score", *[",007,n/a"] * 6), strict=True)]
    lines[0] = lines[0].replace("subject", "who")
    cohort = read_labels(study(*lines), SEX, columns={"subject": "who", "education": "Educ"})
    assert list(cohort.table.columns)[6:] == ["sex", "age", "score", "education"]
    assert list(cohort.table["age"])[:2] == ["34", "41.5"]  # no target here, so as it stands in the file
    assert set(cohort.table["education"]) == {"007"}
    assert set(cohort.table["score"]) == {"n/a"}


def test_a_column_is_kept_under_a_name_that_no_other_has(study):
    lines = [line + end for line, end in zip(GOOD, (",scan,file_scan,file_scan_", *[",a,b,c"] * 6), strict=True)]
    cohort = read_labels(study(*lines), SEX)
    assert list(cohort.table.columns)[7:] == ["age", "file_scan__", "file_scan", "file_scan_"]
    assert cohort.table.iloc[0, 8:].tolist() == ["a", "b", "c"]
    assert any("'scan' is kept as 'file_scan__'" in note for note in cohort.notes)


def test_a_column_whose_name_the_settings_give_to_another_is_kept(study):
    lines = [line + end for line, end in zip(GOOD, (",Educ,education", *[",12,high"] * 6), strict=True)]
    table = read_labels(study(*lines), SEX, columns={"education": "Educ"}).table
    assert (table["education"][0], table["file_education"][0]) == ("12", "high")


def test_of_two_columns_for_the_same_thing_the_first_usual_one_is_taken_and_noted(study):
    lines = ["id," + GOOD[0].replace("subject", "participant_id"), *(f"x{n},{x}" for n, x in enumerate(GOOD[1:]))]
    cohort = read_labels(study(*lines), SEX)
    assert cohort.table["subject"][0] == "001"
    assert cohort.table["id"][0] == "x0"
    assert any("'participant_id', not from 'id' (data.columns.subject=id)" in note for note in cohort.notes)


def test_a_column_of_ours_that_means_something_else_is_kept_under_another_name(study):
    lines = [line + end for line, end in zip(GOOD, (",scan", *[",T1"] * 6), strict=True)]
    cohort = read_labels(study(*lines), SEX)
    assert set(cohort.table["file_scan"]) == {"T1"}
    assert any("'scan' is kept as 'file_scan'" in note for note in cohort.notes)


@pytest.mark.parametrize(
    ("header", "rows", "sessions"),
    [
        ("SES", ["a,2", "b,3", "c,", "d,2", "e,1"], ["", "", "", "", ""]),
        ("ses", ["a,low", "b,high", "c,low", "d,low", "e,"], ["", "", "", "", ""]),
        ("SES", ["a,2", "a,2", "c,3", "d,1", "e,"], ["", "", "", "", ""]),
        ("SES,Visit", ["a,2,1", "a,3,2", "c,3,1", "d,1,1", "e,,1"], ["1", "2", "1", "1", "1"]),
        ("ses", ["a,ses-1", "b,ses-1", "c,ses-1", "d,", "e,ses-1"], ["ses-1", "ses-1", "ses-1", "", "ses-1"]),
        ("Ses", ["a,pre", "a,post", "c,pre", "d,pre", "e,pre"], ["pre", "post", "pre", "pre", "pre"]),
    ],
)
def test_ses_is_the_session_where_it_looks_like_one_else_it_may_be_the_socio_economic_status(
    study, header, rows, sessions
):
    lines = [f"{row},scans/0{number}.nii.gz,{sex}" for row, number, sex in zip(rows, range(1, 6), "ffmmf", strict=True)]
    table = read_labels(study(f"subject,{header},path,sex", *lines), SEX).table
    assert list(table["session"]) == sessions
    if header.startswith("SES") or not any(sessions):
        assert list(table[header.partition(",")[0]]) == [row.split(",")[1] for row in rows]


def test_a_target_may_be_the_site(study):
    lines = [line.replace("sex", "scanner") for line in GOOD]
    table = read_labels(study(*lines), {"site": SEX["sex"]}).table
    assert list(table["site"]) == ["f", "f", "f", "m", "m", "m"]
    assert list(table.columns).count("site") == 1


def test_a_missing_column_names_the_nearest_and_the_setting(study):
    found = problem(study("subject,path,sx", "1,scans/01.nii.gz,f", "2,scans/02.nii.gz,m"))
    assert found.where == "labels.csv"
    assert found.found == "no column holds the sex; there are 'subject', 'path', 'sx'"
    assert found.expected == "a column 'sex', also called gender or m/f"
    assert "Did you mean 'sx'" in found.advice and "--set data.columns.sex=sx" in found.advice


def test_a_column_that_has_its_meaning_is_not_guessed_for_another(study):
    found = problem(study("subject,image,sex", "1,scans/01.nii.gz,f"), SEX | AGE)
    assert found.advice.startswith("If it has another name, say so with --set data.columns.age=NAME")


def test_all_missing_columns_are_told_at_once(study):
    found = problems(study("a,b", "1,2"), SEX | AGE)
    assert [x.found.split(";")[0] for x in found] == [
        f"no column holds the {x}" for x in ("sex", "age", "subject", "path")
    ]


def test_a_missing_path_column_points_to_the_one_that_holds_images(study):
    lines = [GOOD[0].replace("path", "mprage"), *GOOD[1:]]
    assert "--set data.columns.path=mprage" in problem(study(*lines)).advice


def test_no_column_is_guessed_to_hold_paths_that_holds_none(study):
    assert "Did you mean" not in problem(study("subject,sex,Age", "1,f,30", "2,m,31")).advice


def test_a_mapping_to_a_column_that_is_not_there(study):
    found = problem(study(*GOOD), columns={"subject": "sbject"})
    assert found.where == "data.columns.subject"
    assert found.found == "labels.csv has no column 'sbject'"
    assert found.expected == "one of 'subject', 'path', 'sex', 'age'"
    assert found.advice == "Did you mean 'subject'?"


def test_a_mapping_of_a_misspelled_name(study):
    found = problem(study(*GOOD), columns={"sesion": "age"})
    assert (found.where, found.advice) == ("data.columns.sesion", "Did you mean 'data.columns.session'?")


def test_a_target_cannot_have_the_name_of_an_id(study):
    assert problem(study(*GOOD), {"scan": None}).where == "targets.scan"
