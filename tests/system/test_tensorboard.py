"""`tfmri tensorboard` in a real browser, while a run on the 'cluster' goes on and `tfmri sync` brings what it wrote."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from browser import BROWSER, Page, browser
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from two_hosts import MISSING, connections, ctrl_c, free_port, new_site, two_hosts

MISSING = MISSING + ["chromium"] * (BROWSER is None)
pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]
RELOAD = "document.querySelector('.reload-button, app-header-reload button').click()"
TEXT = "[...document.querySelectorAll('{}')].map(each => each.innerText).join(' ')"


def write_events(path: Path, steps: range) -> None:
    """Adds a loss for each of these steps to an event file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        writer = RecordWriter(file)
        for step in steps:
            value = Summary.Value(tag="epoch_loss", simple_value=1 / (step + 1))
            writer.write(Event(step=step, wall_time=1e9 + step, summary=Summary(value=[value])).SerializeToString())
        writer.flush()


def until(condition: Callable[[], object], often: Callable[[], object] = lambda: None) -> None:
    """Waits for it to happen, and does something meanwhile, again and again."""
    for _ in range(90):
        if condition():
            return
        often()
        time.sleep(0.5)
    raise AssertionError("it did not come to that")


def answers(address: str) -> bool:
    try:
        return urllib.request.urlopen(address, timeout=5).status == 200
    except OSError:
        return False


def points_of(page: Page, run: str) -> int:
    """How many points of this run the page was sent when it last asked for the curves."""
    said = [each["params"] for each in page.events if each.get("method") == "Network.responseReceived"]
    asked = [each["requestId"] for each in said if "timeSeries" in each["response"]["url"]]
    answer = json.loads(page.call("Network.getResponseBody", requestId=asked[-1])["body"])
    return len(answer[0]["runToSeries"][run])


def words_in(page: Page, element: str) -> list[str]:
    return page.evaluate(TEXT.format(element)).split()


def test_curves_grow_in_the_browser_between_two_syncs(tmp_path: Path):
    (tmp_path / "hosts").mkdir()
    with two_hosts(tmp_path / "hosts") as hosts, connections() as session:
        site = new_site(hosts, tmp_path, session)
        experiment, name = site.cluster / "runs" / "sex_clf", "sex_clf/first/whole/train"
        events = experiment / "first" / "fits" / "whole" / "logs" / "train" / "events.out.tfevents.1"
        write_events(events, range(3))
        (experiment / "latest").symlink_to("first")
        site.tfmri("sync")
        port = free_port()
        board = site.start("tensorboard", "--port", str(port))
        with browser(tmp_path / "profile") as page:
            until(lambda: answers(f"http://127.0.0.1:{port}/data/runs") or board.poll() is not None)
            page.open(f"http://127.0.0.1:{port}/")
            until(lambda: name in words_in(page, "card-view"))
            assert {word for word in words_in(page, "body") if word.startswith("sex_clf/")} == {name}, (
                "once, by its name"
            )
            assert points_of(page, name) == 3
            assert "2" in words_in(page, "card-view tb-data-table"), "the last step, in the table below the curve"

            write_events(events, range(3, 78))
            second = experiment / "second" / "fits" / "fold-1" / "logs" / "train" / "events.out.tfevents.2"
            write_events(second, range(4))
            site.tfmri("sync")
            until(lambda: points_of(page, name) == 78, lambda: page.evaluate(RELOAD))
            until(lambda: "sex_clf/second/fold-1/train" in words_in(page, "body"), lambda: page.evaluate(RELOAD))
            until(lambda: "77" in words_in(page, "card-view tb-data-table"))
        failed = [
            each for each in page.events
            if each.get("method") == "Runtime.exceptionThrown"
            or (each.get("method") == "Log.entryAdded" and each["params"]["entry"]["level"] == "error")
        ]  # fmt: skip
        assert not failed
        said = ctrl_c(board)
        assert board.returncode == 0 and "Traceback" not in said


def test_a_port_that_is_taken_and_a_run_that_is_not_there_are_told(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, words in ((["--port", port], "another port"), (["sex_clf/none"], "no run of that name")):
            command = [sys.executable, "-c", "from tfmri.cli import main; main()", "tensorboard", *arguments]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
            assert done.returncode == 2 and words in done.stderr
