import pytest

from tfmri.cluster.grid_engine import Job, job_name, qsub, submit
from tfmri.errors import InputError


def test_a_job_is_submitted_with_its_name_log_needs_and_what_it_waits_for():
    job = Job(
        "train_a", "sge/train.sh", ["sex clf", "--run", "a"], ["-l", "tmem=1G"], 3, "prepare", {"A": "1", "B": "x y"}
    )
    assert qsub(job, "17") == [
        *("qsub", "-terse", "-N", "train_a", "-o", "sge/logs/train_a.$JOB_ID.$TASK_ID.log", "-v", "A=1,B=x y"),
        *("-t", "1-3", "-hold_jid", "17", "-l", "tmem=1G", "sge/train.sh", "sex clf", "--run", "a"),
    ]
    assert qsub(Job("one", "sge/x.sh", [], [])) == [
        "qsub",
        "-terse",
        "-N",
        "one",
        "-o",
        "sge/logs/one.$JOB_ID.log",
        "sge/x.sh",
    ]
    with pytest.raises(InputError, match="TFMRI_RUNS: 'a,b'; expected no comma"):
        qsub(Job("one", "sge/x.sh", [], [], environment={"TFMRI_RUNS": "a,b"}))


def test_names_hold_nothing_that_grid_engine_refuses():
    assert job_name("train", "my exp", "a/b:c@d*e?") == "train_my-exp_a-b-c-d-e-"


def test_without_grid_engine_it_says_where_to_go(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="no Grid Engine on this machine"):
        submit(["qsub", "x"], tmp_path)
