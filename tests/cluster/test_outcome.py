from pathlib import Path

import pytest

from tfmri.cluster.accounting import Account
from tfmri.cluster.outcome import Asked, of_error, outcome, written_code

ASKED = Asked(16 * 2**30, 3600.0, "cluster.prepare")
BEGAN = "2026-11-28 11:08:40  job 5, task undefined, on node7, 2 slots, in /home/ann/tfmri\n"


@pytest.fixture
def log(tmp_path):
    """Writes a job's log and gives its path."""

    def write(text: str) -> Path:
        (tmp_path / "a.log").write_text(BEGAN + text)
        return tmp_path / "a.log"

    return write


def ended(
    exit_status: int, failed: int = 0, seconds: float = 100.0, resident: float = 2**30, failure: str = ""
) -> Account:
    return Account(
        "5", None, failed, failure, exit_status, seconds, resident, 2**34, "node7", "Sat Nov 28 11:08:42 2026"
    )


def test_done(log):
    assert outcome(ended(0), ASKED, log("2026-11-28 11:08:42  tfmri evaluate ended with 0\n")).state == "done"
    assert outcome(ended(0, failed=15, failure="in epilog"), ASKED, log("")).state == "done"


def test_an_evaluation_of_a_part_of_the_fits_is_done_with_a_remark(log):
    remark = "fold-2 has not ended: these results are of 2 of 3 fits"
    found = outcome(ended(3), ASKED, log(f"{remark}\n2026-11-28 11:08:42  tfmri evaluate ended with 3\n"))
    assert (found.state, found.reason) == ("done", remark)


def test_its_time_was_over(log):
    for account in (ended(137, 37, 3600), ended(137, 100, 3590), ended(137, 100, 3605)):
        found = outcome(account, ASKED, log("epoch 3\n"))
        assert (found.state, found.kind) == ("failed", "time")
        assert "1:00:00" in found.reason and "cluster.prepare.h_rt" in found.advice
    assert outcome(ended(137, 100, 1000), ASKED, log("epoch 3\n")).kind == "killed"


def test_its_memory_did_not_suffice(log):
    killed = outcome(ended(137, 100, resident=15.7 * 2**30), ASKED, log("epoch 3\n"))
    assert killed.kind == "memory" and "15.7 of the 16 GB" in killed.reason and "cluster.prepare.tmem" in killed.advice
    said = "Traceback (most recent call last):\n  File\nMemoryError\n2026-11-28 11:08:42  tfmri train ended with 1\n"
    assert outcome(ended(1), ASKED, log(said)).kind == "memory"
    gpu = "tensorflow.ResourceExhaustedError: OOM when allocating tensor on /device:GPU:0\n"
    found = outcome(ended(1), ASKED, log(gpu))
    assert found.kind == "memory" and "GPU" in found.reason and "batch_size" in found.advice


def test_the_node_could_not_run_it(log):
    found = outcome(ended(0, 27, failure="searching requested shell"), ASKED, log(""))
    assert (found.state, found.kind) == ("failed", "node")
    assert "node7" in found.reason and "searching requested shell" in found.reason
    assert outcome(ended(0, 26, failure="opening input/output file"), ASKED, log("")).kind == "disk"
    assert "could not enter" in outcome(ended(0, 28), ASKED, log("")).reason


def test_a_mistake_is_told_in_its_sentence_and_a_bug_with_its_log(log):
    said = "tfmri: labels.csv: there is no such file\n2026-11-28 11:08:42  tfmri train ended with 2\n"
    found = outcome(ended(2), ASKED, log(said))
    assert (found.kind, found.reason) == ("settings", "labels.csv: there is no such file")
    bug = "Traceback (most recent call last):\n  File x\nValueError: shapes\n"
    found = outcome(ended(1), ASKED, path := log(f"{bug}2026-11-28 11:08:42  tfmri train ended with 1\n"))
    assert (found.kind, found.reason) == ("code", "ValueError: shapes")
    assert str(path) in found.advice
    assert outcome(ended(139), ASKED, log("")).reason == "it crashed (signal 11)"
    full = (
        "tfmri: no space is left on the disk (/scratch0/x). Free some\n2026-11-28 11:08:42  tfmri train ended with 2\n"
    )
    assert outcome(ended(2), ASKED, log(full)).kind == "disk"


def test_prepare_that_failed_is_in_an_error_state_for_its_own_reason(log):
    said = "tfmri: scan.nii: cannot be read\n2026-11-28 11:08:42  tfmri prepare ended with 2\n"
    for found in (
        of_error("exit_status of job start = 100", log(said)),
        outcome(ended(100, 30, failure="application error returned"), ASKED, log(said)),
    ):
        assert (found.state, found.kind, found.reason) == ("failed", "settings", "scan.nii: cannot be read")
    assert of_error('unable to find shell "/no/shell"', log("")).kind == "node"
    assert of_error("can't open output file", log("")).kind == "disk"


def test_what_was_cancelled_is_no_failure(log):
    saved = log("Stopped and saved. This goes on with it:\n  tfmri train sex_clf --run first\n")
    for account in (ended(137, 100), ended(99, 25, failure="rescheduling"), ended(143)):
        found = outcome(account, ASKED, saved, cancelled=True)
        assert found.state == "ended" and "saved" in found.reason
    assert outcome(None, ASKED, saved.parent / "none.log", cancelled=True).reason.endswith("before it began")
    assert outcome(ended(2), ASKED, log("tfmri: no\n"), cancelled=True).state == "failed"  # it had failed by itself
    assert outcome(ended(140), ASKED, log("")).state == "ended"


def test_it_is_to_be_run_again_or_was(log):
    stopped = ended(99, 25, failure="rescheduling")
    assert outcome(stopped, ASKED, log("2026-11-28 11:08:42  tfmri train ended with 99\n")).state == "again"
    assert outcome(stopped, ASKED, log(f"{BEGAN}2026-11-28 12:08:42  tfmri train ended with 0\n")).state == "done"


def test_the_log_tells_where_the_accounting_does_not(log, tmp_path):
    assert outcome(None, ASKED, log("2026-11-28 11:08:42  tfmri train ended with 0\n")).state == "done"
    assert outcome(None, ASKED, log("epoch 3\n")).state == "unknown"
    assert "deleted before it began" in outcome(None, ASKED, tmp_path / "none.log").advice
    first = "2026-11-28 11:08:42  tfmri train ended with 99"
    assert written_code([BEGAN.strip(), first]) == 99
    assert written_code([BEGAN.strip(), first, BEGAN.strip(), "epoch 4"]) is None  # it has begun again since
