"""Two channels, a mask, own axes and a standard scale, from labels.csv to predictions, and from the model alone."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from cohort_of_balls import SIZE, write_head

from tfmri.experiment.load import load_experiment
from tfmri.images.fitted import preparation_of
from tfmri.images.histogram import fit_standard
from tfmri.images.prepare import prepare_files
from tfmri.pipeline.dataset import batches
from tfmri.pipeline.samples import make_samples
from tfmri.runs.directory import find_run
from tfmri.tasks.registry import load_task
from tfmri.workflows.cohort import run_scans, run_table


def test_a_model_of_two_channels_is_trained_and_evaluated_on_one_scale_learnt_from_its_training_scans(
    cohort, tfmri, tmp_path_factory
):
    table = pd.read_csv("labels.csv", dtype=str)
    for index, sex in enumerate(table["sex"]):
        write_head(Path(f"{index:02}-flair.nii.gz"), 100 + index, 30 * (sex == "f"))
    table["FLAIR"] = [f"{index:02}-flair.nii.gz" for index in range(len(table))]
    table.rename(columns={"path": "T1"}).to_csv("labels.csv", index=False)
    image = {"channels": "[T1, flair]", "mask": "head", "orientation": "scan", "normalise": "histogram"}
    settings = [part for key, value in image.items() for part in ("--set", f"image.{key}={value}")]
    code, said = tfmri("train", "small.yaml", *settings, "--run", "first")
    assert code == 0, said
    run = find_run("small/first")
    kept = json.loads(run.fit().preparation.read_text())
    assert kept["settings"] == {
        "spacing": [8.0, 8.0, 8.0],
        "shape": [SIZE, SIZE, SIZE],
        "normalise": "histogram",
        "channels": 2,
        "orientation": "scan",
        "bias_correction": "none",
        "registration": "none",
        "mask": "head",
    }
    experiment = load_experiment(run.experiment)
    scans = run_table(run, experiment)
    cached = run_scans(scans, experiment)
    train = [scan.landmarks for scan, side in zip(cached, scans["split"], strict=True) if side == "train"]
    alone = tmp_path_factory.mktemp("elsewhere") / "best.keras"
    shutil.copy(run.fit().model, alone)
    fitted = preparation_of(alone)
    assert json.loads(json.dumps(fitted.to_config())) == kept
    standard = fitted.standard
    assert standard is not None
    for channel in range(2):
        expected = fit_standard([landmarks[channel] for landmarks in train])
        np.testing.assert_allclose(standard[channel], expected, rtol=1e-6)

    code, said = tfmri("evaluate", "small/first")
    assert code == 0, said
    predictions = pd.read_csv(run.evaluation("test") / "predictions.csv").set_index("scan")
    model = keras.saving.load_model(alone)
    task = load_task(json.loads(run.fit().task.read_text()))
    samples = make_samples(scans, cached, task, "sex", experiment.image.shape, standard)
    one_by_one = batches(samples, np.arange(len(scans)), np.zeros((len(scans), 2)), 1).as_numpy_iterator()
    fed = {scan: batch["image"][0] for scan, batch in zip(scans["scan"], one_by_one, strict=True)}
    for scan in predictions.index:  # each by itself, as a new scan will come
        files = [cohort / f"{scan[1:]}.nii.gz", cohort / f"{scan[1:]}-flair.nii.gz"]
        prepared = prepare_files(files, None, fitted.preparation, fitted.standard)
        np.testing.assert_array_equal(prepared.image, fed[scan])
        outputs = model(prepared.image[np.newaxis].astype(np.float32), training=False).numpy()
        odds = np.exp(outputs[0] - outputs[0].max())
        assert predictions.loc[scan, "p_m"] == pytest.approx(odds[1] / odds.sum(), abs=1e-4)

    (code, said), test = tfmri("predict", str(alone), "labels.csv", "--workers", "1"), predictions
    assert code == 0, said
    found = pd.read_csv("predictions.csv").set_index("subject").loc[test["subject"], "p_m"]
    np.testing.assert_allclose(found, test["p_m"], atol=1e-4)
    code, said = tfmri("predict", str(alone), "00.nii.gz")
    assert code == 2 and "T1, flair" in said
