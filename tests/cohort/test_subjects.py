import csv

import pytest
from spreadsheet import write_xlsx
from trees import fates, joined, tree

from tfmri.cohort.layouts.layout import write_labels
from tfmri.cohort.layouts.subjects import subjects
from tfmri.cohort.table import read_labels
from tfmri.errors import InputError, Problem

SEX = {"sex": {"f": ["f", "female", 2], "m": ["m", "male", 1]}, "age": None}
NOBODY = "no image: no scan of this id"


@pytest.fixture
def study(tmp_path):
    """Three subjects' folders; what is written to people.csv beside them comes back as a path."""
    tree(tmp_path / "data", *(f"Sub_10{n}/T1.nii.gz" for n in (1, 2, 3)))

    def write(*lines: str, name: str = "people.csv"):
        (tmp_path / name).write_text("\n".join(lines) + "\n")
        return tmp_path / "data", tmp_path / name

    return write


def problem(*arguments, **more) -> Problem:
    with pytest.raises(InputError) as caught:
        subjects(*arguments, **more)
    assert len(caught.value.problems) == 1
    return caught.value.problems[0]


def test_folders_are_joined_to_a_table(study):
    layout = subjects(*study("subject,sex,age", "Sub_103,f,30", "Sub_101,m,31", "Sub_102,f,32"))
    assert list(layout.table.columns) == ["subject", "path", "sex", "age"]
    assert joined(layout, "subject", "sex", "age") == [
        ("Sub_101", "m", "31"),
        ("Sub_102", "f", "32"),
        ("Sub_103", "f", "30"),
    ]
    assert layout.lines() == ("3 scans found, 3 joined (3 subjects), 0 dropped",)


def test_a_spreadsheet_with_numbers_for_ids_is_joined_and_said(study, tmp_path):
    root, _ = study("")
    rows = [["Code", "Gender", "Age"], [101.0, 1, 30.5], [102, 2, None], ["0103", 2, 32]]
    layout = subjects(root, write_xlsx(tmp_path / "people.xlsx", {"People": rows}), id="code")
    assert joined(layout, "subject", "Gender", "Age") == [
        ("Sub_101", "1", "30.5"),
        ("Sub_102", "2", ""),
        ("Sub_103", "2", "32"),
    ]
    assert layout.notes == (
        "3 ids are spelled in two ways and taken for the same: "
        "'Sub_101' is '101', 'Sub_102' is '102', 'Sub_103' is '0103'.",
    )


def test_the_usual_names_for_ids_are_known_and_said(study):
    layout = subjects(*study("PTID;sex", "Sub_101;f", "Sub_102;m", "Sub_103;m"))
    assert "people.csv: the ids are taken from column 'PTID'; another is given with --id." in layout.notes


def test_only_the_columns_asked_for_are_taken(study):
    lines = ("subject,sex,age,rater", "Sub_101,f,30,A", "Sub_101,f,30,B", "Sub_102,,n/a,A", "Sub_103,,33,A")
    layout = subjects(*study(*lines), targets=["Sex", "age"])
    assert list(layout.table.columns) == ["subject", "path", "sex", "age"]
    assert fates(layout) == {
        "Sub_101/T1.nii.gz": ("joined", ""),
        "Sub_102/T1.nii.gz": ("dropped", "no label: no sex or age in people.csv"),
        "Sub_103/T1.nii.gz": ("joined", ""),
    }
    assert (
        "people.csv: 1 person has several rows, which agree in sex and age and are taken for one (rows 2-3)."
        in layout.notes
    )
    differ = "repeated: rows of people.csv differ on this person"
    assert fates(subjects(*study(*lines)))["Sub_101/T1.nii.gz"] == ("dropped", differ)


def test_what_is_dropped_is_told_with_the_reason(study, tmp_path):
    root, table = study("id,sex", "Sub_101,f", "Sub_101,m", "102,f", "0102,f", "900,m", "104,f", "nan,f")
    tree(root, "Sub_104/", "logs/", "Sub_105/T1.nii.gz", "Sub_106/T1.nii.gz", "Sub_104b/T1.nii.gz", "sub105/T1.nii.gz")
    (root / "Sub_106" / "T1.nii.gz").write_bytes(b"")
    with table.open("a") as file:
        file.write("Sub_104b,m\n105,m\n106,f\n")
    layout = subjects(root, table)
    alike = "no label: several ids are alike"
    assert fates(layout) == {
        "Sub_101/T1.nii.gz": (
            "dropped",
            "repeated: rows of people.csv differ on this person",
        ),
        "Sub_102/T1.nii.gz": ("dropped", alike),
        "Sub_103/T1.nii.gz": ("dropped", "no label: no row in people.csv"),
        "Sub_104b/T1.nii.gz": ("joined", ""),
        "Sub_105/T1.nii.gz": ("dropped", alike),
        "sub105/T1.nii.gz": ("dropped", alike),
        "Sub_106/T1.nii.gz": ("dropped", "no image: an empty file"),
        "102": ("no scan", NOBODY),
        "0102": ("no scan", NOBODY),
        "900": ("no scan", NOBODY),
        "104": ("no scan", "no image: no scan in the folder"),
        "105": ("no scan", NOBODY),
        "logs": ("no scan", "no image: no scan in the folder"),
    }
    details = layout.report.set_index("item")["detail"]
    assert details["Sub_101/T1.nii.gz"] == "rows 2-3: sex"
    assert details["Sub_102/T1.nii.gz"] == "it may be '102' or '0102'"
    assert details["sub105/T1.nii.gz"] == "'105' may be this or 'Sub_105'"


def test_of_several_scans_of_a_subject_none_is_taken_until_a_pattern_chooses(study):
    root, table = study("subject,sex", "Sub_101,f", "Sub_102,m", "Sub_103,m")
    tree(root, *(f"Sub_10{n}/FLAIR.nii.gz" for n in (1, 2, 3)), *(f"Sub_10{n}/anat/x_T1.nii" for n in (1, 2)))
    found = problem(root, table)
    assert found.found == "none of 8 scans could be joined"
    assert "--pattern, such as 'FLAIR.nii.gz' (fits 3), 'T1.nii.gz' (fits 3), 'x_T1.nii' (fits 2), or" in found.advice
    assert len(subjects(root, table, pattern="T1.nii.gz").table) == 3
    assert [path[-14:] for (path,) in joined(subjects(root, table, pattern="anat/*"), "path")] == ["/anat/x_T1.nii"] * 2
    both = subjects(root, table, pattern="*T1*")
    assert len(both.table) == 5
    assert "2 sessions have several scans that fit '*T1*' (T1.nii.gz, x_T1.nii): kept as further runs." in both.notes
    assert problem(root, table, pattern="*T2*").expected == "a name such as FLAIR.nii.gz, T1.nii.gz, x_T1.nii"


def test_sessions_are_joined_by_session(study):
    root, table = study("id,visit,age", "101,1,60", "101,2,62", "102,baseline,70", "102,month 12,71", "103,1,80")
    tree(root, "Sub_101/ses-1/T1.nii.gz", "Sub_101/ses-02/T1.nii.gz", "Sub_102/Sub_102_baseline_T1.nii.gz")
    for n in (1, 2):
        (root / f"Sub_10{n}" / "T1.nii.gz").unlink()
    layout = subjects(root, table)
    assert joined(layout, "subject", "session", "age") == [
        ("Sub_101", "ses-02", "62"),
        ("Sub_101", "ses-1", "60"),
        ("Sub_102", "baseline", "70"),
        ("Sub_103", "", "80"),
    ]
    assert fates(layout)["102 month 12"] == ("no scan", "no image: no scan of this session")


def test_scans_of_one_name_in_two_folders_are_two_sessions_only_if_the_folders_are_called_so(study):
    root, table = study("id,sex", "101,f", "102,m", "103,m")
    (root / "Sub_101" / "T1.nii.gz").unlink()
    tree(root, "Sub_101/raw/T1.nii.gz", "Sub_101/stripped/T1.nii.gz")
    reason = "repeated: several scans of one session; choose with --pattern"
    assert fates(subjects(root, table))["Sub_101/raw/T1.nii.gz"] == ("dropped", reason)


def test_socio_economic_status_is_no_session(study, tmp_path):
    root, table = study("id,SES,sex,age", "101,2,f,60", "102,3,m,62", "103,,f,61")
    layout = subjects(root, table)
    assert joined(layout, "subject", "SES") == [("Sub_101", "2"), ("Sub_102", "3"), ("Sub_103", "")]
    tree(root, "Sub_104/T1.nii.gz")
    table.write_text(table.read_text() + "104,1,m,64\n")
    write_labels(subjects(root, table).table, tmp_path / "labels.csv")
    assert list(read_labels(tmp_path / "labels.csv", SEX).table["scan"]) == [f"Sub_10{n}" for n in (1, 2, 3, 4)]


def test_rows_that_differ_in_socio_economic_status_are_no_sessions(study):
    layout = subjects(*study("id,SES,sex", "101,2,f", "101,3,f", "102,3,m", "103,1,f"))
    assert fates(layout)["Sub_101/T1.nii.gz"] == ("dropped", "repeated: rows of people.csv differ on this person")
    assert joined(layout, "subject", "SES") == [("Sub_102", "3"), ("Sub_103", "1")]


def test_rows_of_a_person_that_complete_each_other_are_one(study):
    rows = ["101,f,", "101,,31", "102,m,40", "102,m,41", "103,none,50", "103,some,50"]
    layout = subjects(*study("id,drug,age", *rows))
    assert joined(layout, "subject", "drug", "age") == [("Sub_101", "f", "31")]
    details = layout.report.set_index("item")["detail"]
    assert list(details) == ["", "rows 4-5: age", "rows 6-7: drug"]
    assert "people.csv: 3 people have several rows. Those of 1 agree and are taken for one (rows 2-3)." in layout.notes


def test_a_file_beside_the_folder_of_the_same_subject_is_one_more_scan_of_it(study):
    root, table = study("id,sex", "101,f", "102,m", "103,f", "104,m")
    tree(root, "Sub_101_T1.nii.gz", "sub-104.nii.gz")
    layout = subjects(root, table)
    assert [subject for (subject,) in joined(layout, "subject")] == ["sub-104", "Sub_102", "Sub_103"]
    several = ("dropped", "repeated: several scans of one session; choose with --pattern")
    assert fates(layout)["Sub_101_T1.nii.gz"] == fates(layout)["Sub_101/T1.nii.gz"] == several
    assert joined(subjects(root, table, pattern="T1.nii.gz"), "subject")[0] == ("Sub_101",)


def test_a_file_per_subject_will_do(study):
    root, table = study("id,sex", "201,f", "202,m", "101,m")
    tree(root, "Sub_201_T1.nii.gz", "Sub_202_T1.nii.gz")
    layout = subjects(root, table)
    assert joined(layout, "subject", "sex") == [("Sub_201", "f"), ("Sub_202", "m"), ("Sub_101", "m")]
    assert "'Sub_201_T1.nii.gz' is subject 'Sub_201'" in layout.notes[0]


def test_columns_of_the_table_with_our_names_are_kept_apart(study):
    layout = subjects(*study("id,path,subject,sex", "101,x,a,f", "102,y,b,m", "103,z,c,m"), id="id")
    assert list(layout.table.columns) == ["subject", "path", "file_path", "file_subject", "sex"]


@pytest.mark.parametrize(
    ("header", "more", "found", "advice"),
    [
        (
            "name,sex",
            {},
            "no column has a usual name for ids; there are 'name', 'sex'",
            "column 'name', which has 3 of 3",
        ),
        ("name,sex", {"id": "nmae"}, "no column is called 'nmae'", "give --id 'name'"),
        ("id,sex", {"targets": ["gender"]}, "no column is called 'gender'", "The columns are 'id', 'sex'."),
        ("id,sex", {"targets": ["sx"]}, "no column is called 'sx'", "Did you mean --target 'sex'?"),
    ],
)
def test_columns_that_are_not_there_are_told_with_what_may_be_meant(study, header, more, found, advice):
    told = problem(*study(header, "101,f", "102,m", "103,f"), **more)
    assert told.where == "people.csv"
    assert found in told.found and advice in told.advice


def test_a_wrong_id_column_is_told_with_the_right_one(study):
    found = problem(*study("id,code,sex", "1,Sub_101,f", "2,Sub_102,m", "3,Sub_103,m"))
    assert found.found == "none of 3 scans could be joined"
    assert found.advice.startswith("If the ids are those in column 'code', which has 3 of 3, give --id 'code'.")
    assert "3  dropped  no label: no row in people.csv" in found.advice


@pytest.mark.parametrize(
    ("files", "given", "advice"),
    [
        (
            ["all/Sub_1/T1.nii", "all/Sub_2/T1.nii"],
            "",
            "If the subjects' folders are those in {}/all, give that folder.",
        ),
        (["Sub_1/ses-1/T1.nii", "Sub_1/ses-2/T1.nii"], "Sub_1", "folder of one subject, give the folder above it."),
        ([f"group/Sub_{n}_T1.nii" for n in range(5)], "", "lie together in {}/group, give that folder."),
        (["x/T1.nii", "y/T1.nii"], "", "Give the table that belongs to these scans."),
    ],
)
def test_another_tree_is_an_error_that_says_what_it_may_be(tmp_path, files, given, advice):
    tree(tmp_path / "data", *files)
    (tmp_path / "people.csv").write_text("id,sex\n1,f\n2,m\n3,m\n4,f\n")
    found = problem(tmp_path / "data" / given, tmp_path / "people.csv")
    assert "could be joined" in found.found
    assert advice.format(tmp_path / "data") in found.advice


def test_a_table_or_folder_that_is_not_there_is_told(study, tmp_path):
    root, table = study("id,sex", "101,f")
    assert problem(root, tmp_path / "peple.csv").advice == f"Did you mean '{table}'?"
    assert problem(tmp_path / "nowhere", table).found == "there is no such folder"
    assert problem(tree(tmp_path / "empty", "a/", "b/x.mgz"), table).advice.startswith("There are 1 FreeSurfer images")


def test_real_scans_with_a_spreadsheet_become_labels_that_are_read(real_scans, tmp_path):
    with (real_scans / "ds000011-2mm" / "participants.tsv").open() as file:
        people = list(csv.DictReader(file, delimiter="\t"))
    rows = [["Subject No.", "Sex", "Age"]]
    for person in people:
        name = person["participant_id"]
        rows.append([float(name.removeprefix("sub-")), person["sex"], float(person["age"])])
        (tmp_path / "scans" / f"Sub_{name[4:]}").mkdir(parents=True)
        link = tmp_path / "scans" / f"Sub_{name[4:]}" / "T1.nii.gz"
        link.symlink_to(real_scans / "ds000011-2mm" / name / "anat" / f"{name}_T1w.nii.gz")
    table = write_xlsx(tmp_path / "people.xlsx", {"People": rows})
    write_labels(subjects(tmp_path / "scans", table, id="subject no.").table, tmp_path / "labels.csv")
    cohort = read_labels(tmp_path / "labels.csv", SEX).table
    assert list(cohort["subject"]) == [f"Sub_{n:02}" for n in range(1, 11)]
    assert list(cohort["sex"]) == [person["sex"].lower() for person in people]
    assert list(cohort["age"]) == [float(person["age"]) for person in people]


def test_what_a_pattern_leaves_aside_is_told_and_case_does_not_matter(study):
    root, table = study("subject;age", "Sub_101;39,5", "Sub_102;40", "Sub_103;41,25")
    tree(root, "Sub_101/FLAIR.nii.gz", "Sub_104/T1.NII.GZ", "Sub_105/FLAIR.nii.gz")
    layout = subjects(root, table, pattern="t1.nii.gz")
    assert joined(layout, "subject", "age") == [("Sub_101", "39.5"), ("Sub_102", "40"), ("Sub_103", "41.25")]
    assert fates(layout)["Sub_104/T1.NII.GZ"][0] == "dropped"
    for image in ("Sub_101/FLAIR.nii.gz", "Sub_105/FLAIR.nii.gz"):
        assert fates(layout)[image] == ("left aside", "does not fit 't1.nii.gz'")
    assert layout.lines()[0] == "4 scans found, 3 joined (3 subjects), 1 dropped"
    assert any("2  left aside  does not fit" in line for line in layout.lines())
    assert any("decimal commas are written as points" in line for line in layout.lines())
