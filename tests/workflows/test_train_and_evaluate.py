"""The whole path, as a person walks it: the real program, in processes of its own."""

import contextlib
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cohort_of_balls import write_cohort

PROGRAM = [sys.executable, "-c", "from tfmri.cli import main; main()"]


def run(*arguments: str, code: int = 0) -> str:
    done = subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True)
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
    assert "finished; nothing to do" in run("train", "small.yaml", "--run", "first")
    said = run("train", "small.yaml", "--run", "first", "--set", "training.epochs=2", code=2)
    assert "training.epochs: 1 -> 2" in said
    assert (history.read_bytes(), history.stat().st_mtime_ns) == before


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


def test_ctrl_c_saves_and_the_command_it_prints_goes_on_to_the_same_weights(cohort):
    settings = ["small.yaml", "--set", "training.epochs=4"]
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
        if line.startswith("epoch 1/4"):
            process.send_signal(signal.SIGINT)
    assert process.wait() == 130, lines
    *_, said, command = lines
    assert "Stopped and saved" in said
    assert "not ended" in run("evaluate", "small/stopped", code=2)
    _, *arguments = shlex.split(command)
    assert arguments == ["train", *settings, "--run", "stopped"]
    run(*arguments)
    whole, stopped = (
        np.load(sorted(Path("runs/small").glob(f"{name}/fits/whole/checkpoints/*.npz"))[-1])
        for name in ("whole", "stopped")
    )
    names = [name for name in whole.files if name.startswith("variable")]
    assert len(names) > 10
    for name in names:
        np.testing.assert_array_equal(whole[name], stopped[name])


def test_folds_are_trained_together_or_one_by_one_to_the_same_weights_and_averaged_on_test(cohort):
    folds = ["--set", "split.folds=3", "--set", "training.epochs=2"]
    run("train", "small.yaml", "--run", "all", *folds)
    root = Path("runs/small/all")
    parts = pd.read_csv(root / "splits.csv", dtype=str, keep_default_na=False)
    assert set(parts["fold"]) == {"", "1", "2", "3"} and ((parts["fold"] == "") == (parts["split"] == "test")).all()

    run("train", "small.yaml", "--run", "one", *folds, "--fold", "2")
    assert [path.name for path in Path("runs/small/one/fits").iterdir()] == ["fold-2"]
    assert "1 of 3 folds" in run("runs")
    assert "fold-1, fold-3" in run("evaluate", "small/one", code=2)
    alone, among = (pd.read_csv(Path("runs/small") / name / "fits/fold-2/history.csv") for name in ("one", "all"))
    columns = ["loss", "validation_loss"]
    pd.testing.assert_frame_equal(alone[columns], among[columns], check_exact=True)

    run("evaluate", "small/all")
    results = root / "evaluation" / "test"
    every, each = pd.read_csv(results / "predictions.csv"), pd.read_csv(results / "predictions_by_fit.csv")
    assert set(every["scan"]) == set(parts.loc[parts["split"] == "test", "scan"]) and every["scan"].is_unique
    assert each["fit"].value_counts().to_dict() == dict.fromkeys(["fold-1", "fold-2", "fold-3"], len(every))
    means = each.groupby("scan")["p_f"].mean()
    np.testing.assert_allclose(every.set_index("scan")["p_f"], means[every["scan"]], atol=1e-12)
    run("evaluate", "small/all", "--split", "validation")
    own = pd.read_csv(root / "evaluation" / "validation" / "predictions.csv")
    assert (own["fit"].str.removeprefix("fold-") == own["scan"].map(parts.set_index("scan")["fold"])).all()
    assert len(own) == (parts["fold"] != "").sum()


def test_a_fold_that_is_not_there_is_refused(cohort):
    assert "split.folds" in run("train", "small.yaml", "--fold", "1", code=2)
    assert "1 to 3" in run("train", "small.yaml", "--set", "split.folds=3", "--fold", "4", code=2)
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
