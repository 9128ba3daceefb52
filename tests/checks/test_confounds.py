"""Tests of confounds: each is found where it was planted and nowhere else, by subjects and not by scans."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from tfmri.checks.confounds import confound_findings
from tfmri.checks.finding import Harm
from tfmri.checks.headers import UNKNOWN, read_headers
from tfmri.checks.voxels import Voxels

N = 60


def people(**columns):
    """A cohort in which nothing goes with anything: 60 subjects, 20 at each of three sites."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "subject": [f"s{number:03}" for number in rng.permutation(N)],
            "scan": [f"scan{number}" for number in range(N)],
            "path": [f"/data/scan{number}.nii.gz" for number in range(N)],
            "site": rng.permutation(np.repeat(["north", "east", "south"], N // 3)),
            "split": "train",
            "sex": rng.permutation(np.repeat(["f", "m"], N // 2)),
            "age": rng.uniform(20, 80, N).round(1),
        }
    )
    return table.assign(**columns)


def headers(table, spacing=1.0, size=176, axes="RAS"):
    """What the headers of the scans would say."""
    rows = pd.DataFrame([UNKNOWN] * len(table))
    for axis in "xyz":
        rows[f"spacing_{axis}"], rows[f"size_{axis}"] = spacing, size
    return rows.assign(axes=axes)


def skulls(there):
    return [Voxels(measures={"skull": 0.9 if each else 0.1}) for each in there]


def found(table, target="sex", numeric=False, heads=None, voxels=None):
    findings = confound_findings(table, target, numeric, headers(table) if heads is None else heads, voxels)
    return {finding.check: finding for finding in findings}


@pytest.mark.parametrize(("target", "numeric"), [("sex", False), ("age", True)])
def test_a_cohort_in_which_nothing_goes_with_anything_passes(target, numeric):
    rng = np.random.default_rng(1)
    table = people()
    heads = headers(table, spacing=rng.choice([0.9, 1.0], N), size=rng.choice([160, 192], N))
    assert found(table, target, numeric, heads, skulls(rng.random(N) < 0.5)) == {}


def test_what_is_the_same_for_all_says_nothing():
    table = people(site="north", subject=[f"s{number}" for number in range(N)]).iloc[::2]
    table["sex"] = np.tile(["f", "m"], N // 4)
    assert found(table, voxels=skulls(np.ones(N // 2))) == {}


def test_a_site_that_tells_the_sex_spoils_and_one_that_hints_at_it_is_doubtful():
    table = people()
    site = np.where(table["sex"] == "f", "north", "south")
    finding = found(table.assign(site=np.where(np.arange(N) % 6 == 0, table["site"], site)))["site_tells_target"]
    assert finding.harm is Harm.SPOILS and "Pearson's chi²" in finding.found and "balanced accuracy" in finding.found
    assert finding.numbers["effect"] > 0.85 and finding.numbers["p_corrected"] < 0.001 and finding.numbers["n"] == N

    many = pd.concat([people(subject=[f"{part}-{number}" for number in range(N)]) for part in range(12)])
    rng = np.random.default_rng(2)
    female = rng.random(len(many)) < np.where(many["site"] == "north", 0.7, 0.45)
    finding = found(many.assign(sex=np.where(female, "f", "m")).reset_index(drop=True))["site_tells_target"]
    assert finding.harm is Harm.DOUBTFUL and 0.55 < finding.numbers["effect"] < 0.7


def test_a_site_that_tells_the_age_is_found_with_the_variance_it_explains():
    table = people()
    table["age"] += 25 * (table["site"] == "east")
    finding = found(table, "age", numeric=True)["site_tells_target"]
    assert finding.harm is Harm.SPOILS and "Kruskal–Wallis H" in finding.found and "R²" in finding.found
    assert 0.2 < finding.numbers["effect"] < 0.6 and "east: mean" in finding.found


def test_a_skull_that_tells_the_sex_is_found():
    table = people(site="")
    finding = found(table, voxels=skulls(table["sex"] == "f"))["skull_tells_target"]
    assert finding.harm is Harm.SPOILS and finding.numbers["effect"] == 1


def test_spacing_that_tells_the_target_is_found_by_protocol_and_by_size():
    table = people(site="")
    female = (table["sex"] == "f").to_numpy()
    by_protocol = found(table, heads=headers(table, spacing=np.where(female, 1.0, 1.2)))
    assert by_protocol.keys() == {"spacing_tells_target"} and by_protocol["spacing_tells_target"].harm is Harm.SPOILS
    each_its_own = np.random.default_rng(3).uniform(0.7, 2.0, N) + female
    finding = found(table, heads=headers(table, spacing=each_its_own))["spacing_tells_target"]
    assert finding.harm is Harm.SPOILS and "mm³" in finding.found


def test_a_grid_that_tells_the_target_is_doubtful_but_not_if_scans_are_cut_to_each_head():
    table = people(site="")
    female = (table["sex"] == "f").to_numpy()
    assert found(table, heads=headers(table, axes=np.where(female, "RAS", "LAS")))["grid_tells_target"].harm > 0
    assert found(table, heads=headers(table, size=np.arange(N) + 100 * female)) == {}


def test_ages_and_sexes_that_tell_a_diagnosis_are_doubtful_and_a_target_does_not_tell_itself():
    rng = np.random.default_rng(5)
    ill = rng.permutation(np.repeat(["healthy", "ill"], N // 2))
    table = people(site="", group=ill, age=np.where(ill == "ill", 75, 60) + rng.normal(0, 5, N))
    finding = found(table.rename(columns={"age": "Age"}), "group")["age_tells_target"]
    assert finding.harm is Harm.DOUBTFUL and finding.numbers["effect"] > 0.85
    assert "age goes with group" in finding.found and "years" in finding.found and "age alone" in finding.advice
    by_sex = found(people(site="", group=np.where(table["sex"] == "f", "healthy", "ill")), "group")
    assert by_sex["sex_tells_target"].harm is Harm.DOUBTFUL and "healthy" in by_sex["sex_tells_target"].found
    for target in ("sex", "age"):
        assert found(people(site=""), target, target == "age") == {}


def test_headers_of_real_files_say_what_is_needed(tmp_path):
    table = people(site="").iloc[:24].assign(sex=np.tile(["f", "m"], 12))
    table["path"] = [str(tmp_path / f"{number}.nii.gz") for number in range(24)]
    for path, sex in zip(table["path"], table["sex"], strict=True):
        nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.diag([1 if sex == "f" else 1.5, 1, 1, 1])), path)
    assert "spacing_tells_target" in found(table, heads=read_headers(table["path"]))


def test_a_list_sorted_by_class_or_by_age_is_doubtful():
    by_class = found(people().sort_values("sex"))["order_tells_target"]
    by_age = found(people().sort_values("age"), "age", numeric=True)["order_tells_target"]
    assert by_class.harm is by_age.harm is Harm.DOUBTFUL
    assert by_class.numbers["effect"] == 1 and "median of f" in by_class.found
    assert by_age.numbers["effect"] > 0.9


def test_blocks_in_a_list_are_found_though_no_end_of_it_has_more_of_a_class():
    finding = found(people(sex=np.repeat(["f", "m", "f", "m", "f", "m"], N // 6)))["order_tells_target"]
    assert "neighbours" in finding.found and "serial correlation" in finding.found


def test_ids_given_out_by_class_are_found_in_a_shuffled_list_in_their_natural_order():
    table = people()
    table["subject"] = [f"s{9 + rank}" for rank in table["sex"].rank(method="first").astype(int)]
    assert found(table).keys() == {"order_of_ids_tells_target"}


def test_scans_of_one_subject_count_once():
    table = people()
    one = pd.concat([table.iloc[[0]].assign(site="far away", sex="f")] * 200)
    assert found(pd.concat([one, table.iloc[1:]], ignore_index=True)) == {}


def test_a_few_subjects_told_without_fail_are_enough():
    table = people().iloc[:14].assign(sex=["f", "m"] * 7)
    table["site"] = table["sex"]
    assert found(table)["site_tells_target"].harm is Harm.SPOILS


def test_cohorts_with_and_without_skull_put_together_are_found_by_site_or_else_by_folder():
    table = people()
    there = (table["site"] == "north").to_numpy()
    finding = found(table, voxels=skulls(there))["skull_tells_site"]
    assert finding.harm is Harm.SPOILS and "north: 20 with skull" in finding.found
    folders = "/data/" + table["site"] + "/" + table["scan"] + "/T1.nii.gz"
    assert "folder" in found(table.assign(site="", path=folders), voxels=skulls(there))["skull_tells_site"].found
    assert found(table, voxels=skulls(np.random.default_rng(4).random(N) < 0.5)) == {}


def test_scans_that_could_not_be_read_are_left_out_of_what_needs_them():
    table = people()
    voxels = skulls(table["sex"] == "f")
    voxels[3] = Voxels()
    heads = headers(table)
    heads.loc[3, ["problem", "spacing_x"]] = ["cut short", np.nan]
    assert found(table, heads=heads, voxels=voxels)["skull_tells_target"].numbers["n"] == N - 1
    assert found(people().iloc[:4]) == {}
