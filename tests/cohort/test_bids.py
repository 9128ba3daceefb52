import re
import shutil
from pathlib import Path

import pytest
from trees import fates, tree

from tfmri.cohort.layouts.bids import bids
from tfmri.cohort.layouts.layout import write_labels
from tfmri.cohort.table import read_labels
from tfmri.errors import InputError, Problem

SEX = {"sex": {"f": ["female"], "m": ["male"]}, "age": None}


def dataset(root: Path, *scans: str, table: str = "participant_id\tsex\nsub-01\tf\nsub-02\tm\n") -> Path:
    tree(root, *scans)
    if table:
        (root / "participants.tsv").write_text(table)
    return root


def problem(*arguments: Path) -> Problem:
    with pytest.raises(InputError) as caught:
        bids(*arguments)
    assert len(caught.value.problems) == 1
    return caught.value.problems[0]


ONE, TWO = "sub-01/anat/sub-01_T1w.nii.gz", "sub-02/anat/sub-02_T1w.nii"


def test_scans_are_found_and_joined(tmp_path):
    layout = bids(dataset(tmp_path, ONE, TWO))
    assert list(layout.table.columns) == ["subject", "path", "sex"]
    assert layout.table.to_numpy().tolist() == [
        ["sub-01", str(tmp_path / ONE), "f"],
        ["sub-02", str(tmp_path / TWO), "m"],
    ]
    assert fates(layout) == {ONE: ("joined", ""), TWO: ("joined", "")}
    assert layout.lines() == ("2 scans found, 2 joined (2 subjects), 0 dropped",)


def test_sessions_runs_and_other_parts_of_names_are_kept(tmp_path):
    names = ["ses-1/anat/sub-01_ses-1_T1w.nii.gz", "ses-2/anat/sub-01_ses-2_acq-mp2rage_run-1_T1w.nii.gz"]
    names += ["ses-2/anat/sub-01_ses-2_run-2_T1w.nii.gz"]
    table = bids(dataset(tmp_path, *(f"sub-01/{name}" for name in names))).table
    assert list(table.columns) == ["subject", "session", "path", "acq", "run", "sex"]
    assert list(table["session"]) == ["ses-1", "ses-2", "ses-2"]
    assert list(table["acq"]) == ["", "mp2rage", ""]
    assert list(table["run"]) == ["", "1", "2"]


def test_a_table_with_sessions_is_joined_by_session(tmp_path):
    rows = "participant_id\tsession_id\tage\nsub-01\tses-1\t60\n01\t2\t62\n"
    names = [f"sub-01/ses-{n}/anat/sub-01_ses-{n}_T1w.nii.gz" for n in (1, 2, 3)]
    layout = bids(dataset(tmp_path, *names, table=rows))
    assert list(layout.table["age"]) == ["60", "62"]
    assert fates(layout)[names[2]] == ("dropped", "no label: this session has no row in participants.tsv")
    assert layout.report["detail"].iloc[2] == "it has ses-1, 2"


def test_another_table_and_bare_ids_will_do(tmp_path):
    (tmp_path / "people.csv").write_text("Subject;Age\n01;34\n02;35\n")
    table = bids(dataset(tmp_path / "data", ONE, TWO, table=""), tmp_path / "people.csv").table
    assert list(table["Age"]) == ["34", "35"]


def test_the_standards_own_id_goes_before_other_ids_and_no_column_is_lost(tmp_path):
    rows = "subject\tparticipant_id\tpath\n7\tsub-01\tx\n8\tsub-02\ty\n"
    table = bids(dataset(tmp_path, ONE, TWO, table=rows)).table
    assert list(table["subject"]) == ["sub-01", "sub-02"]
    assert list(table["file_subject"]) == ["7", "8"]
    assert list(table["file_path"]) == ["x", "y"]


def test_a_column_that_has_the_name_under_which_another_is_kept_stays_apart_from_it(tmp_path):
    rows = "participant_id\tpath\tfile_path\nsub-01\tx\tp\nsub-02\ty\tq\n"
    table = bids(dataset(tmp_path, ONE, TWO, table=rows)).table
    assert list(table.columns) == ["subject", "path", "file_path_", "file_path"]
    assert list(table["file_path_"]) == ["x", "y"] and list(table["file_path"]) == ["p", "q"]


def test_a_labels_file_that_holds_something_else_is_not_overwritten(tmp_path):
    table = bids(dataset(tmp_path, ONE, TWO)).table
    path = tmp_path / "labels.csv"
    write_labels(table, path)
    write_labels(table, path)
    path.write_text(path.read_text().replace("sub-02,", "sub-2,"))
    corrected = path.read_text()
    with pytest.raises(InputError, match=r"labels\.csv: the file is there.*--output, or delete"):
        write_labels(table, path)
    assert path.read_text() == corrected


def test_what_is_dropped_is_told_with_the_reason(tmp_path):
    rows = "participant_id\tage\nsub-01\t30\nsub-1\t30\nsub-3\t40\nsub-04\t50\nsub-04\t51\nsub-05\t60\nsub-05\t60\n"
    names = {n: f"sub-{n:02}/anat/sub-{n:02}_T1w.nii.gz" for n in range(1, 9)}
    other = "sub-08/anat/sub-09_T1w.nii.gz"
    dataset(
        tmp_path,
        *(names[n] for n in (1, 2, 3, 4, 5)),
        names[1].removesuffix(".gz"),
        other,
        table=rows + "sub-09\t1\nsub-06\t2\nsub-07\t\nsub-08\t3\nn/a\t4\n",
    )
    for n in (6, 7):
        (tmp_path / f"sub-0{n}" / "anat").mkdir(parents=True)
    (tmp_path / names[6]).symlink_to("annex.nii.gz")
    (tmp_path / names[8]).touch()
    (tmp_path / "sub-01" / "anat" / "._sub-01_T1w.nii.gz").write_bytes(b"what macOS leaves behind")
    layout = bids(tmp_path)
    assert fates(layout) == {
        names[1]: ("joined", ""),
        names[1].removesuffix(".gz"): ("dropped", "repeated: the same scan is there as .nii.gz"),
        names[2]: ("dropped", "no label: no row in participants.tsv"),
        names[3]: ("joined", ""),
        names[4]: (
            "dropped",
            "repeated: rows of participants.tsv differ on this person",
        ),
        names[5]: ("joined", ""),
        names[6]: ("dropped", "no image: a link to a file that is not there (with datalad: datalad get)"),
        names[8]: ("dropped", "no image: an empty file"),
        other: ("dropped", "no label: whose scan it is cannot be told"),
        "sub-1": ("no scan", "no image: no scan of this id"),
        "sub-07": ("no scan", "no image: no scan in the folder"),
        "sub-09": ("no scan", "no image: no scan of this id"),
    }
    lines = layout.lines()
    assert lines[0] == "9 scans found, 3 joined (3 subjects), 6 dropped"
    table = [re.split("  +", line)[1:] for line in lines[1:10]]
    assert table[0] == ["count", "fate", "why", "which"]
    assert ["2", "no scan", "no image: no scan of this id", "sub-1, sub-09"] in table
    assert table[6][3] == "sub-08/anat/sub-09_T1w.nii.gz (the file says sub-09)"
    assert lines[10:] == (
        "participants.tsv, row 13: no id, so left out.",
        "participants.tsv: 2 people have several rows. Those of 1 agree and are taken for one (rows 7-8).",
        "1 id is spelled in two ways and taken for the same: 'sub-03' is 'sub-3'.",
    )


def test_what_sessions_tables_say_goes_before_the_participants_table(tmp_path):
    names = [f"sub-0{s}/ses-{n}/anat/sub-0{s}_ses-{n}_T1w.nii.gz" for s, n in ((1, 1), (1, 2), (2, 1), (3, 1))]
    dataset(tmp_path, *names, table="participant_id\tage\tsex\nsub-01\t60\tf\nsub-02\t70\tm\nsub-03\t\t\n")
    (tmp_path / "sub-01/sub-01_sessions.tsv").write_text("session_id\tage\tMMSE\n1\tn/a\t30\nses-2\t62\t28\n")
    (tmp_path / "sub-03/sub-03_sessions.tsv").write_text("session_id\tage\nses-1\t80\n")
    layout = bids(tmp_path)
    assert list(layout.table.columns) == ["subject", "session", "path", "age", "sex", "MMSE"]
    assert layout.table.drop(columns="path").to_numpy().tolist() == [
        ["sub-01", "ses-1", "60", "f", "30"],
        ["sub-01", "ses-2", "62", "f", "28"],
        ["sub-02", "ses-1", "70", "m", ""],
        ["sub-03", "ses-1", "80", "", ""],
    ]
    assert layout.notes == ("sub-*_sessions.tsv: age, MMSE of 3 scans are those of their session.",)


def test_a_sessions_table_without_sessions_or_with_one_twice_is_told(tmp_path):
    dataset(tmp_path, "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz")
    path = tmp_path / "sub-01" / "sub-01_sessions.tsv"
    path.write_text("session\tage\nses-1\t60\n")
    assert problem(tmp_path).found == "there is no column 'session_id'"
    path.write_text("session_id\tage\nses-1\t60\nses-1\t61\n")
    assert problem(tmp_path).where == str(path) and "'ses-1' stands in several rows" in problem(tmp_path).found


def test_another_suffix_can_be_asked_for(tmp_path):
    dataset(tmp_path, ONE, ONE.replace("T1w", "FLAIR"), TWO)
    assert list(bids(tmp_path, suffix="FLAIR").table["path"]) == [str(tmp_path / ONE.replace("T1w", "FLAIR"))]
    with pytest.raises(InputError, match=r"no T2w scans .* There are others: FLAIR, T1w. Choose with --suffix"):
        bids(tmp_path, suffix="T2w")


@pytest.fixture
def fmriprep(tmp_path):
    """A dataset with what fMRIPrep 24 writes of the anatomy of two people."""
    folder = dataset(tmp_path, ONE, TWO) / "derivatives" / "fmriprep"
    mni = "space-MNI152NLin2009cAsym_res-2"
    for person in ("sub-01", "sub-02"):
        kinds = ["desc-preproc_T1w.nii.gz", "desc-preproc_T1w.json", "desc-brain_mask.nii.gz", "dseg.nii.gz"]
        kinds += ["label-GM_probseg.nii.gz", f"{mni}_desc-preproc_T1w.nii.gz", f"{mni}_desc-brain_mask.nii.gz"]
        dataset(folder, *(f"{person}/anat/{person}_{kind}" for kind in kinds), table="")
    (folder / "sub-01.html").write_text("")
    (folder / "sub-03" / "log").mkdir(parents=True)
    return tmp_path


def test_of_derivatives_the_form_in_the_scans_own_space_is_taken(fmriprep):
    layout = bids(fmriprep, derivatives="fmriprep")
    folder = fmriprep / "derivatives" / "fmriprep"
    names = [str(folder / f"sub-0{n}/anat/sub-0{n}_desc-preproc_T1w.nii.gz") for n in (1, 2)]
    assert list(layout.table["path"]) == names
    assert list(layout.table["sex"]) == ["f", "m"]
    reasons = layout.report[layout.report["fate"] == "dropped"]["reason"]
    assert list(reasons) == ["repeated: the same scan in another form; choose with --pattern"] * 2
    other = "*_space-MNI152NLin2009cAsym_res-2_desc-preproc_*"
    assert layout.notes == (f"To choose a form: --pattern '{other}'.",)
    chosen = bids(fmriprep, derivatives="fmriprep", pattern=other).table
    assert [path.count("space-MNI152NLin2009cAsym") for path in chosen["path"]] == [1, 1]
    assert fates(layout)["sub-03"] == ("no scan", "no image: no scan in the folder")


def test_where_no_form_is_in_the_scans_own_space_none_is_taken_before_one_is_chosen(fmriprep):
    for path in (fmriprep / "derivatives" / "fmriprep").glob("*/anat/*_desc-preproc_T1w.nii.gz"):
        if "space" not in path.name:
            path.rename(path.with_name(path.name.replace("_desc", "_space-MNI6_desc")))
    found = problem(fmriprep, None, "T1w", "fmriprep")
    assert found.found == "none of 4 scans could be joined"
    assert "repeated: the same scan in several forms; choose with --pattern" in found.advice
    assert "--pattern '*_space-MNI6_desc-preproc_*'" in found.advice


def test_the_folder_of_derivatives_itself_will_do(fmriprep):
    by_name = bids(fmriprep, derivatives="fmriprep").table
    assert bids(fmriprep / "derivatives" / "fmriprep").table.equals(by_name)


def test_derivatives_that_are_not_there_are_told_with_those_that_are(fmriprep):
    found = problem(fmriprep, None, "T1w", "fmriperp")
    assert (found.expected, found.advice) == ("one of fmriprep", "Did you mean 'fmriprep'?")


def test_derivatives_and_other_contrasts_are_not_taken(tmp_path):
    others = ["sub-01/anat/sub-01_T2w.nii.gz", "sub-01/func/sub-01_T1w.nii.gz"]
    others += ["derivatives/x/sub-01/anat/sub-01_T1w.nii.gz"]
    assert len(bids(dataset(tmp_path, ONE, *others)).report.query("fate != 'no scan'")) == 1


def test_scans_that_cannot_be_joined_at_all_are_an_error_not_an_empty_table(tmp_path):
    found = problem(dataset(tmp_path, ONE, TWO, table="participant_id\tage\nA\t41\nB\t42\n"))
    assert (found.where, found.found) == (str(tmp_path), "none of 2 scans could be joined")
    assert found.advice.startswith("Give the table that belongs to these scans with --table. The scans' subjects are ")
    assert "2  dropped  no label: no row in participants.tsv" in found.advice


def test_a_missing_table(tmp_path):
    found = problem(dataset(tmp_path, ONE, table=""))
    assert found.where == str(tmp_path / "participants.tsv")
    assert "--table" in found.advice


def test_a_table_without_ids(tmp_path):
    found = problem(dataset(tmp_path, ONE, table="age\tsex\n41\tf\n"))
    assert found.found == "no column has a usual name for ids; there are 'age', 'sex'"
    assert found.advice == "Name the column that holds the ids with --id."


def test_a_folder_without_scans_says_what_it_may_be(tmp_path):
    root = dataset(tmp_path / "study" / "rawdata", ONE)
    found = problem(root.parent)
    assert found.found == "there are no T1w scans in this folder"
    assert found.expected.startswith("sub-*/anat/*_T1w.nii.gz")
    assert found.advice == f"There are some in {root}: give that folder."
    assert "give the folder above" in problem(root / "sub-01").advice
    shutil.rmtree(root / "sub-01" / "anat")
    assert "is the download complete?" in problem(root).advice
    assert problem(tmp_path / "nowhere").found == "there is no such folder"
    assert problem(root / "participants.tsv").found == "this is a file"


def test_what_is_written_is_read_again_also_after_the_folder_moved(tmp_path):
    rows = "participant_id\tgender\tage\n" + "".join(f"sub-0{n}\t{'mf'[n % 2]}\t{n + 20}\n" for n in range(1, 5))
    root = dataset(tmp_path / "a" / "data", *(f"sub-0{n}/anat/sub-0{n}_T1w.nii.gz" for n in range(1, 5)), table=rows)
    write_labels(bids(root).table, tmp_path / "a" / "labels.csv")
    write_labels(bids(root).table, tmp_path / "elsewhere" / "labels.csv")
    there = read_labels(tmp_path / "elsewhere" / "labels.csv", SEX).table
    assert list(there["path"]) == [str(root / f"sub-0{n}/anat/sub-0{n}_T1w.nii.gz") for n in range(1, 5)]
    (tmp_path / "a").rename(tmp_path / "b")
    table = read_labels(tmp_path / "b" / "labels.csv", SEX).table
    assert list(table["sex"]) == ["f", "m", "f", "m"]
    assert list(table["age"]) == [21, 22, 23, 24]
    assert all(str(tmp_path / "b") in path for path in table["path"])


@pytest.mark.parametrize(
    ("name", "women", "men", "years"), [("ds002748-2mm", 35, 13, (20, 55)), ("ds000011-2mm", 6, 4, (19, 37))]
)
def test_real_datasets_join_completely(real_scans, tmp_path, name, women, men, years):
    layout = bids(real_scans / name)
    write_labels(layout.table, tmp_path / "labels.csv")
    table = read_labels(tmp_path / "labels.csv", SEX).table
    assert set(layout.report["fate"]) == {"joined"}
    assert ((table["sex"] == "f").sum(), (table["sex"] == "m").sum()) == (women, men)
    assert (table["age"].min(), table["age"].max()) == years
