import errno
import hashlib
import os
import shutil
import socket

import numpy as np
import pytest
from server_of_files import Files, serving

from tfmri.cohort.fetch import BLOCK, fetch
from tfmri.errors import InputError, Problem

BODY = np.random.default_rng(0).bytes(3_000_000)
OTHER = np.random.default_rng(1).bytes(3_000_000)
CUT = 1_234_567
NOW = (0.0, 0.0)  # pauses


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def served(**vices) -> Files:
    return Files({"/f.tar": BODY}, **vices)


def get(files: Files, path, **settings):
    fetch(f"{files.address}/f.tar", path, pauses=settings.pop("pauses", NOW), **settings)


def refusal(files: Files, path, **settings) -> Problem:
    with pytest.raises(InputError) as caught:
        get(files, path, **settings)
    return caught.value.problems[0]


def interrupt(files: Files, path, second: int = 0) -> int:
    """Leaves some of the file, as a call does that is killed or loses the network for good; how much comes back.

    The second attempt gets so many bytes.
    """
    files.cut = [CUT, second]
    refusal(files, path, pauses=(0.0,))
    files.asked.clear()
    files.sent = 0
    assert not path.exists()
    part = path.with_name("f.tar.part").read_bytes()
    assert CUT - BLOCK < len(part) <= CUT and part == files.content["/f.tar"][: len(part)]
    return len(part)


def left_in(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_and_alone(tmp_path, capsys):
    with serving(served()) as files:
        get(files, tmp_path / "f.tar", md5=hashlib.md5(BODY).hexdigest())
    assert (tmp_path / "f.tar").read_bytes() == BODY
    assert left_in(tmp_path) == ["f.tar"]
    assert "downloading f.tar MB: 3 of 3" in capsys.readouterr().err


def test_a_connection_that_is_cut_again_and_again_is_gone_on_with(tmp_path):
    with serving(served(cut=[CUT, 500_000, 1, 700_000])) as files:
        get(files, tmp_path / "f.tar")
    assert (tmp_path / "f.tar").read_bytes() == BODY
    assert len(files.asked) == 5 and len(BODY) <= files.sent < len(BODY) + 4 * BLOCK


@pytest.mark.parametrize("vice", [{}, {"etag": ""}, {"etag": 'W/"one"'}, {"changed": ""}])
def test_a_later_call_goes_on_where_the_earlier_one_stopped(tmp_path, vice, capsys):
    with serving(served(**vice)) as files:
        there = interrupt(files, tmp_path / "f.tar")
        get(files, tmp_path / "f.tar")
    assert files.asked == [("/f.tar", f"bytes={there}-")] and files.sent == len(BODY) - there
    assert (tmp_path / "f.tar").read_bytes() == BODY
    assert "the last 2 MB of 3 MB" in capsys.readouterr().err


def test_what_was_complete_but_for_its_name_is_not_asked_for_again(tmp_path):
    with serving(served()) as files:
        interrupt(files, tmp_path / "f.tar")
        (tmp_path / "f.tar.part").write_bytes(BODY)
        get(files, tmp_path / "f.tar")
    assert files.asked == []
    assert (tmp_path / "f.tar").read_bytes() == BODY


@pytest.mark.parametrize("heeds", [True, False])
def test_a_file_that_changed_between_two_attempts_is_fetched_from_the_start(tmp_path, heeds):
    with serving(served(heeds_if_range=heeds)) as files:
        interrupt(files, tmp_path / "f.tar")
        files.content["/f.tar"], files.etag = OTHER, '"two"'
        get(files, tmp_path / "f.tar")
    assert (tmp_path / "f.tar").read_bytes() == OTHER


def test_a_file_that_became_shorter_is_fetched_from_the_start(tmp_path):
    with serving(served(heeds_if_range=False)) as files:
        interrupt(files, tmp_path / "f.tar")
        files.content["/f.tar"] = OTHER[:1000]
        get(files, tmp_path / "f.tar")
    assert (tmp_path / "f.tar").read_bytes() == OTHER[:1000]


def test_a_server_that_ignores_ranges_sends_all_and_nothing_is_appended_to_what_was_there(tmp_path, capsys):
    with serving(served(parts=False)) as files:
        interrupt(files, tmp_path / "f.tar", CUT)
        get(files, tmp_path / "f.tar")
    assert (tmp_path / "f.tar").read_bytes() == BODY
    assert "f.tar: from the start" in capsys.readouterr().err


def test_without_any_sign_of_its_version_a_part_is_not_gone_on_with(tmp_path):
    with serving(served(etag="", changed="")) as files:
        interrupt(files, tmp_path / "f.tar", CUT)
        get(files, tmp_path / "f.tar")
    assert files.asked == [("/f.tar", "")]
    assert (tmp_path / "f.tar").read_bytes() == BODY


def test_a_part_from_another_address_is_not_gone_on_with(tmp_path):
    with serving(served()) as first, serving(Files({"/f.tar": OTHER})) as second:
        interrupt(first, tmp_path / "f.tar")
        get(second, tmp_path / "f.tar")
    assert (tmp_path / "f.tar").read_bytes() == OTHER


def test_a_length_that_is_not_announced_is_no_obstacle_and_a_cut_is_noticed_all_the_same(tmp_path):
    with serving(served(length=False, cut=[CUT])) as files:
        get(files, tmp_path / "f.tar")
    assert (tmp_path / "f.tar").read_bytes() == BODY
    assert len(files.asked) == 2 and files.sent < len(BODY) + BLOCK


def test_a_busy_server_is_asked_again_and_given_up_in_a_sentence(tmp_path):
    with serving(served(busy=1)) as files:
        get(files, tmp_path / "f.tar")
        assert (tmp_path / "f.tar").read_bytes() == BODY
        files.busy = 9
        problem = refusal(files, tmp_path / "g.tar")
    assert problem.where == f"{files.address}/f.tar"
    assert problem.found == "cannot be fetched (the server answers 503 (Service Unavailable))"


def test_a_lost_connection_says_how_far_it_came_and_that_nothing_is_lost(tmp_path):
    with serving(served(cut=[CUT, 0, 0, 0, 0])) as files:
        problem = refusal(files, tmp_path / "f.tar")
    assert problem.found.startswith("only 1 MB of 3 MB have come (")
    assert problem.advice == "Run the same command again: it goes on from there."


def test_a_wrong_checksum_is_refused_and_the_next_call_fetches_anew(tmp_path):
    right = hashlib.md5(BODY).hexdigest()
    with serving(Files({"/f.tar": OTHER})) as files:
        problem = refusal(files, tmp_path / "f.tar", md5=right)
        assert problem.found == f"its MD5 is {hashlib.md5(OTHER).hexdigest()}" and right in problem.expected
        assert left_in(tmp_path) == ["f.tar.differs"]
        files.content["/f.tar"] = BODY
        get(files, tmp_path / "f.tar", md5=right)
    assert (tmp_path / "f.tar").read_bytes() == BODY


def test_what_is_not_there_and_what_is_no_file_are_told_apart_from_it(tmp_path):
    with serving(Files({})) as files:
        assert refusal(files, tmp_path / "f.tar").found == "the server answers 404 (Not Found)"
        assert len(files.asked) == 1
    with serving(Files({"/f.tar": b"<html>log in"}, kind="text/html; charset=utf-8")) as files:
        assert refusal(files, tmp_path / "f.tar").found == "the server sent a web page"
    assert left_in(tmp_path) == []


def test_no_network_is_said_in_one_sentence(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        problem = refusal(Files({}, address=address), tmp_path / "f.tar")
    assert problem.found == f"cannot be fetched ({os.strerror(errno.ECONNREFUSED)})"
    assert "login node" in problem.advice
    problem = refusal(Files({}, address="http://no-such-host.invalid"), tmp_path / "f.tar")
    assert "Max retries" not in problem.found and "<" not in problem.found and "\n" not in str(problem)
    assert "cannot be fetched" in refusal(Files({}, address="nonsense"), tmp_path / "f.tar").found


def test_too_little_space_is_said_before_anything_is_written(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=4_000_000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with serving(served()) as files:
        problem = refusal(files, tmp_path / "f.tar", copies=2)
        assert (problem.where, problem.found) == (str(tmp_path), "4 MB are free, and 6 MB are needed")
        get(files, tmp_path / "f.tar")


def test_a_disk_that_fills_up_is_the_systems_error_and_leaves_no_file_of_that_name(tmp_path, monkeypatch):
    monkeypatch.setattr("tfmri.cohort.fetch._check_space", lambda part, *_: part.symlink_to("/dev/full"))
    with serving(served()) as files, pytest.raises(OSError) as caught:
        get(files, tmp_path / "f.tar")
    assert caught.value.errno == errno.ENOSPC
    assert not (tmp_path / "f.tar").exists()
