import gzip
import tracemalloc
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from spreadsheet import write_xlsx

from tfmri.cohort.layouts.layout import write_labels
from tfmri.cohort.layouts.ukb import ukb
from tfmri.cohort.table import read_labels
from tfmri.errors import InputError, Problem
from tfmri.images.read import read_volume

TARGETS = {"sex": {"f": ["female"], "m": ["male"]}, "age": None}
IMAGE = "T1/T1_brain_to_MNI.nii.gz"
MEMBERS = ("T1/T1.nii.gz", "T1/T1_brain.nii.gz", IMAGE)
EIDS = [str(eid) for eid in (1000012, 1000027, 1000035, 1000041)]
COLUMNS = ["eid", "31-0.0", "34-0.0", "54-0.0", "54-2.0", "54-3.0", "21003-0.0", "21003-2.0", "21003-3.0"]
ROWS = [
    ["1000012", "0", "1950", "11010", "11025", "11026", "58", "66", "69"],
    ["1000027", "1", "1944", "11011", "11026", "", "64", "72", ""],
    ["1000035", "1", "1961", "11009", "11027", "", "47", "55", ""],
    ["-1", "", "", "", "", "", "", "", ""],
    ["1000041", "0", "1960", "11009", "11025", "", "48", "", ""],
    ["2000000", "0", "1955", "11009", "", "", "52", "", ""],
    ["-2", "", "", "", "", "", "", "", ""],
]


@pytest.fixture(scope="module")
def scan(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("scan") / "scan.nii.gz"
    nib.save(nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4)), path)
    return path.read_bytes()


@pytest.fixture
def bulk(tmp_path, scan):
    """Writes the archive of a visit, or its folder where the name has no .zip."""

    def write(name: str, members=MEMBERS) -> Path:
        path = tmp_path / "bulk" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".zip":
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                for member in members:
                    archive.writestr(member, scan)
        for member in members if path.suffix != ".zip" else ():
            (path / member).parent.mkdir(parents=True, exist_ok=True)
            (path / member).write_bytes(scan)
        return path

    return write


@pytest.fixture
def visits(bulk, tmp_path):
    for eid in EIDS:
        bulk(f"{eid}_20252_2_0.zip")
    bulk("1000012_20252_3_0.zip")
    return tmp_path / "bulk"


def table(folder: Path, columns=COLUMNS, rows=ROWS, name: str = "ukb12345.csv", separator: str = ",") -> Path:
    lines = [separator.join(f'"{cell}"' for cell in row) for row in (columns, *rows)]
    text = "\n".join(lines) + "\n"
    (folder / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return folder / name


def problem(*arguments) -> Problem:
    with pytest.raises(InputError) as caught:
        ukb(*arguments)
    return caught.value.problems[0]


def fates(layout) -> dict[str, str]:
    return {row["item"]: row["reason"] or row["fate"] for row in layout.report.to_dict("records")}


def test_each_visit_gets_the_age_and_the_centre_of_that_visit(visits, tmp_path):
    layout = ukb(visits, table(tmp_path))
    assert list(layout.table.columns) == ["subject", "session", "path", "sex", "age", "site"]
    assert layout.table.drop(columns="path").to_numpy().tolist() == [
        ["1000012", "2", "f", "66", "11025"],
        ["1000012", "3", "f", "69", "11026"],
        ["1000027", "2", "m", "72", "11026"],
        ["1000035", "2", "m", "55", "11027"],
        ["1000041", "2", "f", "", "11025"],
    ]
    assert layout.table["path"][1] == str(visits / "1000012_20252_3_0.zip" / IMAGE)
    assert "ukb12345.csv: rows of people who withdrew (negative eid) are left out: 2." in layout.notes
    assert fates(layout)["2000000"] == "no image: no scan of this id"


def test_scans_are_read_straight_from_the_archives_that_labels_csv_names(visits, bulk, tmp_path):
    bulk("2000000_20252_2_0.zip")
    rows = [row if row[0] != "2000000" else [*row[:7], "60", ""] for row in ROWS]
    write_labels(ukb(visits, table(tmp_path, rows=rows)).table, tmp_path / "labels.csv")
    assert f"bulk/1000012_20252_2_0.zip/{IMAGE}" in (tmp_path / "labels.csv").read_text()
    cohort = read_labels(tmp_path / "labels.csv", TARGETS).table
    assert list(cohort["scan"]) == ["1000012_2", "1000012_3", "1000027_2", "1000035_2", "2000000_2"]
    assert np.array_equal(read_volume(Path(cohort["path"][0])).data, np.arange(60).reshape(3, 4, 5))


SPELLINGS = {
    "f.eid": lambda name: "f." + name.replace("-", "."),
    "eid": lambda name: name,
    "participant.eid": lambda name: "participant.p" + name.removesuffix(".0").replace("-", "_i"),
    "n_eid": lambda name: "x" + name.replace("-", "_").replace(".", "_"),
}


@pytest.mark.parametrize("eid", SPELLINGS)
@pytest.mark.parametrize(("name", "separator"), [("a.csv", ","), ("a.txt", "\t"), ("a.tsv", "\t"), ("a.csv.gz", ",")])
def test_the_names_of_fields_in_every_program_of_ukb_are_understood(visits, tmp_path, eid, name, separator):
    columns = [eid, *(SPELLINGS[eid](column) for column in COLUMNS[1:])]
    columns[1] = "participant.p31" if eid == "participant.eid" else columns[1]  # without an instance where there is one
    layout = ukb(visits, table(tmp_path, columns, ROWS, name, separator))
    assert list(layout.table["age"]) == ["66", "69", "72", "55", ""]
    assert list(layout.table["sex"]) == ["f", "f", "m", "m", "f"]
    assert list(layout.table["site"]) == ["11025", "11026", "11026", "11027", "11025"]


def test_text_with_commas_and_line_breaks_in_quotes_does_not_shift_the_columns(visits, tmp_path):
    columns = ["eid", "20003-0.0", *COLUMNS[1:]]
    rows = [[row[0], 'a, ""b""\n1000012,1,2\r\n', *row[1:]] for row in ROWS]
    assert list(ukb(visits, table(tmp_path, columns, rows)).table["age"]) == ["66", "69", "72", "55", ""]
    columns, rows = (
        [columns[n] for n in (1, 2, 0, *range(3, 10))],
        [[r[n] for n in (1, 2, 0, *range(3, 10))] for r in rows],
    )
    assert list(ukb(visits, table(tmp_path, columns, rows)).table["age"]) == ["66", "69", "72", "55", ""]


def test_decoded_values_and_spreadsheets_are_understood_too(visits, tmp_path):
    rows = [[{"0": "Female", "1": "Male"}.get(row[1], "") if n == 1 else row[n] for n in range(9)] for row in ROWS]
    layout = ukb(visits, write_xlsx(tmp_path / "ukb.xlsx", {"Sheet1": [COLUMNS, *rows]}))
    assert list(layout.table["sex"]) == ["f", "f", "m", "m", "f"]
    assert list(layout.table["age"]) == ["66", "69", "72", "55", ""]


def test_what_was_unpacked_is_taken_before_its_archive_and_a_folder_without_visit_is_the_first_imaging(
    bulk, tmp_path, visits
):
    bulk("1000027_20252_2_0")
    (visits / "1000035_20252_2_0.zip").unlink()
    bulk("1000035")
    (visits / "1000041").mkdir()
    (visits / "1000041_20252_2_0.zip").rename(visits / "1000041" / "1000041_20252_2_0.zip")
    layout = ukb(visits, table(tmp_path))
    paths = dict(zip(layout.table["subject"] + "_" + layout.table["session"], layout.table["path"], strict=True))
    assert paths["1000027_2"] == str(visits / "1000027_20252_2_0" / IMAGE)
    assert paths["1000035_2"] == str(visits / "1000035" / IMAGE)
    assert paths["1000041_2"] == str(visits / "1000041" / "1000041_20252_2_0.zip" / IMAGE)
    assert fates(layout)["1000027_20252_2_0.zip"] == "repeated: there is another of the same visit"
    assert "Folders that do not tell the visit are taken for instance 2, the first imaging: 1." in layout.notes


def test_what_is_not_joined_is_told_with_the_reason(bulk, visits, tmp_path):
    bulk("1000050_20252_2_0.zip")
    bulk("1000060_20252_2_0.zip", ["T1/unusable/T1.nii.gz"])
    bulk("1000070_20252_2_0", ["T1/T1.nii.gz"])
    bulk("1000012_20253_2_0.zip", ["T2_FLAIR/T2_FLAIR.nii.gz"])
    (visits / "1000080_20252_2_0.zip").write_bytes((visits / "1000012_20252_2_0.zip").read_bytes()[:400])
    (visits / "1000090_20252_2_0.zip.part").touch()
    rows = [*ROWS, ["1000027", "0", *ROWS[1][2:]], ["1000035", *ROWS[2][1:]]]
    layout = ukb(visits, table(tmp_path, rows=rows))
    told = {item: reason for item, reason in fates(layout).items() if reason != "joined"}
    assert told == {
        f"1000027_20252_2_0.zip/{IMAGE}": "repeated: rows of ukb12345.csv differ on this person",
        f"1000050_20252_2_0.zip/{IMAGE}": "no label: no row in ukb12345.csv",
        "1000060_20252_2_0.zip": f"no image: no {IMAGE} in it",
        "1000070_20252_2_0": f"no image: no {IMAGE} in it",
        "1000012_20253_2_0.zip": "no image: bulk field 20253, not 20252, the T1-weighted scan",
        "1000080_20252_2_0.zip": "no image: a damaged archive",
        "2000000": "no image: no scan of this id",
    }


def test_the_age_of_another_visit_is_never_taken(visits, tmp_path):
    layout = ukb(visits, table(tmp_path, COLUMNS[:7], [row[:7] for row in ROWS]))
    assert set(layout.table["age"]) == {""}
    assert "ukb12345.csv has no 21003-2.0: no age for scans of instance 2." in layout.notes


def test_other_fields_and_another_image_may_be_asked_for(visits, tmp_path):
    fields = {"birth_year": "34-0.0", "age": "21003-{instance}.0"}
    layout = ukb(visits, table(tmp_path), fields, "T1/T1.nii.gz")
    assert list(layout.table.columns[3:]) == ["birth_year", "age"]
    assert layout.table["path"].str.endswith("zip/T1/T1.nii.gz").all()


@pytest.mark.parametrize("eid", ["f.eid", "participant.eid", "Participant ID"])
def test_the_eid_has_several_names(visits, tmp_path, eid):
    assert len(ukb(visits, table(tmp_path, [eid, *COLUMNS[1:]])).table) == len(ukb(visits, table(tmp_path)).table)


def test_wrong_folders_and_tables_are_told(visits, tmp_path, bulk):
    (tmp_path / "empty").mkdir()
    assert problem(tmp_path / "empty", tmp_path / "x.csv").found == "there are no scans"
    flair = bulk("../flair/1000012_20253_2_0.zip").parent
    assert "but 1 bulk files of other fields" in problem(flair, tmp_path / "x.csv").found
    assert problem(visits, tmp_path / "x.csv").found == "there is no such file"
    told = problem(visits, table(tmp_path, ["id", *COLUMNS[1:]]))
    assert "no column holds the eid" in told.found and "Participant ID" in told.expected and told.advice
    none = problem(visits, table(tmp_path, ["eid", "20002-0.0"], [["1000012", "1"]]))
    assert none.found == "none of the fields is among its 2 columns: 'eid', '20002-0.0'"
    assert none.expected == "31-0.0, 21003-2.0, 21003-3.0, 54-2.0, 54-3.0"
    nobody = problem(visits, table(tmp_path, rows=[ROWS[5]]))
    assert nobody.found == "none of 5 scans could be joined" and "no label: no row in ukb12345.csv" in nobody.advice
    (tmp_path / "torn.csv").write_text('"eid","31-0.0"\n"1000012","1","2","3"\n')
    torn = problem(visits, tmp_path / "torn.csv")
    assert (torn.where, torn.found, torn.expected) == ("torn.csv, line 2", "4 cells", "2, as the header has")
    (tmp_path / "torn.csv.gz").write_bytes(table(tmp_path, name="whole.csv.gz").read_bytes()[:60])
    assert "cannot be read" in problem(visits, tmp_path / "torn.csv.gz").found


def test_of_a_wide_table_only_the_needed_columns_are_kept(visits, tmp_path):
    filler = ["x" * 8] * 2000
    header = ",".join([*COLUMNS[:4], *(f"4{n}-0.0" for n in range(1000, 3000)), *COLUMNS[4:]])
    with (tmp_path / "wide.csv").open("w") as file:
        file.write(header + "\n")
        for number in range(1200):
            row = ROWS[number % 500] if number % 500 < len(ROWS) else [str(3_000_000 + number), *ROWS[0][1:]]
            file.write(",".join([*row[:4], *filler, *row[4:]]) + "\n")
    assert (tmp_path / "wide.csv").stat().st_size > 20e6
    tracemalloc.start()
    layout = ukb(visits, tmp_path / "wide.csv")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert list(layout.table["age"]) == ["66", "69", "72", "55", ""]
    assert peak < 2e6


def test_a_path_into_an_archive_is_checked_like_any_other(visits, tmp_path):
    archive = visits / "1000012_20252_2_0.zip"
    (visits / "1000027_20252_2_0.zip").write_bytes(archive.read_bytes()[:500])
    cells = [f"bulk/{archive.name}/{IMAGE}", f"bulk/{archive.name}/T1/T1_brain_to_MNI.nii", f"bulk/{archive.name}"]
    cells += [f"bulk/1000027_20252_2_0.zip/{IMAGE}", f"bulk/absent.zip/{IMAGE}"]
    rows = {"subject": range(5), "path": cells, "age": range(30, 35)}
    pd.DataFrame(rows).to_csv(tmp_path / "labels.csv", index=False)
    with pytest.raises(InputError) as caught:
        read_labels(tmp_path / "labels.csv", {"age": None})
    one, two, three, four = caught.value.problems
    assert one.where == "labels.csv, row 3, column 'path'"
    assert one.found == f"there is no 'T1/T1_brain_to_MNI.nii' in the archive {archive.name}"
    assert one.advice == f"It holds 3 images, such as {IMAGE}."
    assert two.found == f"'bulk/{archive.name}' is an archive" and f"bulk/{archive.name}/T1/T1" in two.advice
    assert three.found == "the archive 1000027_20252_2_0.zip is damaged"
    assert four.found == f"there is no file 'bulk/absent.zip/{IMAGE}'"
