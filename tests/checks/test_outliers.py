import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from drawn_heads import AFFINE, draw_head

from tfmri.checks.files import file_findings
from tfmri.checks.finding import Harm
from tfmri.checks.headers import read_headers
from tfmri.checks.outliers import COMPARED, outlier_findings, strangeness
from tfmri.checks.voxels import Voxels, examine, examine_volume
from tfmri.images.read import Volume

DATA = os.environ.get("TFMRI_TEST_DATA")
REAL = pytest.mark.skipif(not DATA, reason="TFMRI_TEST_DATA is not set")
SCANS = 12


def drawn(data: np.ndarray) -> Voxels:
    return examine_volume(Volume(np.ascontiguousarray(data), AFFINE))


@pytest.fixture(scope="module")
def brains() -> list[Voxels]:
    return [drawn(draw_head(seed, whole=False)) for seed in range(SCANS)]


def cohort(count: int, site="", spacing=(1.0, 1.0, 1.0)) -> tuple[pd.DataFrame, pd.DataFrame]:
    names = [f"s{number}" for number in range(count)]
    table = pd.DataFrame({"scan": names, "path": names, "site": site})
    headers = pd.DataFrame({"problem": [""] * count})
    headers[["spacing_x", "spacing_y", "spacing_z"]] = spacing
    return table, headers


def changed(voxels: Voxels, **factors: float) -> Voxels:
    return replace(voxels, measures={name: value * factors.get(name, 1) for name, value in voxels.measures.items()})


def told(voxels, site="") -> dict[str, tuple[str, ...]]:
    findings = outlier_findings(*cohort(len(voxels), site), voxels)
    assert all(finding.harm != Harm.SPOILS and "\n" not in str(finding) for finding in findings)
    return {finding.check: finding.scans for finding in findings}


def test_scans_that_are_alike_have_no_findings(brains):
    assert told(brains) == {}


@pytest.mark.parametrize(
    ("measure", "factor", "check"),
    [
        ("head_volume_ml", 0.5, "odd_size"),
        ("head_length_mm", 1.6, "odd_size"),
        ("intensity_median", 30, "odd_intensity"),
        ("contrast", 3, "odd_intensity"),
        ("snr", 0.1, "odd_noise"),
    ],
)
def test_one_scan_that_measures_otherwise_is_told(brains, measure, factor, check):
    odd = [*brains[:5], changed(brains[5], **{measure: factor}), *brains[6:]]
    findings = outlier_findings(*cohort(SCANS), odd)
    assert [(finding.check, finding.scans) for finding in findings] == [(check, ("s5",))]
    assert COMPARED[measure].words in findings[0].found and np.sign(findings[0].numbers["score"]) == np.sign(factor - 1)
    assert strangeness(*cohort(SCANS), odd).argmax() == 5


def test_the_score_is_the_distance_from_the_median_in_median_absolute_deviations(brains):
    values = np.exp(np.linspace(-1, 1, SCANS))
    odd = [replace(each, measures=each.measures | {"snr": float(v)}) for each, v in zip(brains, values, strict=True)]
    odd[0] = replace(odd[0], measures=odd[0].measures | {"snr": 1e6})
    logs = np.log([each.measures["snr"] for each in odd])
    away = logs - np.median(logs)
    expected = away[0] / (1.4826 * np.median(np.abs(away)))
    (found,) = outlier_findings(*cohort(SCANS), odd)
    assert found.numbers["score"] == pytest.approx(expected)
    assert " 1000000, where others have " in found.found


def test_a_third_of_strange_scans_does_not_hide_itself(brains):
    odd = [changed(each, intensity_median=40.0) if i < 4 else each for i, each in enumerate(brains)]
    findings = outlier_findings(*cohort(SCANS), odd)
    assert {finding.scans[0] for finding in findings} == {"s0", "s1", "s2", "s3"}


def test_sites_are_compared_within_themselves_where_they_are_large(brains):
    bright = [changed(each, intensity_median=40.0) for each in brains]
    assert told([*brains, *bright], ["A"] * SCANS + ["B"] * SCANS) == {}
    odd = [*brains, *bright[1:], changed(bright[0], intensity_median=0.025)]  # usual at A, not at B
    assert told(odd, ["A"] * SCANS + ["B"] * SCANS) == {"odd_intensity": (f"s{2 * SCANS - 1}",)}


def test_a_few_scans_have_no_outliers(brains):
    assert told([*brains[:7], changed(brains[7], snr=0.01)]) == {}


def test_a_spacing_unlike_the_rest_of_the_site_is_told(brains):
    spacing = np.ones((2 * SCANS, 3))
    spacing[SCANS:] = 2  # another site
    spacing[3, 2] = 1.3
    spacing[4, 2] = 1.01  # rounding
    table, headers = cohort(2 * SCANS, ["A"] * SCANS + ["B"] * SCANS, spacing)
    (found,) = outlier_findings(table, headers, None)
    assert (found.check, found.scans) == ("odd_spacing", ("s3",))
    assert "1 x 1 x 1.3 mm" in found.found and "1 x 1 x 1 mm, as the rest at A" in found.expected


def test_headers_that_cannot_be_read_are_strange_and_compared_with_nothing(brains):
    table, headers = cohort(SCANS)
    headers.loc[2, ["problem", "spacing_x", "spacing_y", "spacing_z"]] = ["no such file", np.nan, np.nan, np.nan]
    voxels = [*brains[:2], Voxels(), *brains[3:]]
    assert outlier_findings(table, headers, voxels) == []
    assert strangeness(table, headers, voxels).argmax() == strangeness(table, headers, None).argmax() == 2
    assert np.isfinite(strangeness(table, headers, voxels)).all()


@pytest.mark.parametrize("fewer", ["heads", "brains"])
def test_skulls_in_some_scans_are_told_of_the_fewer(brains, fewer):
    heads = [drawn(draw_head(seed)) for seed in range(3)]
    mixed = [*brains[:2], *heads] if fewer == "brains" else [*brains, *heads[:2]]
    findings = {finding.check: finding for finding in outlier_findings(*cohort(len(mixed)), mixed)}
    assert set(findings) == {"skull_in_some"}
    found = findings["skull_in_some"]
    assert found.scans == (("s0", "s1") if fewer == "brains" else ("s12", "s13")) and fewer[:-1] in found.found
    assert found.numbers == {"heads": 3 if fewer == "brains" else 2, "brains": 2 if fewer == "brains" else 12}


@pytest.mark.parametrize("whole", [True, False])
def test_one_that_lies_otherwise_than_its_header_says_is_told(brains, whole):
    rest = [drawn(draw_head(seed)) for seed in range(5)] if whole else brains
    lying = drawn(np.swapaxes(draw_head(20, whole)[:, :66], 1, 2))
    found = told([*rest, lying])
    assert found["wrong_orientation"] == (f"s{len(rest)}",) and "skull_in_some" not in found


def test_all_that_lie_otherwise_are_told_by_a_template():
    lying = [drawn(np.swapaxes(draw_head(seed, whole=False)[:, :66], 1, 2)) for seed in range(5)]
    assert told(lying)["wrong_orientation"] == ("s0", "s1", "s2", "s3", "s4")


def test_something_else_than_a_head_is_told(brains):
    stripes = 300 * (np.indices((64, 76, 66)).sum(axis=0) // 12 % 2) * (draw_head(0, whole=False) > 0)
    assert "unlike_the_rest" in told([*brains, drawn(stripes.astype(np.float32))])


@REAL
def test_real_cohorts_alone_have_what_was_seen_in_them_and_no_more_and_together_a_skull_in_some():
    extracted = sorted(Path(DATA).glob("ds002748-2mm/sub-*/anat/*"))[3::4]
    whole = sorted(Path(DATA).glob("ds000011-2mm/sub-*/anat/*"))
    paths = [*extracted, *whole]
    headers, voxels = read_headers(paths), examine(paths, 2, False)
    sites = ["a"] * len(extracted) + ["b"] * len(whole)
    table = pd.DataFrame({"scan": [path.name[:6] for path in paths], "path": list(map(str, paths)), "site": sites})

    def findings(rows: slice):
        part = table[rows].reset_index(drop=True), headers[rows].reset_index(drop=True), voxels[rows]
        found = [*file_findings(*part), *outlier_findings(*part)]
        return {finding.check: finding.scans for finding in found if finding.harm != Harm.NOTE}

    dark = {"odd_intensity": ("sub-48",)}  # it has half the brightness of the others
    assert findings(slice(None, len(extracted))) == dark
    assert findings(slice(len(extracted), None)) == {}
    assert findings(slice(None)) == dark | {"skull_in_some": tuple(table["scan"][len(extracted) :])}
