import subprocess
import sys
import time

import pytest

from tfmri.errors import InputError
from tfmri.training.deadline import SPARE, Deadline, deadline_seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1:30", 90), ("0:01:30", 90), ("12:00:00", 43200), ("100:0:0", 360000)]
)
def test_times_are_read_as_grid_engine_writes_them(text, seconds):
    assert deadline_seconds(text) == seconds


@pytest.mark.parametrize("text", ["soon", "", "1:2:3:4", "-5", "1h", "1:300"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(InputError, match="no time"):
        deadline_seconds(text)


def test_a_deadline_counts_from_the_start_of_the_process():
    """The kernel gives the start to a hundredth of a second, and the boot that it counts from to a whole one."""
    code = "import time; time.sleep(3); from tfmri.training.deadline import Deadline; print(Deadline(500).end)"
    before = time.time()
    end = float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert before - 1.5 <= end - 500 <= time.time() - 3 + 1.5


def test_it_is_near_when_a_pause_and_two_saves_would_not_be_over_before_it():
    lived = time.time() - Deadline(0).end
    assert Deadline(10 * SPARE).spare == SPARE and Deadline(60).spare == 6
    assert Deadline(lived * 1.1).near() and not Deadline(None).near()
    deadline = Deadline(lived + SPARE + 1000)
    assert not deadline.near()
    deadline.longest_save = 600.0
    assert deadline.near()
    deadline.longest_save, deadline.longest_pause = 0.0, 1100.0
    assert deadline.near()


def test_in_a_job_it_counts_from_the_start_of_the_job(monkeypatch):
    monkeypatch.setenv("TFMRI_STARTED", "1700000000")
    assert Deadline(500).end == 1700000500


def test_a_job_is_asked_for_its_h_rt_and_nothing_else_is(tmp_path, monkeypatch):
    monkeypatch.delenv("JOB_ID", raising=False)
    assert deadline_seconds(None) is None
    monkeypatch.setenv("JOB_ID", "4711")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert deadline_seconds(None) is None  # where there is no qstat

    def tell(*lines):
        qstat = tmp_path / "qstat"
        qstat.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))
        qstat.chmod(0o755)

    tell("job_number:                 4711", "hard resource_list:         h_rt=7200,tmem=16G,gpu=true")
    assert deadline_seconds(None) == 7200 and deadline_seconds("60") == 60
    tell("hard_resource_list:         gpu=true,h_rt=12:00:00")
    assert deadline_seconds(None) == 43200
    tell("hard resource_list:         tmem=16G", "soft resource_list:         h_rt=60")
    assert deadline_seconds(None) is None
