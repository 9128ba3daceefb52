import datetime

import pytest
from spreadsheet import write_xlsx

from tfmri.cohort.sheet import read_sheet
from tfmri.cohort.table import read_labels
from tfmri.errors import InputError


def test_cells_of_a_spreadsheet_are_what_it_shows(tmp_path):
    rows = [
        ["id", "age", "text", "when", "flag"],
        [1.0, 34.5, "007", datetime.date(2005, 11, 18), True],
        [12, 0.1 + 0.2, " NA ", None, False],
        [None, None, None, None, None],
        [1000012, -3, "34,5 kg", None, None],
    ]
    sheet = read_sheet(write_xlsx(tmp_path / "people.xlsx", {"People": rows}))
    assert sheet.cells.to_numpy().tolist() == [
        ["1", "34.5", "007", "2005-11-18", "TRUE"],
        ["12", "0.3", "NA", "", "FALSE"],
        ["1000012", "-3", "34,5 kg", "", ""],
    ]
    assert list(sheet.cells.index) == [2, 3, 5]
    assert (sheet.separator, sheet.notes) == ("", ())


def test_the_first_sheet_that_is_not_hidden_is_read_and_said(tmp_path):
    sheets = {"Codes": [["code"], ["9"]], "People": [["id", "age"], ["a", 3]], "Other": [["x"], [1]]}
    sheet = read_sheet(write_xlsx(tmp_path / "people.xlsx", sheets, hidden=("Codes",)))
    assert list(sheet.cells) == ["id", "age"]
    assert sheet.notes == ("people.xlsx: read from its first sheet, 'People'; the others ('Other') are left out.",)


def test_a_table_that_does_not_begin_in_the_corner_is_read(tmp_path):
    rows = [[], [None, "id", "age", None], [None, "01", 3, None], [None, "02", 4, None]]
    sheet = read_sheet(write_xlsx(tmp_path / "people.xlsx", {"People": rows}))
    assert sheet.cells.to_dict("list") == {"id": ["01", "02"], "age": ["3", "4"]}
    assert sheet.place([3], "age") == "people.xlsx, row 3, column 'age'"


def test_a_file_is_what_its_bytes_say_whatever_its_ending(tmp_path):
    renamed = write_xlsx(tmp_path / "people.csv", {"People": [["id"], ["01"]]})
    assert read_sheet(renamed).cells["id"].tolist() == ["01"]
    text = tmp_path / "export.xls"
    text.write_text("id\tage\n01\t3\n")
    assert read_sheet(text).cells.to_dict("list") == {"id": ["01"], "age": ["3"]}


@pytest.mark.parametrize("data", [b"PK\x03\x04 no zip at all", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)])
def test_a_damaged_spreadsheet_is_told(tmp_path, data):
    path = tmp_path / "people.xlsx"
    path.write_bytes(data)
    with pytest.raises(InputError, match="cannot be read as a spreadsheet") as caught:
        read_sheet(path)
    assert "without a password" in caught.value.problems[0].advice


def test_an_empty_sheet_is_told(tmp_path):
    with pytest.raises(InputError, match="the file is empty"):
        read_sheet(write_xlsx(tmp_path / "people.xlsx", {"People": []}))
    with pytest.raises(InputError, match="no rows below the header"):
        read_sheet(write_xlsx(tmp_path / "people.xlsx", {"People": [["id", "age"]]}))


def test_the_table_of_ixi_is_read_as_published(real_scans):
    sheet = read_sheet(real_scans / "tables" / "IXI.xls")
    assert len(sheet.cells) == 619
    assert sheet.cells["IXI_ID"].nunique() == 593
    assert sheet.cells["SEX_ID (1=m, 2=f)"].value_counts().to_dict() == {"2": 342, "1": 277}
    first = sheet.cells.loc[3]
    assert (first["IXI_ID"], first["STUDY_DATE"], first["AGE"]) == ("2", "2005-11-18", "35.8001368925394")
    assert "'Table'" in sheet.notes[0]


def test_labels_may_stand_in_a_spreadsheet(study):
    folder = study().parent
    rows = [["id", "image", "sex", "age"]]
    rows += [[n, f"scans/{n:02}.nii.gz", n % 2 + 1, f"{20 + n},5"] for n in range(1, 9)]
    path = write_xlsx(folder / "labels.xlsx", {"Labels": rows})
    table = read_labels(path, {"sex": {"f": [2], "m": [1]}, "age": None}).table
    assert table["subject"].tolist() == [str(n) for n in range(1, 9)]
    assert table["sex"].tolist() == ["f", "m"] * 4
    assert table["age"].tolist() == [20.5 + n for n in range(1, 9)]


def test_columns_of_numbers_with_decimal_commas_get_points_where_no_commas_stand_between_cells(study):
    sheet = read_sheet(study("id;age;dose;note;size", "1;39,5;1,5;a 1,5;1,5", "2;40;n/a;b;1.25"))
    assert sheet.cells["age"].tolist() == ["39.5", "40"] and sheet.cells["dose"].tolist() == ["1.5", "n/a"]
    assert sheet.cells["note"].tolist() == ["a 1,5", "b"] and sheet.cells["size"].tolist() == ["1,5", "1.25"]
    assert sheet.notes[-1] == "labels.csv: decimal commas are written as points (39,5 as 39.5) in 'age', 'dose'."
    quoted = read_sheet(study("id,age", '1,"39,5"', '2,"41,5"'))
    assert quoted.cells["age"].tolist() == ["39,5", "41,5"] and not quoted.notes


def test_a_title_above_the_header_and_a_table_in_another_sheet_are_told(tmp_path):
    rows = [["subject", "age", "sex"], ["1", 30, "f"], ["2", 31, "m"]]
    titled = [["Our study", None, None], ["of 2024", None, None], *rows]
    with pytest.raises(InputError, match=r"people.xlsx, row 1: .*Is the header in row 3"):
        read_sheet(write_xlsx(tmp_path / "people.xlsx", {"People": titled}))
    (tmp_path / "people.csv").write_text("Our study\n\nsubject,age,sex\n1,30,f\n")
    with pytest.raises(InputError, match=r"people.csv, row 1: .*Is the header in row 3"):
        read_sheet(tmp_path / "people.csv")
    for cover in ([["Our study"]], [["Contact", "Date"], ["somebody", "today"]]):
        path = write_xlsx(tmp_path / "people.xlsx", {"Cover": cover, "Data": rows})
        with pytest.raises(InputError, match=r"the others \('Data'\) are left out"):
            read_labels(path, {"sex": {"f": [], "m": []}})
