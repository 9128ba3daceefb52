import os
import signal
import subprocess
import sys
from pathlib import Path

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


def hold(folder, number):
    """Says who has begun, and goes on when it is let."""
    with (folder / "begun").open("w") as begun:
        begun.write(f"{os.getpid()}\n")
    (folder / f"go-{number}").read_text()
    (folder / f"done-{number}").touch()


@pytest.fixture
def interrupted(tmp_path):
    """Two workers that have begun two of six calls, in a process group that got Ctrl-C and said so; their pids."""
    for name in ("begun", *(f"go-{number}" for number in range(6))):
        os.mkfifo(tmp_path / name)
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\nfrom test_processes import hold\nfrom tfmri.processes import in_processes\n"
        f"calls = [(Path({str(tmp_path)!r}), number) for number in range(6)]\n"
        "try: list(in_processes(hold, calls, 2, 'holding', goes_on=True))\n"
        "except KeyboardInterrupt: sys.exit(130)\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as program:
        pids = []
        while len(pids) < 2:
            pids += [int(line) for line in (tmp_path / "begun").read_text().split()]
        os.killpg(program.pid, signal.SIGINT)
        assert program.stderr.readline() == (
            "stopping after the scans in hand; the same command goes on where it stopped\n"
        )
        yield program, pids
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)


def test_ctrl_c_ends_what_is_in_hand_and_begins_no_more(interrupted, tmp_path):
    program, _ = interrupted
    for number in range(2):
        (tmp_path / f"go-{number}").write_text("")
    assert program.wait(60) == 130 and program.stderr.read() == ""
    assert sorted(path.name for path in tmp_path.glob("done-*")) == ["done-0", "done-1"]


def test_a_second_ctrl_c_kills_the_workers(interrupted, tmp_path):
    program, pids = interrupted
    os.killpg(program.pid, signal.SIGINT)
    assert program.wait(60) == 130 and program.stderr.read() == ""
    assert not list(tmp_path.glob("done-*"))
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_what_was_raised_tells_where_in_the_worker():
    with pytest.raises(ZeroDivisionError) as raised:
        dict(in_processes(divmod, [(1, 0), (1, 0)], 2, "dividing"))
    assert "function(*call)" in raised.value.__notes__[0]
