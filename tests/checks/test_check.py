"""`tfmri check` on small phantom cohorts, called as from a shell."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from tfmri.checks.finding import Finding, Harm
from tfmri.checks.report import Report, as_json, as_text
from tfmri.experiment.load import validate
from tfmri.phantom.cohort import write_cohort
from tfmri.workflows.check import check

SEX = {"sex": {"task": "classification", "classes": {"f": ["f"], "m": ["m"]}}}


@pytest.fixture(scope="module")
def phantom(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("check") / "phantom"
    write_cohort(folder, subjects=10, seed=1, workers=1, shown=False)
    return folder


@pytest.fixture
def study(phantom, tmp_path, monkeypatch) -> pd.DataFrame:
    """A folder to work in, with the phantom's labels and an experiment; the labels come back."""
    monkeypatch.chdir(tmp_path)
    table = pd.read_csv(phantom / "labels.csv", dtype=str, keep_default_na=False)
    table["path"] = [str(phantom / path) for path in table["path"]]
    table.to_csv("labels.csv", index=False)
    Path("own.yaml").write_text(yaml.safe_dump({"data": {"labels": "labels.csv"}, "targets": SEX}))
    return table


def tfmri(*arguments: str) -> tuple[int, str, str]:
    program = [sys.executable, "-c", "from tfmri.cli import main; main()"]
    done = subprocess.run([*program, *arguments], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_a_sound_cohort_ends_with_0_a_page_and_its_json(study):
    code, said, progress = tfmri("check", "own.yaml", "--workers", "1")
    assert code == 0, said + progress
    assert f"labels.csv: {len(study)} scans of 10 subjects" in said and "check/own/index.html" in said
    assert "spoil a result:" not in said and "Traceback" not in progress
    page = Path("check/own/index.html").read_text()
    assert page.count("<img") == len(study)
    told = json.loads(Path("check/own/check.json").read_text())
    assert told["scans"] == len(study) and told["counts"]["spoils"] == 0


def test_all_that_spoils_a_result_is_told_at_once_and_ends_with_3(study):
    cut = Path("cut.nii.gz")
    cut.write_bytes(Path(study.loc[2, "path"]).read_bytes()[:5000])
    study.loc[1, "path"], study.loc[2, "path"], study.loc[3, "sex"] = "away.nii.gz", str(cut), "x"
    study.to_csv("labels.csv", index=False)
    code, said, progress = tfmri("check", "own.yaml", "--json", "--to", "page", "--workers", "1")
    assert code == 3, said + progress
    told = json.loads(said)
    spoiling = [each for each in told["findings"] if each["harm"] == "spoils"]
    assert told["exit_code"] == 3 and told["counts"]["spoils"] == len(spoiling)
    assert {"missing_image", "unknown_value"} <= {each["check"] for each in spoiling}
    assert any("cut" in each["where"] + each["found"] or 4 in each["rows"] for each in spoiling)
    assert [each["harm"] for each in told["findings"]] == sorted(
        (each["harm"] for each in told["findings"]), key=["spoils", "doubtful", "note"].index
    )
    written = json.loads(Path("page/check.json").read_text())
    assert len(written.pop("sides")) == 8 and written == told  # by which a report knows that it is of the same split
    assert Path("page/index.html").read_text().count("<figure") == len(study) - 2


def test_headers_alone_are_read_without_pictures(study):
    code, said, _ = tfmri("check", "own.yaml", "--headers-only", "--json")
    assert code == 0 and json.loads(said)["scans"] == len(study)
    assert "<img" not in Path("check/own/index.html").read_text()


def test_further_channels_are_looked_at_too(study):
    Path("cut.nii.gz").write_bytes(b"")
    study.assign(flair=["cut.nii.gz", *study["path"][1:]]).to_csv("labels.csv", index=False)
    settings = {"data": {"labels": "labels.csv"}, "targets": SEX, "image": {"channels": ["path", "flair"]}}
    found = check(validate(settings, "own"), "own", headers_only=True, shown=False)
    spoiling = [each for each in found.findings if each.harm is Harm.SPOILS]
    assert len(spoiling) == 1 and spoiling[0].found.startswith("column 'flair': ")
    assert spoiling[0].where.endswith("cut.nii.gz") and found.exit_code == 3


def test_with_folds_only_the_test_split_stands_apart(study):
    settings = {"data": {"labels": "labels.csv"}, "targets": SEX, "split": {"folds": 3}}
    found = check(validate(settings, "own"), "own", headers_only=True, shown=False)
    assert set(found.table["split"]) == {"train", "test"}


def test_a_cohort_that_cannot_be_split_is_told(study):
    study[study["subject"].isin(study["subject"].unique()[:2])].to_csv("labels.csv", index=False)
    settings = {"data": {"labels": "labels.csv"}, "targets": {"age": {"task": "regression"}}}
    found = check(validate(settings, "own"), "own", headers_only=True, shown=False)
    assert ("no_split", "2 subjects for train, validation, test") in {
        (each.check, each.found) for each in found.of(Harm.SPOILS)
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing-of-that-name"], "no file of that name"),
        (["own.yaml", "--set", "data.labels=away.csv"], "there is no such file"),
        (["own.yaml", "--set", "data.where=height > 3"], "data.where"),
        (["own.yaml", "--jsn"], "No such option"),
    ],
)
def test_a_mistake_of_use_ends_with_2_and_a_sentence(study, arguments, said):
    code, output, error = tfmri("check", *arguments)
    assert code == 2 and said in error and "Traceback" not in error
    assert output == "" and not Path("check").exists()


# The account on the terminal


def report(*findings: Finding) -> Report:
    names = [f"s{n}" for n in range(30)]
    table = pd.DataFrame({"subject": names, "scan": names, "split": "", "site": "", "sex": "f"})
    rows, order = np.arange(2, 32), np.arange(30)
    return Report("own", Path("labels.csv"), "sex", ("f", "m"), findings, table, rows, order, [None] * 30)


def test_the_account_is_ordered_by_harm_and_shortens_long_lists():
    many = tuple(f"s{n}" for n in range(20))
    spoils = Finding("repeated", Harm.SPOILS, "labels.csv, rows 2-21", "the same", "different", "Delete it.", many)
    said = as_text(report(spoils, Finding("small_test", Harm.NOTE, "labels.csv", "few")), 100)
    lines = said.splitlines()
    assert lines[0] == "labels.csv: 30 scans of 30 subjects; target sex"
    assert "1 finding spoils a result:" in lines and "1 finding is worth knowing:" in lines
    for line in ("found     the same", "expected  different", "do        Delete it."):
        assert f"      {line}" in lines
    assert "      scans     s0, s1, s2, s3, s4, s5 and 14 more" in lines
    assert said.index("repeated") < said.index("small_test")


def test_a_finding_about_scans_is_told_with_their_rows():
    one = Finding("odd", Harm.DOUBTFUL, "/data/a.nii.gz", "dark", scans=("s3",))
    some = Finding("dark", Harm.DOUBTFUL, "3 scans, s3, s4, ...", "dark", scans=("s3", "s4", "s9"))
    all_of_them = Finding("site_tells_target", Harm.DOUBTFUL, "sex by site", "it does")
    said = as_text(report(one, all_of_them, some))
    assert "site_tells_target: labels.csv, sex by site" in said
    assert "odd: /data/a.nii.gz" in said and "s3 (row 5)" in said
    assert "dark: labels.csv, rows 5-6, 11" in said and said.endswith("scans     s3, s4, s9")


def test_paths_stay_whole_in_narrow_terminals():
    path = "/data/a-very-long-folder/sub-01/anat/sub-01_ses-1_T1w.nii.gz"
    said = as_text(report(Finding("odd", Harm.DOUBTFUL, path, f"in {path} the voxels are zero")), 40)
    assert said.count(path) == 2 and max(map(len, said.split())) == len(path)


def test_numbers_that_json_has_not_become_null():
    finding = Finding("odd", Harm.NOTE, "x", "y", numbers={"a": float("nan"), "b": float("inf"), "c": 3.0, "d": 0.5})
    told = json.loads(json.dumps(as_json(report(finding)), allow_nan=False))
    assert told["findings"][0]["numbers"] == {"a": None, "b": None, "c": 3, "d": 0.5}


def test_where_nothing_is_found_it_is_said():
    assert "Nothing was found" in as_text(report())
