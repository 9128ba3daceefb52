"""The whole path, as a person walks it: the real program, in processes of its own."""

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

import numpy as np
import pandas as pd
import pytest
from program import run

from tfmri.evaluation.adjustments import learn
from tfmri.machine import processors
from tfmri.training import checkpoint

PROGRAM = [sys.executable, "-c", "from tfmri.cli import main; main()"]


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


def test_a_run_stopped_by_ctrl_c_and_by_its_deadline_ends_as_one_never_stopped(cohort, monkeypatch):
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
    about = Path("runs/small/stopped/fits/whole/provenance.json")
    known = json.loads(about.read_text())
    step = checkpoint.newest_step(about.parent / "checkpoints")
    futile = {"when": "", "host": "", "step": step, "JOB_ID": "4711"}
    about.write_text(json.dumps(known | {"restarts": [*known["restarts"], futile, futile]}))
    with monkeypatch.context() as job:  # Grid Engine runs it again and again, and it comes no further
        job.setenv("JOB_ID", "4711")
        assert f"got no further than step {step}" in run(*arguments, code=2)
    about.write_text(json.dumps(known))
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

    run("train", *settings, "--run", "one", "--fit", "4")
    assert [path.name for path in Path("runs/small/one/fits").iterdir()] == names[-1:]
    assert "finished; nothing to do" in run("train", "small.yaml", "--resume", "--fit", names[-1])
    assert "1 of 4 fits" in run("runs")
    said = run("evaluate", "small/one", code=3)
    assert f"{', '.join(names[:-1])} have not ended: these results are of 1 of 4 fits" in said
    assert "1 of 4 fits" in Path("runs/small/one/evaluation/test/report.html").read_text()
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

    learnt = learn(own, "classification", ["f", "m"], "sex")  # from validation, for the test split too
    told = json.loads((results / "metrics.json").read_text())["adjustments"]["sex"]
    found = [told["temperature"]["value"], told["threshold"]["value"], told["conformal"]["quantile"]]
    assert found == pytest.approx([learnt.temperature, learnt.threshold, learnt.quantile])
    assert told["n"] == len(own) == 12

    test = every.set_index("path")
    run("predict", "small/all", *test.index, "--workers", "1")
    predicted = pd.read_csv("predictions.csv").set_index("path").loc[test.index]
    for column in ("p_f", "spread"):
        np.testing.assert_allclose(predicted[column], test[column], atol=1e-5)
    assert (predicted["prediction_set"] == test["prediction_set"]).all() and predicted["error"].isna().all()
    run("export", "small/all", "-o", "exported.keras")  # a folder, whatever its name
    assert sorted(path.stem for path in Path("exported.keras").iterdir()) == names
    run("predict", "exported.keras", *test.index, "-o", "again.csv", "--workers", "1")
    pd.testing.assert_frame_equal(pd.read_csv("again.csv"), pd.read_csv("predictions.csv"), atol=1e-5)


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
