import os

import pytest

from tfmri.errors import InputError
from tfmri.processes import in_processes


def test_results_come_with_their_positions():
    calls = [(number, 2) for number in range(7)]
    for workers in (1, 3):
        assert dict(in_processes(pow, calls, workers, "counting")) == {n: n**2 for n in range(7)}


def test_the_work_is_done_by_other_processes_that_end():
    pids = {pid for _, pid in in_processes(os.getpid, [()] * 4, 2, "counting")}
    assert os.getpid() not in pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_one_worker_is_this_process():
    assert {pid for _, pid in in_processes(os.getpid, [(), ()], 1, "counting")} == {os.getpid()}


def test_what_a_call_raises_is_raised():
    with pytest.raises(ZeroDivisionError):
        dict(in_processes(divmod, [(1, 1), (1, 0)], 2, "dividing"))


def test_a_worker_that_dies_is_told():
    with pytest.raises(InputError, match="leaving: a worker process died"):
        dict(in_processes(os._exit, [(1,), (1,)], 2, "leaving"))


def test_nothing_to_do_is_done_at_once():
    assert list(in_processes(pow, [], 4, "counting")) == []
