import re
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from spreadsheet import write_xlsx

from tfmri.cohort.layouts.layout import write_labels
from tfmri.cohort.layouts.oasis import oasis
from tfmri.cohort.table import read_labels
from tfmri.errors import InputError, Problem
from tfmri.images.read import read_volume

FIRST = "ID,M/F,Hand,Age,Educ,SES,MMSE,CDR,eTIV,nWBV,ASF,Delay"
OTHER = "ID,Sex,Hand,Age,Education Level,SES,MMSE,CDR,eTIV,nWBV,ASF,Delay"
ROWS = [
    "OAS1_0001_MR1,F,R,74,2,3,29,0,1344,0.743,1.306,N/A",
    "OAS1_0002_MR1,M,R,55,4,1,29,0.0,1147,0.81,1.531,N/A",
    "OAS1_0003_MR1,F,R,73,4,3,27,0.5,1454,0.708,1.207,N/A",
    "OAS1_0004_MR1,M,R,28,,,,,1588,0.803,1.105,N/A",
    "OAS1_0005_MR1,M,R,18,,,,,1737,0.848,1.01,N/A",
    "OAS1_0006_MR1,F,R,80,,,20,1,1131,0.862,1.551,N/A",
    "OAS1_0007_MR1,M,R,82,,,15,2,1516,0.83,1.157,N/A",
    "OAS1_0005_MR2,M,R,18,,,,,1750,0.848,1.0,15",
]
SESSIONS = [row.split(",")[0] for row in ROWS]
DIAGNOSES = ["healthy", "healthy", "very mild", "", "", "", "mild", "moderate"]  # by session: 0005_MR2 after 0005_MR1
SEX = {"f": ["female"], "m": ["male"]}


def save(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".img":
        data = np.arange(60, dtype=">i2").reshape(3, 4, 5, 1)
        header = nib.AnalyzeHeader(endianness=">")
        header.set_data_dtype(">i2")
        header.set_data_shape(data.shape)
        nib.save(nib.AnalyzeImage(data, None, header), path)
    else:
        nib.save(nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.diag([-1, 1, 1, 1])), path)


def published(root: Path, ending: str = ".img", sessions=SESSIONS, rows=ROWS, header: str = FIRST) -> Path:
    """The folders of OASIS-1 on its discs, and its table beside them."""
    for number, session in enumerate(sessions):
        processed = f"{session}_mpr_n{3 + number % 2}_anon"
        folder = root / f"disc{1 + number // 4}" / session
        for image in (
            f"RAW/{session}_mpr-1_anon",
            f"RAW/{session}_mpr-2_anon",
            f"PROCESSED/MPRAGE/SUBJ_111/{processed}_sbj_111",
            f"PROCESSED/MPRAGE/T88_111/{processed}_111_t88_gfc",
            f"PROCESSED/MPRAGE/T88_111/{processed}_111_t88_masked_gfc",
            f"FSL_SEG/{processed}_111_t88_masked_gfc_fseg",
        ):
            save(folder / f"{image}{ending}")
        (folder / f"{session}.xml").touch()
    (root / "oasis_cross-sectional.csv").write_text("\n".join([header, *rows]) + "\n")
    return root


def plain(root: Path, names=SESSIONS, rows=ROWS, header: str = FIRST) -> Path:
    for name in names:
        save(root / f"{name}.nii.gz")
    (root / "oasis_cross-sectional.csv").write_text("\n".join([header, *rows]) + "\n")
    return root


def problem(*arguments: Path) -> Problem:
    with pytest.raises(InputError) as caught:
        oasis(*arguments)
    return caught.value.problems[0]


def fates(layout) -> dict[str, str]:
    return {row["item"]: row["reason"] or row["fate"] for row in layout.report.to_dict("records")}


def test_a_rating_becomes_a_diagnosis_and_a_blank_one_is_unknown(tmp_path):
    layout = oasis(plain(tmp_path))
    assert list(layout.table.columns[:6]) == ["subject", "session", "path", "sex", "age", "diagnosis"]
    assert list(layout.table["diagnosis"]) == DIAGNOSES
    assert list(layout.table["CDR"]) == ["0", "0.0", "0.5", "", "", "", "1", "2"]
    told = "diagnosis, from CDR: 2 healthy, 1 very mild, 1 mild, 1 moderate; 3 without CDR are unknown, and left empty."
    assert told in layout.notes


def test_the_second_session_is_of_the_same_person(tmp_path):
    table = oasis(plain(tmp_path)).table
    assert table["subject"].nunique() == 7
    again = table[table["subject"] == "OAS1_0005"]
    assert list(again["session"]) == ["MR1", "MR2"] and list(again["Delay"]) == ["", "15"]


@pytest.mark.parametrize("header", [FIRST, OTHER])
@pytest.mark.parametrize("ending", [".csv", ".xlsx"])
def test_both_headers_and_both_formats_of_the_table_are_read(tmp_path, header, ending):
    plain(tmp_path, header=header)
    table = tmp_path / "oasis_cross-sectional.csv"
    if ending == ".xlsx":
        lines = [line.split(",") for line in table.read_text().splitlines()]
        rows = [[float(cell) if re.fullmatch(r"[\d.]+", cell) else cell or None for cell in line] for line in lines]
        write_xlsx(tmp_path / "oasis_cross-sectional-5708aa0a98d82080.xlsx", {"Sheet1": rows})
        table.unlink()
    found = oasis(tmp_path).table
    assert list(found["sex"]) == ["f", "m", "f", "m", "m", "m", "f", "m"]
    assert list(found["age"].astype(float)) == [74, 55, 73, 28, 18, 18, 80, 82]
    assert list(found["diagnosis"]) == DIAGNOSES


def test_what_is_written_trains_for_sex_age_and_diagnosis(tmp_path):
    rows = [row.replace("_00", f"_{number}0") for number in range(1, 3) for row in ROWS]
    names = [row.split(",")[0] for row in rows]
    write_labels(oasis(plain(tmp_path, names, rows)).table, tmp_path / "labels.csv")
    table = read_labels(tmp_path / "labels.csv", {"sex": SEX, "age": None}).table
    assert len(table) == 16 and table["scan"].is_unique and set(table["session"]) == {"MR1", "MR2"}
    four = {word: [] for word in ("healthy", "very mild", "mild", "moderate")}
    assert len(read_labels(tmp_path / "labels.csv", {"diagnosis": four}).table) == 10
    joined = {"healthy": [], "very mild": [], "mild and more": ["mild", "moderate", "severe"]}
    counts = read_labels(tmp_path / "labels.csv", {"diagnosis": joined}).table["diagnosis"].value_counts()
    assert counts.to_dict() == {"healthy": 4, "very mild": 2, "mild and more": 4}


def test_the_published_images_are_analyze_and_the_command_that_is_told_converts_them(tmp_path):
    found = problem(published(tmp_path / "my data", sessions=SESSIONS[:2]))
    assert found.found == "the scans of 2 sessions are Analyze (.hdr and .img)"
    command = found.advice.splitlines()[-1].strip()
    programs = Path(sys.executable).parent
    subprocess.run(command, shell=True, check=True, env={"PATH": f"{programs}:/usr/bin:/bin"}, timeout=60)
    layout = oasis(tmp_path / "my data")
    assert list(layout.table["subject"]) == ["OAS1_0001", "OAS1_0002"]
    assert layout.table["path"].str.endswith("_t88_masked_gfc.nii.gz").all()
    volume = read_volume(Path(layout.table["path"][0]))
    assert volume.data.shape == (3, 4, 5)
    stored = np.arange(60).reshape(3, 4, 5)
    assert np.array_equal(volume.data, stored[::-1])  # T88_111 is stored from right to left


def test_of_the_versions_of_an_image_the_one_without_skull_is_taken_and_the_segmentation_never(tmp_path):
    layout = oasis(published(tmp_path, ".nii.gz"))
    assert len(layout.table) == 8
    assert layout.table["path"].str.contains(r"_n[34]_anon_111_t88_masked_gfc\.nii\.gz$").all()
    reasons = layout.report["reason"].value_counts()
    assert reasons["repeated: another version, *_mpr_n*_anon_111_t88_gfc"] == 8
    assert reasons["repeated: another version, *_mpr-*_anon"] == 16
    assert not layout.report["item"].str.contains("fseg").any()
    assert "Of each session, the image taken is *_mpr_n*_anon_111_t88_masked_gfc." in layout.notes


def test_sessions_without_the_version_of_the_others_are_dropped_not_mixed_in(tmp_path):
    published(tmp_path, ".nii.gz", SESSIONS[:3])
    for path in (path for path in tmp_path.rglob("*.nii.gz") if "masked_gfc.nii" not in path.name):
        path.unlink()
    for path in tmp_path.rglob("OAS1_0002_MR1*.nii.gz"):
        path.unlink()
    save(tmp_path / "OAS1_0002_MR1_mpr-1_anon.nii.gz")
    layout = oasis(tmp_path)
    assert list(layout.table["subject"]) == ["OAS1_0001", "OAS1_0003"]
    reason = "no image: no *_mpr_n*_anon_111_t88_masked_gfc of it, as there is of the others"
    assert fates(layout)["OAS1_0002_MR1_mpr-1_anon.nii.gz"] == reason


def test_a_raw_image_that_was_converted_without_its_orientation_is_told(tmp_path):
    plain(tmp_path, [])
    path = tmp_path / "OAS1_0001_MR1_mpr-1_anon.nii.gz"
    data = np.zeros((256, 256, 128), np.uint8)
    for affine, told in [(np.diag([-1, 1, 1.25, 1]), True), (np.eye(4)[[2, 0, 1, 3]] * [[-1], [1], [1], [1]], False)]:
        nib.save(nib.Nifti1Image(data, affine), path)
        assert any("OASIS-1 stores it as ASL" in note for note in oasis(tmp_path).notes) == told


def test_of_several_runs_of_a_session_the_first_is_taken(tmp_path):
    for run in (2, 1, 3):
        save(tmp_path / f"OAS1_0001_MR1_mpr-{run}_anon.nii.gz")
    plain(tmp_path, SESSIONS[1:2])
    layout = oasis(tmp_path)
    assert [Path(path).name for path in layout.table["path"]] == ["OAS1_0001_MR1_mpr-1_anon.nii.gz"]
    assert fates(layout)["OAS1_0001_MR1_mpr-3_anon.nii.gz"] == "repeated: another run of the session"


def test_the_id_may_stand_in_the_folders_name_only(tmp_path):
    for session in SESSIONS:
        save(tmp_path / session / "brain.nii.gz")
    plain(tmp_path, [])
    assert len(oasis(tmp_path).table) == 8
    for session in SESSIONS:
        save(tmp_path / session / "grey.nii.gz")
    assert problem(tmp_path).found == "there are several images of each scan: brain, grey"


def test_what_is_not_joined_is_told_with_the_reason(tmp_path):
    rows = [*ROWS[2:], ROWS[5].replace(",80,", ",81,"), "OAS1_0009_MR1,,R,,,,,,,,,"]
    plain(tmp_path, [*SESSIONS[1:6], "OAS1_0009_MR1"], rows)
    layout = oasis(tmp_path)
    assert {item: reason for item, reason in fates(layout).items() if reason != "joined"} == {
        "OAS1_0002_MR1.nii.gz": "no label: no row in oasis_cross-sectional.csv",
        "OAS1_0006_MR1.nii.gz": "repeated: rows of oasis_cross-sectional.csv differ on this person",
        "OAS1_0009_MR1.nii.gz": "no label: no sex, age or diagnosis in oasis_cross-sectional.csv",
        "OAS1_0007": "no image: no scan of this id",
        "OAS1_0005 MR2": "no image: no scan of this session",
    }


def test_a_rating_that_is_none_is_refused_with_its_row(tmp_path):
    found = problem(plain(tmp_path, rows=[*ROWS[:2], ROWS[2].replace(",0.5,", ",5,")]))
    assert found.where == "oasis_cross-sectional.csv, row 4, column 'CDR'"
    assert found.found == "'5' is no CDR"


def test_a_decimal_comma_in_the_rating_is_understood(tmp_path):
    plain(tmp_path)
    table = tmp_path / "oasis_cross-sectional.csv"
    table.write_text("\n".join([FIRST, *ROWS]).replace(",", ";").replace(";0.5;", ";0,5;"))
    assert list(oasis(tmp_path).table["diagnosis"]) == DIAGNOSES


def test_wrong_folders_and_tables_are_told(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "must be unpacked first" in problem(tmp_path / "empty").advice
    save(tmp_path / "second" / "OAS2_0001_MR1.nii.gz")
    assert problem(tmp_path / "second").found == "these are scans of OASIS-2"
    save(tmp_path / "third" / "sub-OAS30001_ses-d0129_T1w.nii.gz")
    assert problem(tmp_path / "third").found == "these are scans of OASIS-3"
    save(tmp_path / "raw" / "OAS1_0001_MR1_mpr-1_anon.img")
    assert "take *_t88_masked_gfc.img" in problem(tmp_path / "raw").advice
    plain(tmp_path / "no table").joinpath("oasis_cross-sectional.csv").unlink()
    assert problem(tmp_path / "no table").expected == "oasis_cross-sectional.csv or .xlsx"
    longitudinal = tmp_path / "oasis_longitudinal.csv"
    pd.DataFrame({"Subject ID": ["OAS2_0001"], "MRI ID": ["OAS2_0001_MR1"], "CDR": [0]}).to_csv(
        longitudinal, index=False
    )
    assert "the table of OASIS-2" in problem(tmp_path / "no table", longitudinal).found
