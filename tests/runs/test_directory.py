import json
import math
import re
import shlex
import subprocess
import sys

import pytest

from tfmri.errors import InputError
from tfmri.files import write_json, write_text
from tfmri.runs.directory import all_runs, create_run, find_run, latest_run, new_name, point_latest, run_at
from tfmri.runs.provenance import begin_command, merged, resume_command


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("TFMRI_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def begin(run):
    write_text(run.experiment, "seed: 0\n")


def test_a_run_appears_whole_or_not_at_all(runs):
    def fail(run):
        begin(run)
        raise OSError("no space")

    with pytest.raises(OSError):
        create_run(run_at("sex", "a"), fail)
    assert list((runs / "sex").iterdir()) == []
    assert create_run(run_at("sex", "a"), begin)
    assert sorted(path.name for path in (runs / "sex").iterdir()) == ["a"]


def test_of_two_jobs_that_begin_the_same_run_the_first_wins(runs):
    assert create_run(run_at("sex", "a"), begin)
    assert not create_run(run_at("sex", "a"), lambda run: write_text(run.experiment, "seed: 1\n"))
    assert run_at("sex", "a").experiment.read_text() == "seed: 0\n"


def test_runs_are_found_by_path_by_name_and_as_the_latest(runs, monkeypatch):
    for name in ("a", "b"):
        create_run(run_at("sex", name), begin)
    point_latest(run_at("sex", "a"))
    point_latest(run_at("sex", "b"))
    assert find_run("sex/a").path == runs / "sex" / "a"
    assert find_run("sex/latest").path == runs / "sex" / "b"
    assert find_run("sex").path == runs / "sex" / "b"
    assert find_run(str(runs / "sex" / "a")).label == "sex/a"
    assert [run.label for run in all_runs()] == ["sex/a", "sex/b"]


def test_a_fit_is_held_by_one_and_looking_at_it_stops_nobody(runs):
    fit = run_at("sex", "a").fit()
    assert not fit.training and not fit.path.exists()
    with fit.held():
        assert fit.training
        with pytest.raises(InputError, match="another process is training"), fit.held():
            pass
    assert not fit.training
    look = (
        "import fcntl, sys, time; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_SH); print(1, flush=True); time.sleep(0.2)"
    )
    looking = subprocess.Popen([sys.executable, "-c", look, str(fit.path / ".lock")], stdout=subprocess.PIPE)
    assert looking.stdout is not None and looking.stdout.readline() == b"1\n"
    with fit.held():
        assert fit.training
    looking.communicate()


def test_an_unknown_run_names_the_nearest(runs):
    create_run(run_at("sex", "first"), begin)
    with pytest.raises(InputError, match="Did you mean 'sex/first'"):
        find_run("sex/frist")


@pytest.mark.parametrize("name", ["", "a/b", "..", "-x", ".hidden", "latest", "with space"])
def test_what_cannot_be_a_folder_is_refused_as_a_name(name):
    with pytest.raises(InputError, match="--run"):
        run_at("sex", name)


def test_a_job_that_runs_again_has_the_same_name_and_other_runs_have_their_own(monkeypatch):
    monkeypatch.setenv("JOB_ID", "4711")
    monkeypatch.setenv("SGE_TASK_ID", "undefined")
    assert new_name() == new_name() == "job-4711"
    monkeypatch.setenv("SGE_TASK_ID", "3")
    assert new_name() == "job-4711.3"
    assert new_name(shared=True) == "job-4711"  # the tasks of an array train the folds of one run
    monkeypatch.delenv("JOB_ID")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-\d{3}", new_name())


def test_a_fit_is_trained_by_one_process_at_a_time(runs):
    run = run_at("sex", "a")
    create_run(run, begin)
    with run.fit().held(), pytest.raises(InputError, match="another process"), run.fit().held():
        pass
    with run.fit().held():  # and by another afterwards
        pass


def test_a_fit_whose_model_stayed_on_the_cluster_is_finished_all_the_same(runs):
    run = run_at("sex", "a")
    create_run(run, begin)
    assert not run.fit().finished
    write_json(run.fit().provenance, {"started": "then"})
    assert not run.fit().finished
    write_json(run.fit().provenance, {"started": "then", "ended": "now"})
    assert run.fit().finished


def test_the_command_that_begins_another_run_has_each_setting_once(tmp_path):
    run = run_at("exp", "old")
    overrides = ["training.epochs=3", "model.name=sfcn", "model.filters=[8]", "training.epochs=4"]
    write_json(run.provenance, {"experiment": "my exp", "set": overrides})
    *program, last = shlex.split(begin_command(run, "training.epochs=8"))[1:]
    assert program == ["train", "my exp", "--set", "model.name=sfcn", "--set", "model.filters=[8]", "--set"]
    assert last == "training.epochs=8" and shlex.split(begin_command(run))[-1] == "training.epochs=4"
    assert shlex.split(resume_command(run))[1:] == ["train", "my exp", "--run", "old"]
    assert merged(overrides, ["model={name: small_cnn}"]) == ["training.epochs=4", "model={name: small_cnn}"]
    assert merged(["training.ema=0.9"], ["training.em=1"]) == ["training.ema=0.9", "training.em=1"]


def test_the_latest_run_is_the_one_worked_on_last_also_where_the_link_was_not_copied(runs):
    with pytest.raises(InputError, match="no run of sex"):
        latest_run("sex")
    for name in ("a", "b"):
        create_run(run_at("sex", name), begin)
    create_run(run_at("age", "c"), begin)
    assert latest_run("sex").path == runs / "sex" / "b"
    point_latest(run_at("sex", "a"))
    assert latest_run("sex").path == runs / "sex" / "a"


def test_a_fit_that_is_to_go_on_is_not_finished_and_keeps_what_is_known_of_it(runs):
    fit = run_at("sex", "a").fit("fold-2_seed-1")
    assert fit.read_history() == []
    write_json(fit.provenance, {"started": "then", "ended": "now"})
    write_text(fit.history, "epoch,loss,validation_loss\n1,0.5,0.25\n2,0.1,\n")
    first, second = fit.read_history()
    assert first == {"epoch": 1, "loss": 0.5, "validation_loss": 0.25} and math.isnan(second["validation_loss"])
    fit.unfinish()
    assert not fit.finished and json.loads(fit.provenance.read_text()) == {"started": "then"}


def test_many_processes_point_at_their_run_at_the_same_time(runs):
    """As the tasks of an array job do, which begin together."""
    create_run(run_at("sex", "a"), begin)
    code = (
        "from tfmri.runs.directory import point_latest, run_at\nfor _ in range(200): point_latest(run_at('sex', 'a'))"
    )
    tasks = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [task.communicate()[1] for task in tasks] == ["", "", ""]
    assert (runs / "sex" / "latest").resolve() == runs / "sex" / "a"
