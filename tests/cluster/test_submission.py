import json

import pytest

from tfmri.cluster.accounting import Account
from tfmri.cluster.submission import latest, mark_cancelled, remember, submissions
from tfmri.errors import InputError
from tfmri.workflows.cancel import cancel
from tfmri.workflows.jobs import list_jobs, submission_of

ENDED = Account("2", 1, 0, "", 0, 60.0, 2.0**30, 2.0**31, "node7", "Sat Nov 28 11:08:42 2026")


def job(step: str, number: str, tasks: list[str] | None = None) -> dict:
    task = "" if tasks is None else ".$TASK_ID"
    log = f"sge/logs/{step}_sex_clf_first.$JOB_ID{task}.log"
    return {"step": step, "number": number, "log": log, "tasks": tasks, "memory": "16G", "time": "2:00:00"}


@pytest.fixture
def logs(tmp_path, monkeypatch):
    """The folder of logs of a project, which is the current one, with a run that was submitted twice."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "any.yaml").touch()
    logs = tmp_path / "sge" / "logs"
    logs.mkdir(parents=True)
    for number, day in ((1, "27"), (4, "28")):
        jobs = [job("prepare", f"{number}"), job("train", f"{number + 1}", ["fold-1", "fold-2"])]
        facts = {"experiment": "sex_clf", "run": "sex_clf/first", "site": "comic", "jobs": jobs}
        facts |= {"submitted": f"2026-11-{day}T10:00:00+00:00", "again": "tfmri submit sex_clf --run first"}
        (logs / f"sex_clf_first_{number}.json").write_text(json.dumps(facts))
    (logs / "damaged.json").write_text('{"run": ')
    (logs / "other.json").write_text("[1, 2]")
    monkeypatch.chdir(tmp_path)
    return logs


def test_what_was_submitted_is_read_back_task_by_task(logs):
    first, second = submissions(logs)
    assert [task.key for task in first.tasks] == ["1", "2.1", "2.2"]
    assert first.tasks[2].log == logs / "train_sex_clf_first.2.2.log" and first.tasks[2].name == "fold-2"
    assert first.tasks[0].asked.memory == 16 * 2**30 and first.tasks[0].asked.seconds == 7200
    assert first.tasks[0].asked.keys == "cluster.prepare" and first.tasks[1].asked.keys == "cluster"
    assert latest([first, second]) == [second]


def test_how_jobs_ended_is_kept(logs):
    first = submissions(logs)[0]
    remember(first, {"2.1": ENDED})
    mark_cancelled(first, "2026-11-28T12:00:00+00:00")
    again = submissions(logs)[0]
    assert again.accounts == {"2.1": ENDED} and again.cancelled
    assert not submissions(logs)[1].cancelled


def test_a_run_is_found_as_people_name_it(logs):
    found = submissions(logs)
    for name in ("sex_clf/first", "sex_clf", "sex_clf/latest"):
        assert submission_of(name, found) == found[1]
    with pytest.raises(InputError, match="Did you mean 'sex_clf/first'"):
        submission_of("sex_clf/frist", found)


def test_without_jobs_or_without_grid_engine_a_sentence_says_so(logs, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="no Grid Engine on this machine"):
        list_jobs()
    with pytest.raises(InputError, match="a run, or --all"):
        cancel(None)
    for path in logs.glob("*.json"):
        path.unlink()
    assert list_jobs() == "Nothing was submitted from here yet: tfmri submit EXP"
    assert list_jobs(as_json=True) == "[]"
