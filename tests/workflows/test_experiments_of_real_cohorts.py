"""The experiments for IXI, OASIS-1 and the published SFCN run as they stand, in small and on other people's scans."""

import json
import shutil
from pathlib import Path

import pandas as pd
import program
import pytest

from tfmri.experiment.load import find_experiment, load_experiment
from tfmri.models.registry import build_model
from tfmri.tasks.registry import make_task
from tfmri.workflows.cohort import read_cohort_of

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "tests" / "models" / "torch_files" / "stream.p"
SMALL = ["image.spacing=12", "image.shape=[16, 16, 16]", "training.epochs=1", "training.batch_size=4"]
RESNET = ["model.filters=[2, 2, 3, 3]", "model.stem_stride=1"]
CASES = {
    "ixi_sex_resnet": (RESNET, 15),
    "ixi_age_resnet": (RESNET, 15),
    "oasis_dx": (["split.folds=2", "model.filters=[2, 2]", "augment=none", "data.where=age >= 24"], 12),
    "age_sfcn_ukb": (
        [
            "image.registration=none",
            "image.mask=head",
            "data.where=age >= 20",
            "targets.age.range=[20, 80]",
            "targets.age.bin_width=20",
            "model.filters=[2, 4, 3, 5]",
            f"training.warm_start.weights={WEIGHTS}",
        ],
        16,
    ),
}


@pytest.fixture
def people(cohort):
    """The cohort with the columns that IXI and OASIS-1 have: one scan of another site, two without a diagnosis."""
    table = pd.read_csv("labels.csv")
    table["site"] = ["Guys", *["HH"] * 15]
    words = ["healthy", "very mild", "healthy", "mild", "healthy", "moderate", "healthy", "severe"]
    table["diagnosis"] = [*(words * 2)[:14], None, None]
    table.to_csv("labels.csv", index=False)
    shutil.copytree(ROOT / "experiments", "experiments")
    return cohort


def small(name):
    """The experiment's settings as --set changes them, and how many scans are left of the cohort."""
    settings, scans = CASES[name]
    return ["data.labels=labels.csv", *SMALL, *settings], scans


@pytest.mark.parametrize("name", ["ixi_sex_resnet", "age_sfcn_ukb"])
def test_it_trains(name, people):
    settings, scans = small(name)
    program.run("train", name, "--run", "small", *[word for each in settings for word in ("--set", each)])
    run = people / "runs" / name / "small"
    assert len(pd.read_csv(run / "splits.csv")) == scans
    assert len((run / "fits" / "whole" / "history.csv").read_text().splitlines()) == 2
    about = json.loads((run / "fits" / "whole" / "provenance.json").read_text()).get("warm_start")
    assert (about is None) == (name == "ixi_sex_resnet")
    assert about is None or (about["new"] == [] and about["weights"] == str(WEIGHTS))


@pytest.mark.parametrize("name", ["ixi_age_resnet", "oasis_dx"])
def test_its_scans_and_its_network_are_there(name, people):
    settings, scans = small(name)
    experiment = load_experiment(find_experiment(name), settings)
    table = read_cohort_of(experiment, Path("labels.csv")).table
    assert len(table) == scans
    model, target = experiment.model, experiment.targets[experiment.target]
    task = make_task(target.task, table[experiment.target], **target.settings)
    network = build_model(model.name, (16, 16, 16, 1), task.outputs, **model.options)
    assert network.output_shape == (None, 1 if name == "ixi_age_resnet" else 2)
