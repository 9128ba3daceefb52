"""Two channels, a mask, own axes and a standard scale, from labels.csv to predictions."""

import json
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from cohort_of_balls import SIZE, write_head

from tfmri.experiment.load import load_experiment
from tfmri.images.fitted import FittedPreparation
from tfmri.images.histogram import fit_standard
from tfmri.images.prepare import prepare_files
from tfmri.runs.directory import find_run
from tfmri.workflows.cohort import run_scans, run_table


def test_a_model_of_two_channels_is_trained_and_evaluated_on_one_scale_learnt_from_its_training_scans(cohort, tfmri):
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
    standard = FittedPreparation.from_config(kept).standard
    assert standard is not None
    for channel in range(2):
        expected = fit_standard([landmarks[channel] for landmarks in train])
        np.testing.assert_allclose(standard[channel], expected, rtol=1e-6)

    code, said = tfmri("evaluate", "small/first")
    assert code == 0, said
    predictions = pd.read_csv(run.evaluation("test") / "predictions.csv").set_index("scan")
    fitted, model = FittedPreparation.from_config(kept), keras.models.load_model(run.fit().model, compile=False)
    for scan in predictions.index:  # each by itself, as a new scan will come
        files = [cohort / f"{scan[1:]}.nii.gz", cohort / f"{scan[1:]}-flair.nii.gz"]
        prepared = prepare_files(files, None, fitted.preparation, fitted.standard)
        outputs = model(prepared.image[np.newaxis].astype(np.float32), training=False).numpy()
        odds = np.exp(outputs[0] - outputs[0].max())
        assert predictions.loc[scan, "p_m"] == pytest.approx(odds[1] / odds.sum(), abs=1e-4)
