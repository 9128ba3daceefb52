import os
import signal
import subprocess
import sys

import pytest

from tfmri.training.interruption import Interruption, leaving_at_once


@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 99), ("SIGUSR1", 99), ("SIGUSR2", 99)])
def test_a_signal_is_remembered_and_gives_the_code_to_leave_with(number, code):
    before = signal.getsignal(signal.Signals[number])
    with Interruption() as interruption:
        assert interruption.exit_code == 0
        os.kill(os.getpid(), signal.Signals[number])
        assert interruption.exit_code == code
    assert signal.getsignal(signal.Signals[number]) is before


def test_a_second_ctrl_c_ends_the_program():
    with pytest.raises(KeyboardInterrupt), Interruption():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(("number", "code"), [("SIGTERM", 99), ("SIGUSR1", 99), ("SIGUSR2", 99)])
def test_before_the_first_step_a_job_that_is_asked_to_stop_leaves_to_be_run_again(number, code):
    text = f"""
import os, signal, sys
from tfmri.training.interruption import leaving_at_once
try:
    with leaving_at_once():
        os.kill(os.getpid(), signal.{number})
        print("went on")
finally:
    print("in order")
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (code, "in order\n")


def test_ctrl_c_is_left_as_it_is_where_a_job_leaves_at_once():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with leaving_at_once():
        assert signal.getsignal(signal.SIGINT) is before[0]
    assert signal.getsignal(signal.SIGTERM) is before[1]


def test_near_its_deadline_it_leaves_to_be_run_again_and_afterwards_nothing_rings():
    text = """
import signal, time
from tfmri.training.interruption import leaving_at_once
with leaving_at_once(time.time() + 60):
    print("in time")
assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
with leaving_at_once(time.time() + 1):
    time.sleep(60)
    print("too late")
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (99, "in time\n")
