"""`tfmri prepare`: what it says of the cache, what it takes out, one file of a cohort, and settings that cannot be."""

from pathlib import Path

import pandas as pd
import pytest
import yaml
from cohort_of_balls import SETTINGS

from tfmri.errors import InputError
from tfmri.experiment.load import dump, load_experiment
from tfmri.images import cache as cache_module
from tfmri.runs.cohort import write_cohort
from tfmri.runs.directory import run_at
from tfmri.workflows import prepare as workflow
from tfmri.workflows.cohort import cache_folder, load_cohort, prepare


@pytest.fixture
def project(cohort, monkeypatch):
    """The cohort with its experiment as experiments/small.yaml, and four of its scans as experiments/few.yaml."""
    monkeypatch.setattr(cache_module, "RECENT", 0.0)
    folder = cohort / "experiments"
    folder.mkdir()
    (cohort / "small.yaml").rename(folder / "small.yaml")
    few = SETTINGS | {"data": {"labels": "labels.csv", "where": "age < 32"}}
    (folder / "few.yaml").write_text(yaml.safe_dump(few | {"image": {"spacing": 9, "shape": [20, 20, 20]}}))
    return {name: load_experiment(folder / f"{name}.yaml") for name in ("small", "few")}


def lines(said):
    return [line.strip() for line in said.splitlines()]


def arrays():
    return len(list(cache_folder().glob("[!.]*.npy")))


def test_the_status_counts_this_experiments_scans_the_others_and_what_was_begun(project):
    workflow.fill(project["few"], 1)
    said = lines(workflow.status(project["small"], "small"))
    makes = "makes the other 16, or says why it cannot"
    assert said[0] == f"small: 0 of 16 scans are prepared; `tfmri prepare small` {makes}"
    overrides = ["image.spacing=9", "data.where=age < 99"]
    told = lines(workflow.status(load_experiment(Path("experiments/small.yaml"), overrides), "small", overrides))[0]
    assert "`tfmri prepare small --set image.spacing=9 --set 'data.where=age < 99'`" in told
    assert said[2].startswith("0 scans of this experiment") and said[3].startswith("4 scans of others")
    (cache_folder() / ".writing-x.npy").write_bytes(bytes(10**6))
    assert workflow.fill(project["small"], 1) == "16 scans are prepared in cache/"
    said = lines(workflow.status(project["small"], "small"))
    assert said[0] == "small: 16 of 16 scans are prepared"
    assert said[2].startswith("16 scans of this experiment") and said[4] == "1 files begun and not ended, 1.0 MB"
    assert lines(workflow.status(None, ""))[1].startswith("20 scans prepared")


def test_pruning_says_first_and_takes_only_what_no_experiment_and_no_run_needs(project):
    small = project["small"]
    workflow.fill(small, 1)
    workflow.fill(project["few"], 1)
    overrides = {
        each: load_experiment(Path("experiments/small.yaml"), [f"image.normalise={each}"])
        for each in ("mean", "percentiles")
    }
    table = load_cohort(small)[0].table.assign(split="train", fold="")
    cached = {each: prepare(table, experiment, 1) for each, experiment in overrides.items()}
    run = run_at("small", "a-run")
    run.path.mkdir(parents=True)
    run.experiment.write_text(dump(overrides["mean"]))
    write_cohort(run, table, cached["mean"])

    assert arrays() == 16 + 4 + 16 + 16
    said = workflow.prune(None, really=False)
    assert said.splitlines()[-1] == "Nothing was removed; --yes removes it." and "16 prepared scans and 0 files" in said
    assert arrays() == 52
    workflow.prune(None, really=True)
    assert arrays() == 36
    for experiment in (small, project["few"], overrides["mean"]):
        assert "; " not in lines(workflow.status(experiment, "x"))[0]
    assert "There is nothing to remove" in workflow.prune(None, really=True)


def test_scans_that_left_the_labels_go_and_those_whose_labels_cannot_be_read_stay(project):
    workflow.fill(project["small"], 1)
    table = pd.read_csv("labels.csv")
    table.iloc[:10].to_csv("labels.csv", index=False)
    assert "6 prepared scans" in workflow.prune(None, really=False)
    Path("00.nii.gz").rename("gone.nii.gz")
    said = workflow.prune(None, really=True)
    assert "small.yaml: its scans are not known" in said and "00.nii.gz" in said
    assert arrays() == 16
    Path("gone.nii.gz").rename("00.nii.gz")
    workflow.prune(None, really=True)
    assert arrays() == 10


def test_nothing_is_pruned_where_nobody_knows_what_is_needed(project, tmp_path, monkeypatch):
    workflow.fill(project["few"], 1)
    Path("experiments/broken.yaml").write_text("image: {spacing: 0}")
    with pytest.raises(InputError, match="broken"):
        workflow.prune(None, really=True)
    monkeypatch.setenv("TFMRI_CACHE", str(Path("cache").absolute()))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    Path("../experiments").rename("../aside")
    with pytest.raises(InputError, match="neither experiments nor runs here"):
        workflow.prune(None, really=True)
    assert arrays() == 4


def test_a_phantom_cohort_that_was_never_written_is_not_written_to_prune(project):
    (Path("experiments") / "demo.yaml").write_text(yaml.safe_dump(SETTINGS | {"data": {"labels": "demo"}}))
    workflow.prune(None, really=True)
    assert not Path("data").exists()


def test_a_job_begins_with_the_cohorts_archive_and_prepares_only_what_was_not_in_it(project, monkeypatch, capsys):
    assert "16 prepared scans" in workflow.to_archive(project["small"], Path("cohort.tar"), 1)
    monkeypatch.setenv("TFMRI_CACHE", "scratch")
    said = workflow.from_archive(project["small"], Path("cohort.tar"), 1)
    assert said == "16 scans of cohort.tar are unpacked into scratch/: 16 of this experiment's 16"
    assert workflow.from_archive(project["small"], Path("cohort.tar"), 1) == "All 16 scans are in scratch/ already"
    assert workflow.from_archive(project["few"], Path("cohort.tar"), 1) == "4 scans are prepared in scratch/"
    assert "0 of this experiment's 4; the others follow" in capsys.readouterr().out
    assert len(list(Path("scratch").glob("*.npy"))) == 20
    monkeypatch.setenv("TFMRI_CACHE", "other")
    assert workflow.from_archive(None, Path("cohort.tar")) == "16 scans of cohort.tar are unpacked into other/"


def test_from_a_folder_below_everything_lies_beside_the_experiments(project, monkeypatch, tmp_path, tfmri):
    (tmp_path / "notebooks" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "notebooks" / "mine")
    assert tfmri("prepare", "few", "--workers", "1")[0] == 0
    assert tfmri("check", "few", "--headers-only")[0] in (0, 3)
    assert not list(Path().iterdir())
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 4
    assert (tmp_path / "check" / "few" / "index.html").is_file()
    assert run_at("few", "a").path == tmp_path / "runs" / "few" / "a"
    monkeypatch.setenv("TFMRI_RUNS", "elsewhere")
    assert run_at("few", "a").path == Path("elsewhere/few/a")
    monkeypatch.chdir(tmp_path)
    assert cache_folder() == Path("cache")


def test_a_registration_that_failed_is_told_with_the_scans_name(project, monkeypatch, caplog):
    import numpy as np

    from tfmri.images.registration import Registration

    def fails_for_one(volume, head, mask):
        return Registration(np.eye(4), 0.05 if volume.path.name == "03.nii.gz" else 0.9)

    monkeypatch.setattr("tfmri.images.prepare.register_to_template", fails_for_one)
    experiment = load_experiment(Path("experiments/few.yaml"), ["image.registration=mni152"])
    for _ in range(2):  # from the cache as well
        caplog.clear()
        workflow.fill(experiment, 1)
        assert "most likely failed for s03 (0.05)" in caplog.text and "s02" not in caplog.text


@pytest.mark.parametrize("stretch", [1.0, 1.6])
def test_a_grid_that_cuts_the_registered_heads_is_told_with_one_that_does_not(project, monkeypatch, caplog, stretch):
    import re

    import numpy as np

    from tfmri.images.registration import Registration

    where = np.diag([1 / stretch, 1 / stretch, 1 / stretch, 1.0])  # from MNI152 to the scan
    where[:3, 3] = 20 * 9 / 2 - 4.5  # the ball's middle lies in the template's
    monkeypatch.setattr("tfmri.images.prepare.register_to_template", lambda *_: Registration(where, 0.9))
    settings = ["image.registration=mni152", "image.spacing=5", "image.shape=[40,48,40]"]
    experiment = load_experiment(Path("experiments/few.yaml"), settings)
    workflow.fill(experiment, 1)
    assert ("4 of 4 heads are larger" in caplog.text) == (stretch > 1)
    if stretch > 1:
        shape = re.search(r"image\.shape=(\[.*\])", caplog.text)[1]
        caplog.clear()
        workflow.fill(load_experiment(Path("experiments/few.yaml"), [*settings, f"image.shape={shape}"]), 1)
        assert not caplog.text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], ["no experiment is named"]),
        (["small", "--status", "--prune"], ["--status and --prune", "one of them"]),
        (["small", "--yes"], ["--yes", "--prune"]),
        (["small", "--set", "image.normalise=minmax"], ["image.normalise", "'minmax'", "percentiles"]),
        (["small", "--set", "image.mask=synthstrip -i {scan}"], ["image.mask", "{mask}", "mri_synthstrip"]),
        (["small", "--set", "image.mask=brain"], ["labels.csv", "no column holds the brain", "none, head, a command"]),
        (["small", "--set", "image.mask=nonesuch {scan} {mask}"], ["nonesuch is not installed here"]),
        (["small", "--set", "image.channels=[path, flair]"], ["no column holds the flair"]),
        (["small", "--set", "image.channels=[path, path]"], ["image.channels", "each once"]),
        (["small", "--set", "image.channels=[]"], ["image.channels", "no channels"]),
        (["small", "--set", "image.registration=mni"], ["image.registration", "mni152"]),
        (["small", "--set", "image.orientation=scan", "--set", "image.registration=mni152"], ["image", "orientation"]),
        (["small", "--from-archive", "nowhere.tar"], ["nowhere.tar", "no such file"]),
        (["small", "--from-archive", "labels.csv"], ["labels.csv", "no archive of prepared scans"]),
        (["small", "--from-archive", "."], ["this is a folder"]),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(project, monkeypatch, capsys, arguments, said):
    from tfmri.cli import main

    monkeypatch.setattr("sys.argv", ["tfmri", "prepare", *arguments, "--workers", "1"])
    with pytest.raises(SystemExit) as left:
        main()
    error = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("preparing scans")]
    assert left.value.code == 2 and len(error) == 1
    for words in said:
        assert words in error[0]
