from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tfmri.checks.balance import balance_findings
from tfmri.checks.finding import Finding, Harm
from tfmri.checks.labels import label_findings
from tfmri.cohort.table import inspect_labels

SEX = {"sex": {"f": ["female", 2], "m": ["male", 1]}}
AGE = {"age": None}
AGES = (34, 41.5, 29, 50, 61, 33, 27, 45, 38, 52)


@pytest.fixture
def study(tmp_path):
    """Writes a labels file of ten people, some columns or cells of it changed; its path comes back."""
    for number in range(10):
        (tmp_path / f"{number}.nii").write_bytes(b"scan")

    def write(changes: Mapping[tuple[int, str], object] = MappingProxyType({}), **columns: object) -> Path:
        table = pd.DataFrame(
            {"subject": [f"s{n}" for n in range(10)], "path": [f"{n}.nii" for n in range(10)], "sex": ["f", "m"] * 5}
            | {"age": AGES}
            | columns,
            dtype=object,
        )
        for (row, column), value in changes.items():
            table.loc[row - 2, column] = value
        table.to_csv(tmp_path / "labels.csv", index=False)
        return tmp_path / "labels.csv"

    return write


def found(path: Path, targets=AGE) -> list[Finding]:
    return label_findings(inspect_labels(path, targets), targets)


def one(path: Path, check: str, targets=AGE) -> Finding:
    findings = [finding for finding in found(path, targets) if finding.check == check]
    assert len(findings) == 1, found(path, targets)
    return findings[0]


# What cannot be read


def test_of_a_sound_file_there_is_nothing_to_tell(study):
    assert found(study(), SEX | AGE) == []


def test_everything_that_cannot_be_read_is_told_at_once_and_spoils(study):
    changes = {
        (2, "path"): "away.nii",
        (3, "age"): "old",
        (4, "sex"): "femal",
        (5, "subject"): "",
        (6, "path"): "5.nii",
    }
    findings = [each for each in found(study(changes), SEX | AGE) if each.harm is Harm.SPOILS]
    assert {(each.check, each.where) for each in findings} == {
        ("missing_image", "labels.csv, row 2, column 'path'"),
        ("not_a_number", "labels.csv, row 3, column 'age'"),
        ("unknown_value", "labels.csv, row 4, column 'sex'"),
        ("missing_subject", "labels.csv, row 5, column 'subject'"),
        ("repeated_image", "labels.csv, rows 6-7, column 'path'"),
    }
    assert all(each.found and each.advice for each in findings)


def test_the_sound_rows_are_known_by_their_rows_in_the_file(study):
    cohort = inspect_labels(study({(2, "path"): "away.nii", (3, "age"): "old", (6, "path"): "5.nii"}), AGE).cohort
    assert list(cohort.rows) == [4, 5, 6, 8, 9, 10, 11]  # of an image that stands twice, the first row stays
    assert list(cohort.table["subject"]) == ["s2", "s3", "s4", "s6", "s7", "s8", "s9"]


def test_a_missing_column_is_told_where_nothing_else_can_be(study):
    finding = one(study(), "missing_column", {"height": None})
    assert finding.harm is Harm.SPOILS and "no column holds the height" in finding.found
    assert inspect_labels(study(), {"height": None}).cohort is None


def test_a_subject_on_two_sides_is_told_and_its_scans_are_still_looked_at(study):
    sides = ["train", "train", "test", *["train"] * 4, *["validation"] * 3]
    path = study({(4, "subject"): "s1"}, split=sides)
    finding = one(path, "subject_on_two_sides")
    assert finding.harm is Harm.SPOILS and finding.where == "labels.csv, rows 3-4, column 'split'"
    assert "'s1' is in test (row 4) and in train (row 3)" in finding.found
    assert len(inspect_labels(path, AGE).cohort.table) == 10


@pytest.mark.parametrize(
    ("cell", "check", "said"),
    [("trian", "unknown_split", "'trian'"), ("", "split_in_part", "no split, though other rows have one")],
)
def test_a_split_column_that_cannot_be_used_is_told(study, cell, check, said):
    sides = ["train"] * 6 + ["test"] * 2 + ["validation"] * 2
    finding = one(study({(3, "split"): cell}, split=sides), check)
    assert finding.harm is Harm.SPOILS and said in finding.found and "row 3" in finding.where


@pytest.mark.parametrize(
    ("changes", "columns", "targets", "check"),
    [
        ({}, {"sex": ["f"] * 10}, SEX, "one_class"),
        ({}, {"sex": ["f"] * 9 + ["m"]}, SEX, "class_of_one"),
        ({}, {"age": [30] * 10}, AGE, "constant_target"),
        ({}, {"age": [""] * 10}, AGE, "missing_target"),
    ],
)
def test_a_target_that_nothing_can_be_learnt_from_spoils(study, changes, columns, targets, check):
    assert one(study(changes, **columns), check, targets).harm is Harm.SPOILS


# What cannot be true


@pytest.mark.parametrize("age", [-3, 700, -9, 999])
def test_an_impossible_age_spoils_and_is_told_with_its_row(study, age):
    finding = one(study({(5, "age"): age}), "impossible_value")
    assert finding.harm is Harm.SPOILS and finding.where == "labels.csv, row 5, column 'age'"
    assert f"{age}" in finding.found and finding.expected == "0 to 105 years"
    assert finding.scans == ("s3",)
    assert ("'unknown'" in finding.advice) == (age in (-9, 999))


@pytest.mark.parametrize("age", [106, 130, 150])
def test_an_age_that_hardly_anybody_reaches_is_doubtful(study, age):
    finding = one(study({(5, "age"): age}), "implausible_value")
    assert finding.harm is Harm.DOUBTFUL and finding.where == "labels.csv, row 5, column 'age'"


def test_ages_in_months_are_recognised(study):
    finding = one(study(age=[12 * age for age in AGES]), "impossible_value")
    assert "Are these months (the median is 40 years then)" in finding.advice


def test_an_impossible_age_beside_the_target_is_doubtful(study):
    finding = one(study({(5, "age"): -3}), "impossible_value", SEX)
    assert finding.harm is Harm.DOUBTFUL and finding.where == "labels.csv, row 5, column 'age'"


def test_a_number_far_from_all_others_is_doubtful(study):
    scores = [21, 24, 19, 23, 22, 25, 20, 24, 21, 999]
    finding = one(study(score=scores), "implausible_value", {"score": None})
    assert finding.harm is Harm.DOUBTFUL and finding.where == "labels.csv, row 11, column 'score'"
    assert "999" in finding.found and "'unknown'" in finding.advice


def test_numbers_of_many_magnitudes_are_not_doubted(study):
    volumes = [0.01, 0.05, 0.2, 0.4, 1, 2, 5, 9, 40, 90]
    assert found(study(volume=volumes), {"volume": None}) == []


def test_numbers_that_stand_for_classes_are_doubtful(study):
    assert one(study(sex=[1, 2] * 5), "numbers_like_classes", {"sex": None}).found == "only the numbers 1 and 2"


# Who is missing, and who may be one person


@pytest.mark.parametrize(("rows", "harm"), [([3], Harm.NOTE), ([3, 7, 8], Harm.DOUBTFUL)])
def test_missing_targets_are_told_and_many_are_doubtful(study, rows, harm):
    finding = one(study({(row, "age"): "n/a" for row in rows}), "missing_target")
    assert finding.harm is harm and f"in {len(rows)} of 10 rows" in finding.found
    assert finding.where == f"labels.csv, {'rows 3, 7-8' if len(rows) > 1 else 'row 3'}, column 'age'"


def test_columns_filled_in_part_are_told(study):
    path = study(site=["A"] * 7 + [""] * 3, education=["high"] * 6 + ["", "n/a", "low", "low"])
    site, other = [each for each in found(path, SEX) if each.check == "missing_values"]
    assert (site.harm, site.where) == (Harm.DOUBTFUL, "labels.csv, rows 9-11, column 'site'")
    assert (other.harm, other.found) == (Harm.NOTE, "of 10 rows, no value for 'education' in 2")


@pytest.mark.parametrize(
    ("targets", "changes", "said"),
    [(SEX, {(3, "subject"): "s0"}, "'s0' has f and m"), (AGE, {(6, "subject"): "s2"}, "'s2' has 29 and 61")],
)
def test_a_subject_that_contradicts_itself_is_doubtful(study, targets, changes, said):
    finding = one(study(changes), "subject_contradicts_itself", targets)
    assert finding.harm is Harm.DOUBTFUL and said in finding.found


def test_a_class_that_may_change_between_sessions_is_only_noted(study):
    targets = {"diagnosis": {"healthy": [], "ill": []}}
    path = study({(3, "subject"): "s0"}, diagnosis=["healthy", "ill"] * 5)
    assert one(path, "subject_contradicts_itself", targets).harm is Harm.NOTE


@pytest.mark.parametrize(
    ("ids", "check"),
    [
        (("sub-01", "01"), "ids_alike"),
        (("S_77", "s077"), "ids_alike"),
        (("P007", "P7"), "ids_alike"),
        (("A-1", "a_01"), "ids_alike"),
        (("OAS1_0001_MR1", "OAS1_0001_MR2"), "ids_of_sessions"),
        (("p12_ses-1", "p12_ses-2"), "ids_of_sessions"),
        (("sub-1", "sub-11"), None),
        (("m1", "m2"), None),
    ],
)
def test_ids_that_may_be_one_person_are_doubtful(study, ids, check):
    path = study({(2, "subject"): ids[0], (3, "subject"): ids[1]})
    findings = [each for each in found(path, SEX) if each.check.startswith("ids_")]
    assert [each.check for each in findings] == ([check] if check else [])
    assert all(each.harm is Harm.DOUBTFUL and each.where.startswith("labels.csv, rows 2-3") for each in findings)


def test_what_was_assumed_in_reading_is_told(study):
    path = study()
    path.write_text(path.read_text().replace("sex", "gender"))
    assert one(path, "how_the_file_was_read", SEX).found == "read 'gender' as sex"


# How a target is spread


def cohort(values, sides="") -> pd.DataFrame:
    table = pd.DataFrame({"target": values, "split": sides})
    return table.assign(subject=[f"s{n}" for n in range(len(table))], scan=[f"s{n}" for n in range(len(table))])


def balance(table: pd.DataFrame, numeric: bool = False) -> dict[str, Finding]:
    return {each.check: each for each in balance_findings(table, "target", numeric, "labels.csv")}


@pytest.mark.parametrize(("many", "harm"), [(20, None), (40, Harm.NOTE), (90, Harm.DOUBTFUL)])
def test_imbalance_is_told_by_what_always_saying_the_same_would_reach(many, harm):
    finding = balance(cohort(["f"] * many + ["m"] * 10)).get("class_imbalance")
    assert (finding and finding.harm) == harm
    if finding:
        assert f"is right in {many / (many + 10):.0%} of the subjects" in finding.advice


def test_people_are_counted_and_not_scans():
    table = cohort(["f"] * 40 + ["m"] * 10).assign(subject=["f0"] * 31 + [f"p{n}" for n in range(19)])
    assert "class_imbalance" not in balance(table)


SIDES = np.repeat(["train", "validation", "test"], [60, 20, 20])


def test_a_target_spread_alike_over_the_splits_is_not_doubted():
    labels = np.resize(["f", "m"], 100)
    ages = np.random.default_rng(0).uniform(20, 80, 100)
    assert not balance(cohort(labels, SIDES)).keys() & {"split_differs", "class_absent_in_split"}
    assert "split_differs" not in balance(cohort(ages, SIDES), numeric=True)


def test_ages_that_differ_between_splits_are_told_with_the_ks_test():
    ages = np.r_[np.linspace(20, 80, 60), np.linspace(20, 80, 20), np.linspace(50, 80, 20)]
    finding = balance(cohort(ages, SIDES), numeric=True)["split_differs"]
    distance = stats.ks_2samp(ages[:60], ages[80:])
    assert finding.harm is Harm.DOUBTFUL and "target in test" in finding.found
    assert finding.numbers["p"] == pytest.approx(distance.pvalue)
    assert finding.numbers["statistic"] == pytest.approx(distance.statistic)


def test_classes_that_differ_between_splits_are_told_with_the_chi_square_of_the_counts():
    labels = ["f", "m"] * 30 + ["f", "m"] * 10 + ["f"] * 18 + ["m"] * 2
    finding = balance(cohort(labels, SIDES))["split_differs"]
    known = stats.chi2_contingency([[30, 18], [30, 2]], correction=False)
    assert finding.numbers["statistic"] == pytest.approx(known.statistic)
    exact = stats.hypergeom(80, 48, 20)  # f in test, of 48 among 80 people; 12 are expected, and 18 are there
    assert finding.numbers["p"] == pytest.approx(exact.cdf(6) + exact.sf(17), abs=0.002)
    assert "90% f, 10% m" in finding.found and "50% f, 50% m" in finding.found


@pytest.mark.parametrize(("side", "harm"), [("train", Harm.SPOILS), ("test", Harm.DOUBTFUL)])
def test_a_class_that_a_split_lacks_is_told(side, harm):
    labels = np.where(np.equal(SIDES, side), "f", np.resize(["f", "m"], 100))
    finding = balance(cohort(labels, SIDES))["class_absent_in_split"]
    assert finding.harm is harm and finding.found == f"nobody of class 'm' is in {side}"


def test_numbers_that_nobody_in_training_has_are_told():
    ages = np.r_[np.linspace(20, 60, 60), np.linspace(20, 60, 37), 70, 80, 90]
    finding = balance(cohort(ages, SIDES), numeric=True)["outside_training_range"]
    assert finding.scans == ("s97", "s98", "s99")
    assert finding.harm is Harm.DOUBTFUL and finding.numbers["far"] == 3
    assert finding.found == "3 scans of validation and test (70 to 90) lie outside the training range"
    assert finding.numbers["highest"] == 90 and finding.numbers["n"] == len(finding.scans)


def test_numbers_barely_outside_of_training_are_only_noted():
    ages = np.r_[np.linspace(20, 60, 60), np.linspace(20, 60, 37), 60.5, 61, 61.5]
    assert balance(cohort(ages, SIDES), numeric=True)["outside_training_range"].harm is Harm.NOTE


def test_how_little_a_small_test_split_can_tell_is_said():
    finding = balance(cohort(np.resize(["f", "m"], 100), SIDES))["small_test"]
    assert finding.harm is Harm.NOTE
    assert finding.numbers["half_interval"] == pytest.approx(1.96 * np.sqrt(0.8 * 0.2 / 20))
