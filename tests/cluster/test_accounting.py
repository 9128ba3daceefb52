"""What qacct says, as Grid Engine 8.1.9 said it (grid_engine_says/)."""

from pathlib import Path

import pytest

from tfmri.cluster.accounting import Account, parse_accounts

SAID = Path(__file__).parent / "grid_engine_says" / "qacct.txt"


def test_an_entry_for_each_time_that_a_task_ran():
    found = parse_accounts(SAID.read_text())
    assert [(each.number, each.task, each.failed, each.exit_status) for each in found] == [
        ("4", None, 0, 0),
        ("8", None, 37, 137),
        ("7", None, 30, 100),
        ("12", None, 25, 99),
        ("12", None, 0, 0),
        *(("17", task, 0, 0) for task in (1, 2, 3, 4)),
    ]
    assert found[1].failure == "qmaster enforced h_rt, h_cpu, or h_vmem limit" and found[1].node == "localhost"
    assert found[3].again and not found[4].again
    assert Account(**found[1].as_json()) == found[1]


def test_time_and_memory_are_in_seconds_and_bytes():
    found = parse_accounts(SAID.read_text())[1]
    assert found.seconds == 4
    assert found.virtual == pytest.approx(5.191 * 2**20)
    assert found.resident == pytest.approx(4.523 * 2**20)  # it says 4.523KB of a bash, which holds some 4.5 MB


def test_a_job_that_never_began_and_a_person_without_jobs():
    never = (
        "====\njobnumber    13\ntaskid       undefined\nend_time     -/-\nfailed       26  : opening input/output file"
    )
    (found,) = parse_accounts(never + "\nexit_status  0\nru_wallclock 0s\nmaxvmem      0.000B\n")
    assert (found.failed, found.failure, found.ended) == (26, "opening input/output file", "")
    assert parse_accounts("OWNER      WALLCLOCK         UTIME\n==========\n") == []
