"""What qstat says, as Grid Engine 8.1.9 said it (grid_engine_says/)."""

from datetime import datetime
from pathlib import Path

import pytest

from tfmri.cluster.queue import parse_queue, parse_reasons
from tfmri.errors import InputError

SAID = Path(__file__).parent / "grid_engine_says"


def test_every_job_is_there_with_its_state_and_a_task_of_its_own():
    found = {(each.number, each.task): each for each in parse_queue((SAID / "qstat.xml").read_text())}
    assert found["18", None].state == "dr" and found["18", None].node == "localhost"
    assert found["18", None].began == datetime.fromisoformat("2026-11-28T11:07:33").astimezone()
    assert found["19", 1].state == "Rq" and found["19", 1].began is None  # of an array: one was requeued,
    assert found["19", 2].state == "qw"  # the other waits
    assert found["2", 1].state == found["2", 2].state == "r"
    assert found["7", None].state == "Eqw" and found["3", None].state == "hqw" and found["14", None].state == "qw"


@pytest.mark.parametrize(
    ("tasks", "expected"), [("3", [3]), ("1,2", [1, 2]), ("1-4:1", [1, 2, 3, 4]), ("1-7:3,9", [1, 4, 7, 9])]
)
def test_tasks_that_wait_together_are_told_apart(tasks, expected):
    job = f"<job_list><JB_job_number>5</JB_job_number><state>qw</state><tasks>{tasks}</tasks></job_list>"
    assert [each.task for each in parse_queue(f"<job_info>{job}</job_info>")] == expected


def test_an_answer_that_is_none_is_told():
    with pytest.raises(InputError, match="cannot be read"):
        parse_queue("<job_info><job_list>")
    assert parse_queue("<job_info><queue_info/><job_info/></job_info>") == []


def test_the_reason_of_an_error_and_of_waiting():
    assert parse_reasons((SAID / "qstat_j.txt").read_text()) == {
        "7": "exit_status of job start = 100",
        "13": 'can\'t open output file "/nonexistent/x/": No such file or directory',
        "14": "one node offers only hc:tmem=20.000G (-l tmem=500G is asked for)",
    }


def test_the_reason_on_a_cluster_of_many_queues_is_one_sentence():
    lines = [f'queue instance "gpu.q@node{number}" dropped because it is full' for number in range(40)]
    lines += [
        f'(-l tmem=16G) cannot run at host "node{number}" because it offers only hc:tmem=2.0G' for number in (50, 51)
    ]
    lines += ['cannot run in PE "smp" because it only offers 0 slots']
    said = "job_number: 8\nscheduling info:            " + "\n    ".join(lines)
    expected = "40 queues are full; one node offers only hc:tmem=2.0G (-l tmem=16G is asked for)"
    assert parse_reasons(said) == {"8": expected}
    limit = 'cannot run because it exceeds limit "ann/////" in rule "gpus/1"'
    assert parse_reasons(f"{said}\n   {limit}") == {"8": limit}
