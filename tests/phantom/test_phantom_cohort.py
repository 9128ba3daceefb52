"""The phantom cohort on disk: whole, reproducible, honest about what it plants, and not trivial."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage, stats

from tfmri.errors import InputError
from tfmri.phantom import cohort, effects, render
from tfmri.phantom.anatomy import load_anatomy
from tfmri.phantom.people import LEAKS
from tfmri.phantom.render import SITES
from tfmri.workflows.cohort import labels_file


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """A cohort of 54 people, and its table."""
    labels = cohort.write_cohort(tmp_path_factory.mktemp("phantom") / "demo", subjects=54, workers=2, shown=False)
    return labels.parent, pd.read_csv(labels, dtype={"session": str})


@pytest.fixture(scope="session")
def anatomy():
    return load_anatomy()


def test_the_folder_holds_what_its_labels_and_truth_say(written):
    folder, table = written
    assert list(table.columns) == ["subject", "session", "path", "age", "sex", "diagnosis", "site"]
    truth = json.loads((folder / "truth.json").read_text())
    assert truth["subjects"] == table["subject"].nunique() == len(truth["latents"]) == 54
    assert truth["best_reachable"] == effects.best_reachable()
    assert {str(path.relative_to(folder)) for path in folder.glob("images/*")} == set(table["path"])
    assert not list(folder.parent.glob(".writing-*"))
    masks = [nib.load(path).get_fdata() for path in sorted(folder.glob("regions/*.nii.gz"))]
    assert len(masks) == 5 and np.sum(masks, axis=0).max() == 1  # each effect in a region of its own


def test_scans_have_the_grid_and_type_of_their_site(written):
    folder, table = written
    for site in SITES:
        image = nib.load(folder / table.loc[table["site"] == site.name, "path"].iloc[0])
        assert "".join(nib.aff2axcodes(image.affine)) == site.orientation
        assert image.get_data_dtype() == site.dtype
        spacing = nib.as_closest_canonical(image).header.get_zooms()
        np.testing.assert_allclose(spacing, site.spacing, rtol=1e-5)


def test_labels_do_not_tell_each_other(written):
    _, table = written
    first = table[table["session"] == "1"]
    assert first.groupby(["sex", "diagnosis", "site"]).size().tolist() == [3] * 18
    assert np.ptp(first.groupby(pd.cut(first["age"], np.linspace(*effects.AGE_RANGE, 7)), observed=True).size()) <= 1


def test_later_sessions_are_the_same_person_a_little_older(written):
    _, table = written
    later = table[table["session"] == "2"].set_index("subject")
    first = table[table["session"] == "1"].set_index("subject").loc[later.index]
    assert len(later) == 5
    assert (later["age"] - first["age"]).between(0.9, 3.1).all()
    assert (later[["sex", "diagnosis", "site"]] == first[["sex", "diagnosis", "site"]]).all().all()


def test_the_number_of_workers_changes_no_byte(tmp_path):
    one, two = (
        cohort.write_cohort(tmp_path / str(n), subjects=10, seed=5, workers=n, shown=False).parent for n in (1, 2)
    )
    names = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(two) for path in two.rglob("*") if path.is_file())
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)


def test_null_labels_are_drawn_apart_from_those_the_scans_are_made_from():
    true, shown = cohort.draw_people("null", 198, 0)
    assert (true[["subject", "session", "site"]] == shown[["subject", "session", "site"]]).all().all()
    assert abs(np.corrcoef(true["age"], shown["age"])[0, 1]) < 0.25
    assert 0.35 < (true["sex"] == shown["sex"]).mean() < 0.65
    demo, same = cohort.draw_people("demo", 198, 0)
    assert demo.equals(same) and demo.equals(true)  # the scans of both variants are the same


def test_simple_measures_do_not_give_sex_or_diagnosis_away(written):
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folder, table = written
    table = table[table["session"] == "1"]
    rows = []
    for path in table["path"]:
        image = nib.as_closest_canonical(nib.load(folder / path))
        data, spacing = image.get_fdata(), np.array(image.header.get_zooms())
        head = data > 0.25 * np.percentile(data, 98)
        extent = [np.ptp(np.flatnonzero(head.any(axis=others))) for others in ((1, 2), (0, 2), (0, 1))]
        rows.append([head.sum() * spacing.prod(), *(extent * spacing), data.mean(), data[head].mean(), *spacing])
    measures = np.column_stack([rows, pd.get_dummies(table["site"]).to_numpy(float)])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=5, random_state=0)
    for target in ("sex", "diagnosis"):
        scores = cross_val_score(model, measures, table[target], cv=folds, scoring="balanced_accuracy")
        assert scores.mean() < 0.65, target


@pytest.mark.parametrize(
    ("effect", "amount", "region"),
    [
        ("ventricles", 4.0, "lateral_ventricles"),
        ("thinning", 1.0, "cortex"),
        ("brainstem", 4.0, "brainstem"),
        ("sylvian", 6.0, "sylvian_fissures"),
        ("hippocampi", 4.0, "hippocampi"),
    ],
)
def test_an_effect_changes_its_region_and_none_of_another_effect(anatomy, effect, amount, region):
    """Looked at in the template's own place and shape: no pose, no individual deformation, no noise."""
    none = effects.Amplitudes(ventricles=0, thinning=0, brainstem=0, sylvian=0, hippocampi=99)
    change = np.abs(_template_with(anatomy, replace(none, **{effect: amount})) - _template_with(anatomy, none))
    inside = change[anatomy.regions[region]].mean()
    assert inside > 0.03
    # Cortex is everywhere between the others: a moving wall may push it, none of the others.
    for other, mask in anatomy.regions.items():
        if other != region:
            assert change[mask].mean() < (0.3 if other == "cortex" else 0.05) * inside, other


def _template_with(anatomy, amounts):
    still = replace(anatomy, fat=0 * anatomy.fat, soft=0 * anatomy.soft)
    template = render._change_tissue(still, amounts, fat=0.0)
    moved = amounts.ventricles * anatomy.fields["lateral_ventricles"] + amounts.brainstem * anatomy.fields["brainstem"]
    voxels = np.indices(template.shape, dtype=np.float32)
    at = [
        v + ndimage.map_coordinates(m, voxels / 2, order=1, mode="nearest") / 2
        for v, m in zip(voxels, moved, strict=True)
    ]
    return ndimage.map_coordinates(template, at, order=1, mode="nearest")


def test_a_cohort_is_complete_only_with_its_files_settings_and_version(written, monkeypatch):
    folder, table = written
    settings = cohort._settings("demo", 54, 0)
    labels = cohort.ensure_cohort(folder, subjects=54)  # at once: nothing is to be written
    assert labels == folder / "labels.csv" and cohort._is_complete(folder, settings)
    for other in (("null", 54, 0), ("demo", 55, 0), ("demo", 54, 1)):
        assert not cohort._is_complete(folder, cohort._settings(*other))
    for name in ("labels.csv", "truth.json", table["path"].iloc[-1]):
        (folder / name).rename(folder / "aside")
        assert not cohort._is_complete(folder, settings), name
        (folder / "aside").rename(folder / name)
    monkeypatch.setattr(cohort, "VERSION", cohort.VERSION + 1)
    assert not cohort._is_complete(folder, cohort._settings("demo", 54, 0))


def test_writing_replaces_even_a_complete_cohort_and_ensuring_keeps_it(tmp_path):
    options = {"subjects": 10, "workers": 1, "shown": False}
    cohort.write_cohort(tmp_path / "demo", **options)
    scan = next((tmp_path / "demo").glob("images/*"))
    right = scan.read_bytes()
    scan.write_bytes(b"an older program's scan")
    cohort.ensure_cohort(tmp_path / "demo", **options)
    assert scan.read_bytes() == b"an older program's scan"
    cohort.write_cohort(tmp_path / "demo", **options)
    assert scan.read_bytes() == right


def test_two_jobs_at_once_end_with_one_whole_cohort(tmp_path):
    options = {"subjects": 10, "workers": 1, "shown": False}
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(cohort.ensure_cohort, tmp_path / "demo", **options) for _ in range(2)]
    assert jobs[0].result() == jobs[1].result()
    assert len(list((tmp_path / "demo").glob("images/*"))) == 11
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_what_cannot_be_written_is_refused_all_at_once_and_touches_nothing(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError) as caught:
        cohort.write_cohort(tmp_path, variant="dmo", subjects=3, seed=-1)
    assert len(caught.value.problems) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.fixture(scope="session")
def leaky(tmp_path_factory):
    """A small cohort with people who come again, asked for as an experiment does; its table and what is planted."""
    folder = tmp_path_factory.mktemp("leaky")
    small = partial(cohort.ensure_cohort, subjects=10, workers=1, shown=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(cohort, "ensure_cohort", small)
        labels = labels_file("demo:leaky")
    assert labels == folder / "data" / "demo-leaky" / "labels.csv"
    truth = json.loads((labels.parent / "truth.json").read_text())
    return labels.parent, pd.read_csv(labels, dtype=str), truth


def test_leaky_says_who_comes_again_and_how(leaky):
    folder, table, truth = leaky
    leaks = truth["planted"]["leaks"]["scans"]
    assert sorted(leak["kind"] for leak in leaks) == sorted(LEAKS)
    assert table["subject"].nunique() == truth["subjects"] + len(leaks) == 13
    assert set(table["path"]) == {str(path.relative_to(folder)) for path in folder.glob("images/*")}
    for leak in leaks:
        again, once = (nib.load(folder / leak[path]) for path in ("path", "path_of_same"))
        same = (folder / leak["path"]).read_bytes() == (folder / leak["path_of_same"]).read_bytes()
        assert same == (leak["kind"] == "copy")
        if leak["kind"] == "stored_otherwise":
            assert nib.aff2axcodes(again.affine) != nib.aff2axcodes(once.affine)
            assert again.get_data_dtype() == np.float32 and leak["path"].endswith(".nii")
            again, once = (nib.as_closest_canonical(image) for image in (again, once))
            np.testing.assert_array_equal(again.get_fdata(), once.get_fdata())
            np.testing.assert_allclose(again.affine, once.affine, atol=1e-3)
        labels = table.set_index("subject").loc[[leak["subject"], leak["same_as"]]]
        assert labels["sex"].nunique() == labels["diagnosis"].nunique() == 1
        older = float(labels["age"].iloc[0]) - float(labels["age"].iloc[1])
        assert 0.9 < older < 3.1 if leak["kind"] == "repeat_session" else older == 0


def test_leaky_is_demo_but_for_those_who_come_again(leaky):
    folder, table, truth = leaky
    people, _ = cohort.draw_people("demo", 10, 0)
    assert table["subject"].tolist()[: len(people)] == people["subject"].tolist()
    assert cohort.draw_people("leaky", 198, 4)[0].equals(cohort.draw_people("demo", 198, 4)[0])
    assert truth["best_reachable"] == effects.best_reachable()
    assert "come again" in (folder / "README.txt").read_text()


def test_in_confounded_the_site_tells_the_sex_and_nothing_else_changes():
    people, _ = cohort.draw_people("confounded", 198, 0)
    demo, _ = cohort.draw_people("demo", 198, 0)
    assert people.drop(columns="site").equals(demo.drop(columns="site"))
    first = people.drop_duplicates("subject")
    shares = pd.crosstab(first["sex"], first["site"], normalize="index")
    for sex, wanted in effects.SITE_GIVEN_SEX.items():
        np.testing.assert_allclose(shares.loc[sex, list(wanted)], list(wanted.values()), atol=0.02)
    told = first["site"].map({"north": "f", "south": "m", "east": "f"}) == first["sex"]
    assert told.groupby(first["sex"]).mean().mean() == pytest.approx(effects.best_from_site(), abs=0.02)
    for other in ("diagnosis", "session"):
        assert stats.chi2_contingency(pd.crosstab(people["site"], people[other])).pvalue > 0.01
    assert (people.groupby("subject")["site"].nunique() == 1).all()


def test_confounded_says_what_it_plants(tmp_path):
    labels = cohort.write_cohort(tmp_path / "confounded", "confounded", 10, workers=1, shown=False)
    planted = json.loads((labels.parent / "truth.json").read_text())["planted"]["site_tells_sex"]
    table = pd.read_csv(labels).drop_duplicates("subject")
    counts = pd.crosstab(table["sex"], table["site"])
    assert all(planted["subjects_of_each_sex_by_site"][sex] == row.to_dict() for sex, row in counts.iterrows())
    assert planted["best_balanced_accuracy_from_site_alone"] == pytest.approx(0.85)
    for row in table.itertuples():  # the site can be seen in the file
        site = next(site for site in SITES if site.name == row.site)
        assert "".join(nib.aff2axcodes(nib.load(labels.parent / row.path).affine)) == site.orientation
