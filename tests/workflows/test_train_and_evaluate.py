"""The whole path, as a person walks it: the real program, in processes of its own."""

import contextlib
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from cohort_of_balls import SIZE, write_cohort, write_head
from program import tfmri

from tfmri.machine import processors

PROGRAM = [sys.executable, "-c", "from tfmri.cli import main; main()"]


def run(*arguments: str, code: int = 0) -> str:
    done = tfmri(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    write_cohort(folder)
    with contextlib.chdir(folder):
        return folder, run("train", "small.yaml", "--run", "first")


@pytest.fixture
def trained(once, monkeypatch):
    """A folder with a cohort and a finished run called `first`, which is the current one, and what training said."""
    monkeypatch.chdir(once[0])
    return once


def test_a_run_holds_all_there_is_to_know_and_evaluation_predicts_every_scan_once(trained):
    folder, said = trained
    root = folder / "runs" / "small" / "first"
    names = {"experiment.yaml", "scans.csv", "splits.csv", "provenance.json", "requirements.txt", "warnings.log"}
    assert names <= {path.name for path in root.iterdir()}
    assert (folder / "runs" / "small" / "latest").resolve() == root
    fit = root / "fits" / "whole"
    for name in ("model.keras", "history.csv", "learning_curves.png", "learning_curves.pdf", "task.json"):
        assert (fit / name).stat().st_size > 0
    for side in ("train", "validation"):
        assert list((fit / "logs" / side).glob("events.out.tfevents.*"))
    provenance = json.loads((root / "provenance.json").read_text())
    assert provenance["versions"]["tensorflow"] and provenance["seeds"] == {"seed": 0, "split.seed": 0}
    assert "ended" in json.loads((fit / "provenance.json").read_text())
    assert "best epoch 1" in said

    splits = pd.read_csv(root / "splits.csv", dtype=str)
    cells = pd.read_csv("labels.csv", dtype=str).set_index("subject")
    for split in ("test", "validation"):
        said = run("evaluate", "small/latest", "--split", split)
        assert "balanced accuracy" in said and "trivial" in said and "next:" in said
        predictions = pd.read_csv(root / "evaluation" / split / "predictions.csv", dtype=str)
        assert sorted(predictions["scan"]) == sorted(splits.loc[splits["split"] == split, "scan"])
        assert (predictions.set_index("subject")["truth"] == cells.loc[predictions["subject"], "sex"]).all()
        np.testing.assert_allclose(predictions[["p_f", "p_m"]].astype(float).sum(axis=1), 1, atol=1e-6)
        metrics = json.loads((root / "evaluation" / split / "metrics.json").read_text())
        assert metrics["sex"]["balanced_accuracy"]["n"] == len(predictions)
        assert (root / "evaluation" / split / "figures" / "roc.png").stat().st_size > 1000
    assert "finished" in run("runs") and "small/first" in run("runs")


def test_predictions_do_not_depend_on_the_size_of_the_batch(trained):
    from tfmri.experiment.load import dump, load_experiment

    folder, _ = trained
    root = folder / "runs" / "small" / "first"
    found = []
    for size in (16, 3, 4):  # the last one is what it began with
        experiment = load_experiment(root / "experiment.yaml", [f"training.batch_size={size}"])
        (root / "experiment.yaml").write_text(dump(experiment))
        run("evaluate", str(root))
        found.append(pd.read_csv(root / "evaluation" / "test" / "predictions.csv"))
    for other in found[1:]:
        assert list(other["scan"]) == list(found[0]["scan"])
        np.testing.assert_allclose(other["p_m"], found[0]["p_m"], atol=1e-5)


def test_a_finished_run_is_left_alone_and_one_with_other_settings_is_refused(trained):
    folder, _ = trained
    history = folder / "runs" / "small" / "first" / "fits" / "whole" / "history.csv"
    before = history.read_bytes(), history.stat().st_mtime_ns
    assert "finished; nothing to do" in run("train", "small.yaml", "--resume")
    said = run("train", "small.yaml", "--run", "first", "--set", "training.batch_size=2", code=2)
    assert "training.batch_size: 4 -> 2" in said
    assert (history.read_bytes(), history.stat().st_mtime_ns) == before


def test_a_finished_run_given_more_epochs_goes_on_and_says_what_is_different(trained):
    root = Path("runs/small")
    shutil.copytree(root / "first", root / "longer")
    try:
        more = ["--set", "training.epochs=2", "--set", "training.threads=1"]
        said = run("train", "small.yaml", "--run", "longer", *more)
        assert "training.epochs: 1 -> 2; training.threads: None -> 1" in said and "epoch 2/2" in said
        warned = (root / "longer" / "warnings.log").read_text()
        for each in (said, warned):
            assert "from epoch 2 on the learning rate takes the course of 2 epochs (cosine)" in each
            assert "goes on with threads 1" in each or processors() == 1
        before, after = (pd.read_csv(root / name / "fits/whole/history.csv") for name in ("first", "longer"))
        assert list(after["epoch"]) == [1, 2]
        pd.testing.assert_frame_equal(before, after.iloc[:1], check_exact=True)
        assert "finished; nothing to do" in run("train", "small.yaml", "--run", "longer")  # it remembers its --set
    finally:
        shutil.rmtree(root / "longer")


def test_a_scan_that_changed_since_the_run_began_is_not_evaluated(trained):
    folder, _ = trained
    splits = pd.read_csv(folder / "runs" / "small" / "first" / "splits.csv")
    changed, other = splits.loc[splits["split"] == "test", "scan"].iloc[:2]
    path = Path(f"{changed[1:]}.nii.gz")
    before = path.read_bytes()
    path.write_bytes(Path(f"{other[1:]}.nii.gz").read_bytes())
    said = run("evaluate", "small/first", code=2)
    path.write_bytes(before)
    assert f"{changed[1:]}.nii.gz" in said and "changed since the run began" in said


def test_a_model_that_does_not_say_how_its_scans_were_prepared_is_not_evaluated(trained):
    folder, _ = trained
    root = folder / "runs" / "small" / "first"
    model, settings = root / "fits" / "whole" / "model.keras", root / "experiment.yaml"
    whole, as_trained = model.read_bytes(), settings.read_text()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive, zipfile.ZipFile(model, "w") as less:
        for name in archive.namelist():
            if name != "preparation.json":
                less.writestr(name, archive.read(name))
    bare = run("evaluate", "small/first", code=2)
    model.write_bytes(whole)
    settings.write_text(as_trained.replace("zscore", "mean"))
    otherwise = run("evaluate", "small/first", code=2)
    settings.write_text(as_trained)
    assert "model.keras: the model carries no preparation" in bare and "Traceback" not in bare
    assert "not prepared as the run's experiment.yaml says" in otherwise and "Traceback" not in otherwise


def test_an_unfinished_run_is_not_evaluated_and_an_unknown_one_is_named(cohort):
    assert "no run of that name" in run("evaluate", "small/latest", code=2)


def test_a_run_stopped_by_ctrl_c_and_by_its_deadline_ends_as_one_never_stopped(cohort):
    settings = ["small.yaml", "--set", "training.epochs=3", "--set", "augment=none"]
    run("train", *settings, "--run", "whole")
    process = subprocess.Popen(
        [*PROGRAM, "train", *settings, "--run", "stopped"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("epoch 1/3"):
            process.send_signal(signal.SIGINT)
    assert process.wait() == 130, lines
    *_, said, command = lines
    assert "Stopped and saved" in said
    assert "not ended" in run("evaluate", "small/stopped", code=2)
    said = run("train", "small.yaml", "--resume", "--deadline", "0:00:01", code=99)  # after a step: no time is left
    again = next(line for line in said.splitlines() if "--run stopped" in line)
    _, *arguments = shlex.split(command)
    assert arguments == shlex.split(again)[1:] == ["train", "small.yaml", "--run", "stopped"]
    run(*arguments)
    assert_same_bits(Path("runs/small/whole/fits/whole"), Path("runs/small/stopped/fits/whole"))
    assert len(json.loads(Path("runs/small/stopped/fits/whole/provenance.json").read_text())["restarts"]) == 2


def assert_same_bits(one: Path, other: Path) -> None:
    """That the last checkpoints of two fits hold the same variables, and their histories the same numbers."""
    saved = [np.load(sorted(fit.glob("checkpoints/*.npz"))[-1]) for fit in (one, other)]
    names = [name for name in saved[0].files if name.startswith("variable")]
    assert len(names) > 10
    for name in names:
        np.testing.assert_array_equal(saved[0][name], saved[1][name])
    timed = ["seconds", "waiting", "volumes_per_second"]
    histories = [pd.read_csv(fit / "history.csv").drop(columns=timed) for fit in (one, other)]
    pd.testing.assert_frame_equal(*histories, check_exact=True)


def test_folds_and_seeds_are_trained_together_or_one_by_one_to_the_same_weights_and_averaged(cohort):
    settings = ["small.yaml", "--set", "split.folds=2", "--seeds", "2", "--set", "augment=none"]
    names = ["fold-1_seed-0", "fold-1_seed-1", "fold-2_seed-0", "fold-2_seed-1"]
    run("train", *settings, "--run", "all")
    root = Path("runs/small/all")
    assert sorted(path.name for path in (root / "fits").iterdir()) == names
    parts = pd.read_csv(root / "splits.csv", dtype=str, keep_default_na=False)
    assert set(parts["fold"]) == {"", "1", "2"} and ((parts["fold"] == "") == (parts["split"] == "test")).all()

    run("train", *settings, "--run", "one", "--fit", names[-1])
    assert [path.name for path in Path("runs/small/one/fits").iterdir()] == names[-1:]
    assert "finished; nothing to do" in run("train", "small.yaml", "--resume", "--fit", names[-1])
    assert "1 of 4 fits" in run("runs")
    assert ", ".join(names[:-1]) in run("evaluate", "small/one", code=2)
    assert_same_bits(root / "fits" / names[-1], Path("runs/small/one/fits") / names[-1])
    layers = []
    for name in names:
        config = json.loads(zipfile.ZipFile(root / "fits" / name / "model.keras").read("config.json"))
        layers.append([each["name"] for each in config["config"]["layers"]])
    assert layers[1:] == layers[:-1]  # named alike in every fit

    for split in ("test", "validation"):
        run("evaluate", "small/all", "--split", split)
    results = root / "evaluation" / "test"
    every, each = pd.read_csv(results / "predictions.csv"), pd.read_csv(results / "predictions_by_fit.csv")
    assert set(every["scan"]) == set(parts.loc[parts["split"] == "test", "scan"]) and every["scan"].is_unique
    assert each["fit"].value_counts().to_dict() == dict.fromkeys(names, len(every))
    assert each.groupby("scan")["p_f"].nunique().min() == 4  # every fit has weights of its own
    means = each.groupby("scan")["p_f"].mean()
    np.testing.assert_allclose(every.set_index("scan")["p_f"], means[every["scan"]], atol=1e-12)
    folder = root / "evaluation" / "validation"
    own, each = pd.read_csv(folder / "predictions.csv"), pd.read_csv(folder / "predictions_by_fit.csv")
    fold_of = parts.set_index("scan")["fold"]
    assert (each["fit"].str.extract(r"fold-(\d)")[0] == each["scan"].map(fold_of)).all()
    assert sorted(own["scan"]) == sorted(parts.loc[parts["fold"] != "", "scan"])
    assert (each["scan"].value_counts() == 2).all()

    test = every.set_index("path")
    run("predict", "small/all", *test.index, "--workers", "1")
    predicted = pd.read_csv("predictions.csv").set_index("path").loc[test.index]
    for column in ("p_f", "spread"):
        np.testing.assert_allclose(predicted[column], test[column], atol=1e-5)
    assert (predicted["prediction_set"] == test["prediction_set"]).all() and predicted["error"].isna().all()
    run("export", "small/all", "-o", "exported")
    assert sorted(path.stem for path in Path("exported").iterdir()) == names
    run("predict", "exported", *test.index, "-o", "again.csv", "--workers", "1")
    pd.testing.assert_frame_equal(pd.read_csv("again.csv"), pd.read_csv("predictions.csv"), atol=1e-5)


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
    run("export", "small/first", "-o", str(tmp_path / "saved"), "--format", "savedmodel")
    assert "there already" in run("export", "small/first", "-o", str(tmp_path / "model.keras"), code=2)
    assert "savedmodel" in run("export", "small/first", "-o", str(tmp_path / "x"), "--format", "pickle", code=2)
    out = tmp_path / "out.csv"
    said = run("predict", str(tmp_path / "model.keras"), known["path"].iloc[0], "-o", str(out))
    assert "There are no intervals" not in said
    assert pd.read_csv(out)["p_f"].iloc[0] == pytest.approx(known["p_f"].iloc[0], abs=1e-5)
    text = f"""
import json, numpy, tensorflow as tf
from pathlib import Path
from tfmri.images.fitted import FittedPreparation
from tfmri.images.prepare import prepare_files
from tfmri.tasks.registry import load_task
(about,) = json.loads(Path("about.json").read_text())
prepared = FittedPreparation.from_config(about["prepared"])
image = prepare_files([Path({known["path"].iloc[0]!r})], None, prepared.preparation).image.astype(numpy.float32)
model = tf.saved_model.load("whole")
outputs = model.serve(image[None]).numpy()
print(load_task(about["task"]).decode(outputs)["p_f"][0])
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, cwd=tmp_path / "saved")
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(known["p_f"].iloc[0], abs=1e-5)


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
    assert "cannot be the name" in run("evaluate", "small/first", *more[:3], "test", code=2)
    assert "without --labels" in run("evaluate", "small/first", "--name", "x", code=2)


def test_what_is_not_there_to_be_trained_is_refused(cohort):
    three = ["train", "small.yaml", "--set", "split.folds=3"]
    assert "split.folds" in run("train", "small.yaml", "--fold", "1", code=2)
    assert "1 to 3" in run(*three, "--fold", "4", code=2)
    assert "Did you mean 'fold-2'" in run(*three, "--fit", "fold2", code=2)
    assert "one of them" in run(*three, "--fit", "fold-2", "--fold", "2", code=2)
    assert "no run of small" in run("train", "small.yaml", "--resume", code=2)
    assert "one of them" in run("train", "small.yaml", "--resume", "--run", "a", code=2)
    assert "no time" in run("train", "small.yaml", "--deadline", "soon", code=2)
    assert not Path("runs").exists()


def test_real_scans_go_from_bids_to_a_prediction_for_every_test_subject(tmp_path, monkeypatch):
    data = os.environ.get("TFMRI_TEST_DATA")
    if not data:
        pytest.skip("TFMRI_TEST_DATA does not say where the real scans are")
    monkeypatch.chdir(tmp_path)
    said = run("labels", "bids", f"{data}/ds002748-2mm", "-o", "labels.csv")
    assert "48 joined" in said
    experiment = Path(__file__).parents[2] / "experiments" / "sex_clf.yaml"
    settings = ["data.labels=labels.csv", "training.epochs=2", "image.spacing=6", "image.shape=[28,32,28]"]
    settings += ["model={name: small_cnn, filters: [8, 16]}"]
    said = run("train", str(experiment), *(part for setting in settings for part in ("--set", setting)))
    assert "gender" in said  # what was assumed is said
    said = run("evaluate", "sex_clf/latest")
    root = tmp_path / "runs" / "sex_clf" / "latest"
    splits = pd.read_csv(root / "splits.csv", dtype=str)
    predictions = pd.read_csv(root / "evaluation" / "test" / "predictions.csv", dtype=str)
    assert sorted(predictions["subject"]) == sorted(splits.loc[splits["split"] == "test", "subject"])
    truth = pd.read_csv("labels.csv", dtype=str).set_index("subject")["gender"]
    assert (predictions.set_index("subject")["truth"] == truth[predictions["subject"]]).all()


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
        said = run("compare", "small/first", "small/other", "-o", str(tmp_path / "all.json"))
        assert "DeLong" in said and "training.epochs: 1 -> 7" in said and f"(left out: 1 of {'small/first'})" in said
        found = json.loads((tmp_path / "all.json").read_text())["others"][0]
        auc = found["metrics"]["roc_auc"]
        assert found["scans"] == len(rows) - 1 and auc["first"] == pytest.approx(1 - auc["second"])
        assert (
            "not evaluated on validation"
            in run("compare", "small/first", "small/other", "--split", "validation", code=2)
            or (root / "first" / "evaluation" / "validation").exists()
        )
        assert "two or more" in run("compare", "small/first", code=2)
        rows.assign(truth="f").to_csv(path, index=False)
        assert "their truths differ" in run("compare", "small/first", "small/other", code=2)
        listed = run("runs")
        assert "stopped" not in listed and "1 of 7" in listed
        (root / "other" / "fits" / "whole" / "provenance.json").write_text("{}")
        settings.write_text("seed: [")
        assert "unreadable" in run("runs")
    finally:
        shutil.rmtree(root / "other")


def test_classical_models_stand_beside_the_network_on_the_same_split(trained):
    run("evaluate", "small/first")
    said = run("baseline", "small.yaml")
    for words in ("trivial", "ridge", "random forest", "network: small/first", "Too few subjects to say"):
        assert words in said
    rows = pd.read_csv("runs/small/baselines/test/predictions.csv")
    counts = rows["fit"].value_counts()
    assert len(counts) == 5 and counts.nunique() == 1
    by_model = rows.groupby("fit")["scan"].apply(lambda scans: tuple(sorted(scans)))
    assert by_model.nunique() == 1  # the very scans that the network was tested on
    said = run("baseline", "small.yaml", "--features", "age", "--split", "validation")
    assert "1 columns (age)" in said
    assert "no column is called" in run("baseline", "small.yaml", "--features", "vol_*", code=2)
    folds = run("baseline", "small.yaml", "--set", "split.folds=3", "--split", "validation", "--features", "age")
    assert "No network is in the table" in folds


def test_attribution_is_written_where_the_scan_lies_and_told_in_the_report(trained):
    run("evaluate", "small/first")
    said = run("explain", "small/first", "--method", "integrated", "--method", "gradcam", "--scans", "3")
    assert "3 scans of test, 1 fits" in said
    folder = Path("runs/small/first/evaluation/test/explain")
    summary = json.loads((folder / "summary.json").read_text())
    assert len(summary["figures"]) == 2 * (3 + 2) or len(summary["figures"]) == 2 * (3 + 1)
    assert all((folder / each["file"]).stat().st_size > 5000 for each in summary["figures"])
    assert 0 <= summary["outside_head"]["integrated"] < summary["outside_head"]["grid"] + 0.2
    scans = pd.read_csv("runs/small/first/evaluation/test/predictions.csv")
    first = nibabel.load(folder / "maps" / f"{scans['scan'].iloc[0]}_integrated.nii.gz")
    assert first.shape == (SIZE, SIZE, SIZE) and np.abs(first.get_fdata()).max() > 0
    middle = first.affine @ [SIZE / 2, SIZE / 2, SIZE / 2, 1]
    assert np.linalg.norm(middle[:3] - 9 * 9.5) < 40  # mm: the ball's centre, in the scan's world
    run("evaluate", "small/first")
    page = Path("runs/small/first/evaluation/test/report.html").read_text()
    assert "outside of the head" in page and "; integrated" in page
    run("evaluate", "small/first", "--anonymize")
    assert "; integrated" not in Path("runs/small/first/evaluation/test/report.html").read_text()
    for options, words in (
        (["--method", "magic"], "one of gradient"),
        (["--target-class", "x"], "one of f, m"),
        (["--layer", "nothing", "--method", "gradcam"], "--layer"),
    ):
        assert words in run("explain", "small/first", *options, code=2)
