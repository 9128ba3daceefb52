from pathlib import Path

import pytest

from tfmri.cohort.sheet import read_sheet
from tfmri.cohort.table import read_labels
from tfmri.errors import InputError, Problem

SEX = {"sex": {"f": ["female", 2], "m": ["male", 1]}}
AGE = {"age": None}
GOOD = (
    "subject,path,sex,age",
    "001,scans/01.nii.gz,f,34",
    "002,scans/02.nii.gz,Female,41.5",
    "003,scans/03.nii.gz,2.0,29",
    "004,scans/04.nii.gz,m,50",
    "005,scans/05.nii.gz,MALE,61",
    "006,scans/06.nii.gz,1,33",
)


def changed(row: int, line: str) -> list[str]:
    """The good lines with another one in this row, as a spreadsheet counts."""
    return [*GOOD[: row - 1], line, *GOOD[row:]]


def problems(path: Path, targets=SEX, **settings) -> list[Problem]:
    with pytest.raises(InputError) as caught:
        read_labels(path, targets, **settings)
    return list(caught.value.problems)


def problem(path: Path, targets=SEX, **settings) -> Problem:
    found = problems(path, targets, **settings)
    assert len(found) == 1, found
    return found[0]


# What is read


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


def test_sessions_and_runs_give_each_scan_a_name_of_its_own_whatever_the_row_order(study):
    lines = ["subject,ses,path,sex", "a,1,scans/01.nii.gz,f", "a,2,scans/02.nii.gz,f", "a,2,scans/03.nii.gz,f"]
    lines += ["b,,scans/04.nii.gz,m", "b,,scans/05.nii.gz,m", "c,1,scans/06.nii.gz,m", "d,1,scans/07.nii.gz,f"]
    expected = ["a_1", "a_2", "a_2_run-2", "b", "b_run-2", "c_1", "d_1"]
    assert list(read_labels(study(*lines), SEX).table["scan"]) == expected
    assert list(read_labels(study(lines[0], *lines[:0:-1]), SEX).table["scan"]) == expected[::-1]


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


def test_scan_names_that_would_meet_by_chance_still_differ(study):
    lines = ["subject,session,path,sex", "a,b,scans/01.nii.gz,f", "a_b,,scans/02.nii.gz,f"]
    lines += ["a_b,run-2,scans/03.nii.gz,f", "c,,scans/04.nii.gz,m", "d,,scans/05.nii.gz,m"]
    assert read_labels(study(*lines), SEX).table["scan"].is_unique


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


def test_a_class_too_small_for_three_splits_is_noted(study):
    notes = read_labels(study(*GOOD[:-1]), SEX).notes
    assert any("class 'm' of sex has 2 subjects" in note for note in notes)


def test_a_target_may_be_the_site(study):
    lines = [line.replace("sex", "scanner") for line in GOOD]
    table = read_labels(study(*lines), {"site": SEX["sex"]}).table
    assert list(table["site"]) == ["f", "f", "f", "m", "m", "m"]
    assert list(table.columns).count("site") == 1


def test_the_tables_of_real_datasets_are_read(real_scans):
    for name, count in (("ds002748-2mm", 48), ("ds000011-2mm", 10)):
        with pytest.raises(InputError, match="no column holds the path"):
            read_labels(real_scans / name / "participants.tsv", SEX)
        assert len(read_sheet(real_scans / name / "participants.tsv").cells) == count


# What is refused, and how


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


def test_a_file_without_a_header(study):
    found = problem(study(*GOOD[1:]))
    assert (found.where, found.found) == ("labels.csv, row 1", "this row names an image")
    assert found.advice.endswith("such as sex, subject, path.")


def test_a_mapping_to_a_column_that_is_not_there(study):
    found = problem(study(*GOOD), columns={"subject": "sbject"})
    assert found.where == "data.columns.subject"
    assert found.found == "labels.csv has no column 'sbject'"
    assert found.expected == "one of 'subject', 'path', 'sex', 'age'"
    assert found.advice == "Did you mean 'subject'?"


def test_a_mapping_of_a_misspelled_name(study):
    found = problem(study(*GOOD), columns={"sesion": "age"})
    assert (found.where, found.advice) == ("data.columns.sesion", "Did you mean 'data.columns.session'?")


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


def test_a_missing_subject(study):
    found = problem(study(*changed(3, "n/a,scans/02.nii.gz,f,41")))
    assert found.where == "labels.csv, row 3, column 'subject'"
    assert (found.found, found.expected) == ("no subject", "an id")
    assert "cannot be kept together" in found.advice


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


def test_the_same_image_twice(study):
    found = problem(study(*GOOD, "001,scans/../scans/01.nii.gz,f,34"))
    assert found.where == "labels.csv, rows 2, 8, column 'path'"
    assert found.found.startswith("the same image in 2 rows: ") and found.found.endswith("scans/01.nii.gz")
    assert found.expected == "one row for each image"


def test_the_same_image_under_two_subjects(study):
    found = problem(study(*GOOD, "777,scans/01.nii.gz,f,34"))
    assert found.found.endswith("under the subjects 001 and 777")
    assert "two sides of a split" in found.advice


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


def test_a_target_cannot_have_the_name_of_an_id(study):
    assert problem(study(*GOOD), {"scan": None}).where == "targets.scan"


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


def test_a_file_that_cannot_be_read(study):
    found = problem(study(*GOOD) / "labels.csv")
    assert found.found == "the file cannot be read: Not a directory"
