"""What can be done with a trained model: predictions, exports, comparisons, baselines, attribution."""

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import nibabel
import numpy as np
import pandas as pd
import pytest
from cohort_of_balls import SIZE, write_head
from program import run

from tfmri.baselines.beside import classical_models
from tfmri.baselines.models import NAMES
from tfmri.checks.finding import Finding, Harm
from tfmri.checks.report import Report
from tfmri.experiment.load import load_experiment
from tfmri.images.prepare import prepare_files
from tfmri.inference.model_file import add_to_model, carried_by
from tfmri.runs.cohort import sides_of
from tfmri.runs.directory import Run, baselines_of, find_run
from tfmri.workflows.check import checked_at, write
from tfmri.workflows.cohort import run_table
from tfmri.workflows.risks import risks


@pytest.fixture
def with_model(trained):
    """Makes a run `other`, as `first` but for its model, and gives the model; the run is taken away in the end."""
    other = Path("runs/small/other")

    def replaced(change: Callable) -> keras.Model:
        shutil.copytree("runs/small/first", other)
        shutil.rmtree(other / "evaluation", ignore_errors=True)
        path = other / "fits" / "whole" / "model.keras"
        model, carried = change(keras.models.load_model(path, compile=False)), carried_by(path)
        model.save(path)
        add_to_model(path, carried)
        return model

    yield replaced
    shutil.rmtree(other)


def metrics_json(name: str, place: str = "test") -> dict:
    """metrics.json of a run, without numbers that JSON does not have; all that has no value says why."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in metrics.json")

    path = Path(f"runs/small/{name}/evaluation/{place}/metrics.json")
    found = json.loads(path.read_text(), parse_constant=refuse)
    assert all(each["note"] for each in found["sex"].values() if None in (each["value"], each["lower"]))
    return found


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_model_that_answers_no_number_has_no_results_and_says_so_everywhere(number, with_model, tmp_path):
    def spoil(model):
        model.set_weights([np.full_like(each, number) for each in model.get_weights()])
        return model

    with_model(spoil)
    said = run("evaluate", "small/other")
    assert "no scan has a prediction" in said and "4 of 4 scans have no truth or no prediction" in said
    found = metrics_json("other")["sex"]["accuracy"]
    assert (found["value"], found["n"], found["note"]) == (None, 0, "no scan has a prediction")
    said += run("predict", "small/other", "00.nii.gz", "-o", str(tmp_path / "out.csv"), code=3)
    (row,) = pd.read_csv(tmp_path / "out.csv").to_dict("records")
    assert "0 of 1 scans predicted" in said and "the models answer no number" in row["error"]
    run("evaluate", "small/first")
    said += run("compare", "small/first", "small/other", code=2)
    assert "no scan of test has a truth and a prediction in both" in said
    assert "Warning" not in said and "Traceback" not in said


def test_draws_with_dropout_have_a_spread_and_mirrored_scans_are_averaged(with_model):
    model = with_model(lambda model: model)
    results = Path("runs/small/other/evaluation/test")
    tables = []
    for options in (["--dropout-draws", "5"], ["--dropout-draws", "5"], ["--mirrored"]):
        said = run("evaluate", "small/other", *options)
        tables.append(pd.read_csv(results / "predictions.csv").set_index("path"))
    draws, again, mirrored = tables
    assert (draws["spread"] > 0).all() and draws["spread"].nunique() > 1 and "spread" not in mirrored
    pd.testing.assert_frame_equal(draws, again)
    assert "test split, each scan averaged with its mirror image" in said
    assert metrics_json("other")["views"] == "each scan averaged with its mirror image"
    preparation = carried_by(Path("runs/small/other/fits/whole/model.keras")).prepared.preparation
    images = [prepare_files((Path(path),), None, preparation).image.astype(np.float32) for path in mirrored.index]
    plain, flipped = (
        keras.ops.softmax(model(np.stack(each), training=False)).numpy()[:, 0]
        for each in (images, [image[::-1] for image in images])
    )
    np.testing.assert_allclose(draws["p_f"], plain, atol=1e-5)
    np.testing.assert_allclose(mirrored["p_f"], (plain + flipped) / 2, atol=1e-5)
    assert np.abs(plain - flipped).max() > 1e-4


def test_new_scans_are_predicted_as_evaluation_predicts_them_and_bad_ones_stop_nobody(trained, tmp_path):
    run("evaluate", "small/first")
    known = pd.read_csv("runs/small/first/evaluation/test/predictions.csv").set_index("path")
    scans = tmp_path / "new scans"
    (scans / "below").mkdir(parents=True)
    for path in known.index[:2]:
        shutil.copy(path, scans / "below")
    (scans / "bad.nii.gz").write_bytes(b"no scan")
    (scans / "notes.txt").write_text("no scan either")
    write_head(scans / "-odd one.nii", 1, 0)
    out = tmp_path / "out.csv"
    said = run("predict", "small/first", str(scans), str(tmp_path / "new scans" / "bad.nii.gz"), "-o", str(out), code=3)
    assert "3 of 5 scans predicted" in said and said.count("bad.nii.gz") >= 2 and "Traceback" not in said
    found = pd.read_csv(out)
    assert found["error"].notna().tolist() == [False, True, False, False, True]
    assert found.loc[found["error"].notna(), ["prediction", "p_f"]].isna().all(axis=None)
    found.index = [Path(path).name for path in found["path"]]
    for path in known.index[:2]:
        assert found.loc[Path(path).name, "p_f"] == pytest.approx(known.loc[path, "p_f"], abs=1e-5)

    labels = pd.DataFrame({"id": ["x1"], "file": [known.index[0]]})
    labels.to_csv(tmp_path / "labels.csv", index=False)
    run("predict", "small/first", str(tmp_path / "labels.csv"), "-o", str(out))
    assert pd.read_csv(out)[["subject", "p_f"]].iloc[0].tolist() == [
        "x1", pytest.approx(known["p_f"].iloc[0], abs=1e-5)
    ]  # fmt: skip
    assert "no such file" in run("predict", "small/first", "nothing.nii", code=2)
    assert "not of predictions" in run("predict", "small/first", known.index[0], "-o", "labels.csv", code=2)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no scan is in this folder" in run("predict", "small/first", str(empty), code=2)


def test_an_export_predicts_the_same_wherever_it_is(trained, tmp_path):
    run("evaluate", "small/first")
    known = pd.read_csv("runs/small/first/evaluation/test/predictions.csv")
    run("export", "small/first", "-o", str(tmp_path / "model"))
    assert "there already" in run("export", "small/first", "-o", str(tmp_path / "model.keras"), code=2)
    assert "savedmodel" in run("export", "small/first", "-o", str(tmp_path / "x"), "--format", "pickle", code=2)
    out = tmp_path / "out.csv"
    said = run("predict", str(tmp_path / "model.keras"), known["path"].iloc[0], "-o", str(out))
    assert "There are no intervals" not in said
    assert pd.read_csv(out)["p_f"].iloc[0] == pytest.approx(known["p_f"].iloc[0], abs=1e-5)


@pytest.mark.parametrize(("form", "suffix"), [("savedmodel", ""), ("onnx", ".onnx")])
def test_an_export_for_other_programs_predicts_as_its_run_and_several_as_their_mean(form, suffix, trained, tmp_path):
    if form == "onnx":
        pytest.importorskip("tf2onnx")
        pytest.importorskip("onnxruntime")
    scans = ["00.nii.gz", "01.nii.gz", "02.nii.gz"]
    out = tmp_path / "out.csv"
    run("predict", "small/first", *scans, "-o", str(out))
    known = pd.read_csv(out)
    run("export", "small/first", "-o", str(tmp_path / "saved"), "--format", form)
    shutil.move(tmp_path / "saved", tmp_path / "elsewhere")
    run("predict", str(tmp_path / "elsewhere"), *scans, "-o", str(out))
    found = pd.read_csv(out)
    np.testing.assert_allclose(found[["p_f", "p_m"]], known[["p_f", "p_m"]], atol=1e-5)
    assert list(found) == list(known)
    about = tmp_path / "elsewhere" / "about.json"
    (entry,) = json.loads(about.read_text())
    about.write_text(json.dumps([entry, {**entry, "fit": "more"}]))
    assert "there is no more.onnx or more/" in run("predict", str(tmp_path / "elsewhere"), *scans, code=2)
    copy = shutil.copy if suffix else shutil.copytree
    copy(tmp_path / "elsewhere" / f"whole{suffix}", tmp_path / "elsewhere" / f"more{suffix}")
    run("predict", str(tmp_path / "elsewhere"), *scans, "-o", str(out))
    both = pd.read_csv(out)
    np.testing.assert_allclose(both["p_f"], known["p_f"], atol=1e-5)
    np.testing.assert_allclose(both["spread"], 0, atol=1e-6)


def test_other_people_are_evaluated_under_a_name_and_those_seen_in_training_are_noticed(trained, tmp_path):
    folder, _ = trained
    table = pd.read_csv("labels.csv", dtype=str)
    for index in range(6):
        write_head(tmp_path / f"new{index}.nii.gz", 200 + index, 60 * (index % 2))
    others = pd.DataFrame({"subject": [f"n{i}" for i in range(6)], "path": [f"new{i}.nii.gz" for i in range(6)]})
    others = others.assign(sex=["f", "m"] * 3, age=50)
    splits = pd.read_csv("runs/small/first/splits.csv", dtype=str)
    seen = splits.loc[splits["split"] == "train", "subject"].iloc[0]
    row = table[table["subject"] == seen].assign(path=lambda one: str(folder) + "/" + one["path"])
    pd.concat([others, row]).to_csv(tmp_path / "others.csv", index=False)
    more = ["--labels", str(tmp_path / "others.csv"), "--name", "elsewhere", "--mirrored"]
    said = run("evaluate", "small/first", *more)
    assert "1 subjects have ids of the run's training" in said and "these results are not honest" in said
    results = Path("runs/small/first/evaluation/elsewhere")
    assert len(pd.read_csv(results / "predictions.csv")) == 7
    assert json.loads((results / "metrics.json").read_text())["sex"]["accuracy"]["n"] == 7
    others.iloc[:1].to_csv(tmp_path / "others.csv", index=False)  # one person, of one class
    said = run("evaluate", "small/first", *more[:3], "elsewhere")
    assert "not defined on these scans: a class is missing" in said and "Warning" not in said
    assert {metrics_json("first", "elsewhere")["sex"][name]["n"] for name in ("accuracy", "recall_f")} == {1}
    assert "cannot be the name" in run("evaluate", "small/first", *more[:3], "test", code=2)
    assert "without --labels" in run("evaluate", "small/first", "--name", "x", code=2)


def test_runs_are_compared_on_the_same_scans_and_with_their_settings(trained, tmp_path):
    root = Path("runs/small")
    shutil.copytree(root / "first", root / "other")
    try:
        for name in ("first", "other"):
            run("evaluate", f"small/{name}")
        path = root / "other" / "evaluation" / "test" / "predictions.csv"
        rows = pd.read_csv(path, dtype=str)
        rows.assign(p_f=rows["p_m"], p_m=rows["p_f"]).iloc[1:].to_csv(path, index=False)
        settings = root / "other" / "experiment.yaml"
        settings.write_text(settings.read_text().replace("epochs: 1\n", "epochs: 7\n"))
        results = json.loads((path.parent / "metrics.json").read_text())
        (path.parent / "metrics.json").write_text(json.dumps(results | {"views": "each scan upside down"}))
        said = run("compare", "small/first", "small/other", "-o", str(tmp_path / "all.json"))
        assert "not evaluated in the same way" in said and "small/other: each scan upside down" in said
        assert "DeLong" in said and "training.epochs: 1 -> 7" in said and f"(left out: 1 of {'small/first'})" in said
        found = json.loads((tmp_path / "all.json").read_text())["others"][0]
        auc = found["metrics"]["roc_auc"]
        assert found["scans"] == len(rows) - 1 and auc["first"] == pytest.approx(1 - auc["second"])
        shutil.rmtree(root / "other" / "evaluation" / "validation", ignore_errors=True)  # another test's
        said = run("compare", "small/first", "small/other", "--split", "validation", code=2)
        assert "not evaluated on validation" in said
        assert "two or more" in run("compare", "small/first", code=2)
        rows.assign(truth="f").to_csv(path, index=False)
        assert "their truths differ" in run("compare", "small/first", "small/other", code=2)
        listed = run("runs")
        assert "stopped" not in listed and "1 of 7" in listed
        facts = {each["run"]: each for each in json.loads(run("runs", "--json"))}
        assert facts["small/other"] == facts["small/first"] | {
            "run": "small/other", "path": str((root / "other").absolute()), "epochs_asked": 7
        }  # fmt: skip
        known = json.loads((root / "other" / "evaluation" / "test" / "metrics.json").read_text())["sex"]
        assert facts["small/first"]["state"] == "finished" and facts["small/first"]["epochs"] == [1]
        assert facts["small/other"]["test"] == {"name": "balanced_accuracy"} | known["balanced_accuracy"]
        (root / "other" / "fits" / "whole" / "provenance.json").write_text("{}")
        settings.write_text("seed: [")
        assert "unreadable" in run("runs")
    finally:
        shutil.rmtree(root / "other")


def test_classical_models_stand_beside_the_network_on_the_same_split(trained):
    run("evaluate", "small/first")
    said = run("baseline", "small.yaml")
    for words in ("trivial", "ridge", "random forest", "network: small/first", "cannot be said: no interval"):
        assert words in said
    first = find_run("small/first")
    sides = sides_of(run_table(first, load_experiment(first.experiment)), "sex")
    (folder,) = baselines_of(first, "test", sides)
    assert f"written to {folder}" in said.splitlines()
    kept = (folder / "predictions.csv").read_bytes()
    rows = pd.read_csv(folder / "predictions.csv")
    counts = rows["fit"].value_counts()
    assert len(counts) == 5 and counts.nunique() == 1
    by_model = rows.groupby("fit")["scan"].apply(lambda scans: tuple(sorted(scans)))
    assert by_model.nunique() == 1  # the very scans that the network was tested on
    known = Run(Path("runs/small/first"))
    experiment = load_experiment(known.experiment)
    table = run_table(known, experiment)
    predictions = pd.read_csv(known.evaluation("test") / "predictions.csv", dtype={"truth": str, "prediction": str})
    (beside,) = classical_models(known, experiment, table, predictions, "test")
    assert tuple(beside.metrics) == NAMES and "cannot be said: no interval" in beside.verdict.sentence
    assert classical_models(known, experiment, table.iloc[1:], predictions, "test") == []  # other people
    said = run("baseline", "small.yaml", "--features", "age", "--split", "validation")
    assert "1 columns (age)" in said
    assert "no column is called" in run("baseline", "small.yaml", "--features", "vol_*", code=2)
    (columns,) = baselines_of(first, "validation", sides)
    assert json.loads((columns / "about.json").read_text())["features"] == "1 columns (age)"
    others = ["--features", "age", "--set", "data.where=age > 25"]
    for more in (["--set", "split.seed=1", *others[:2]], ["--set", "split.folds=3", *others[:2]], others):
        assert "No network is in the table" in run("baseline", "small.yaml", *more)
    assert baselines_of(first, "test", sides) == [folder] and (folder / "predictions.csv").read_bytes() == kept
    assert len(list(Path("runs/small/baselines").iterdir())) == 5


def test_what_check_read_in_the_voxels_is_known_of_a_run_of_the_very_same_people_only(trained):
    known = Run(Path("runs/small/first"))
    experiment = load_experiment(known.experiment)
    table = run_table(known, experiment)
    findings, examined = risks(known, experiment, table)
    assert not examined and "small_test" in {each.check for each in findings}
    skull = Finding("skull_tells_target", Harm.SPOILS, "sex of all subjects", "whether there is a skull tells the sex")
    of_site = Finding("site_tells_target", Harm.SPOILS, "sex of all subjects", "the site tells the sex")
    rows, pictures = np.arange(len(table)), [np.zeros((8, 24), np.uint8)] * len(table)
    people = table.drop(columns="fold")
    checked = Report("small", Path("labels.csv"), "sex", ("f", "m"), (skull, of_site), people, rows, rows, pictures)
    write(checked, checked_at("small"))
    again, examined = risks(known, experiment, table)
    assert examined  # and of the site is told what is found now
    assert [each.check for each in again] == ["skull_tells_target", *(each.check for each in findings)]
    others = table.assign(split=table["split"].replace({"test": "train", "train": "test"}))
    twice = others.assign(prepared_sha256=others["prepared_sha256"].iloc[0])
    findings, examined = risks(known, experiment, twice)
    assert not examined and findings[0].check == "same_image_under_two_ids"


def test_attribution_is_written_where_the_scan_lies_and_told_in_the_report(trained):
    run("evaluate", "small/first")
    said = run("explain", "small/first", "--method", "integrated", "--method", "gradcam", "--scans", "4")
    assert "4 scans of test, 1 fits" in said and "Grad-CAM: layer" in said and "--layer stage" in said
    folder = Path("runs/small/first/evaluation/test/explain")
    summary = json.loads((folder / "summary.json").read_text())
    assert sum("mean of" in each["caption"] for each in summary["figures"]) == len(summary["figures"]) - 2 * 4
    assert all((folder / each["file"]).stat().st_size > 5000 for each in summary["figures"])
    assert 0 <= summary["outside_head"]["integrated"] < summary["outside_head"]["grid"] + 0.2
    scans = pd.read_csv("runs/small/first/evaluation/test/predictions.csv")
    assert list(summary["incomplete"]) == scans["scan"].tolist()[:4] and max(summary["incomplete"].values()) < 0.05
    first = nibabel.load(folder / "maps" / f"{scans['scan'].iloc[0]}_integrated.nii.gz")
    assert first.shape == (SIZE, SIZE, SIZE) and np.abs(first.get_fdata()).max() > 0
    middle = first.affine @ [SIZE / 2, SIZE / 2, SIZE / 2, 1]
    assert np.linalg.norm(middle[:3] - 9 * 9.5) < 40  # mm: the ball's centre, in the scan's world
    native = nibabel.load(folder / "maps" / f"{scans['scan'].iloc[0]}_integrated_native.nii.gz")
    scan = nibabel.load(scans["path"].iloc[0])
    assert native.shape == scan.shape and np.allclose(native.affine, scan.affine) and native.get_fdata().any()
    run("evaluate", "small/first")
    page = Path("runs/small/first/evaluation/test/report.html").read_text()
    assert "outside of the head" in page and "; integrated" in page and "Grad-CAM: layer" in page
    run("evaluate", "small/first", "--anonymous")
    assert "; integrated" not in Path("runs/small/first/evaluation/test/report.html").read_text()
    for options, words in (
        (["--method", "magic"], "one of gradient"),
        (["--target-class", "x"], "one of f, m"),
        (["--layer", "nothing", "--method", "gradcam"], "--layer"),
        (["--sanity-run", "small/first"], "without --sanity"),
        (["--sanity", "--sanity-run", "small/first"], "trained on its true labels"),
    ):
        assert words in run("explain", "small/first", *options, code=2)
    assert json.loads((folder / "summary.json").read_text()) == summary  # what was refused has left all as it was


def test_maps_are_checked_against_networks_that_have_learnt_nothing_and_replace_those_before(trained):
    root = Path("runs/small")
    said = run("explain", "small/first", "--method", "gradient", "--scans", "2", "--sanity")
    assert "train small.yaml --set data.shuffle_labels=true --run first-shuffled" in said
    other = root / "first-shuffled"
    shutil.copytree(root / "first", other)
    try:
        settings = (other / "experiment.yaml").read_text()
        (other / "experiment.yaml").write_text(settings.replace("shuffle_labels: false", "shuffle_labels: true"))
        said = run("explain", "small/first", "--method", "gradcam", "--scans", "2", "--sanity")
        assert "Grad-CAM, trained on shuffled labels: THE MAPS STAY MUCH THE SAME (rank correlation 1.00)" in said
        folder = root / "first" / "evaluation" / "test" / "explain"
        names = [path.name for path in folder.rglob("*") if path.is_file()]
        assert not [name for name in names if "gradient" in name or "integrated" in name]
        sanity = json.loads((folder / "summary.json").read_text())["sanity"]
        drawn = sanity["weights_drawn_anew"]["gradcam"]
        assert len(drawn) == len(sanity["steps"]) > 2 and drawn[-1]["absolute"] < 0.999
        assert {"sanity.png", "sanity.pdf"} <= set(names) and (folder / "sanity.pdf").stat().st_size > 5000

        fill_weights(other / "fits" / "whole" / "model.keras", 0)
        said = run("explain", "small/first-shuffled", "--method", "gradient", "--scans", "2")
        assert "the maps of 2 of 2 scans are the same everywhere" in said
        fill_weights(other / "fits" / "whole" / "model.keras", np.nan)
        assert "there is nothing to explain" in run("explain", "small/first-shuffled", code=2)
    finally:
        shutil.rmtree(other)


def fill_weights(model, value):
    """Gives all weights in a model's file one value."""
    with zipfile.ZipFile(model) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    stored = io.BytesIO(members["model.weights.h5"])
    with h5py.File(stored, "r+") as weights:
        weights.visititems(
            lambda _, each: (
                each.write_direct(np.full(each.shape, value, each.dtype)) if isinstance(each, h5py.Dataset) else None
            )
        )
    with zipfile.ZipFile(model, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, stored.getvalue() if name == "model.weights.h5" else content)
