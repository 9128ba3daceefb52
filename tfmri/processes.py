"""Work on many things at once, each in a process of its own that ends with this one.

Workers are fresh processes ("spawn": the caller may hold TensorFlow's threads), so that a script which uses more than
one needs the usual ``if __name__ == "__main__":``. Each has a pipe of its own and one call at a time in hand. Nothing
waits in a queue and no lock is shared, so that Ctrl-C leaves little to wait for, and a worker that dies holds up none.
"""

import ctypes
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import TypeVar

from tfmri.errors import InputError, Problem

Result = TypeVar("Result")


def in_processes(
    function: Callable[..., Result], calls: Sequence[tuple], workers: int, doing: str, goes_on: bool = False
) -> Generator[tuple[int, Result]]:
    """Calls `function` with each of `calls` and yields (its position, the result), as they come.

    Ctrl-C says what it does, waits for the calls in hand and raises KeyboardInterrupt; a second one kills the workers.

    Args:
        function: of a module, since it is sent to the workers by name.
        calls: the arguments of each call.
        workers: how many at once; 1 stays in this process.
        doing: what is done, for the message: ``preparing scans``.
        goes_on: whether the same command goes on where Ctrl-C stopped it, which is said then.

    Raises:
        InputError: a worker died, most likely for want of memory.
        Exception: whatever `function` raises.
    """
    workers = min(workers, len(calls))
    if workers <= 1:
        for position, call in enumerate(calls):
            yield position, function(*call)
        return
    todo = enumerate(calls)
    in_hand: dict[Connection, int] = {}

    def hand_out(connection: Connection) -> None:
        for position, call in islice(todo, 1):
            connection.send(call)
            in_hand[connection] = position

    with _workers(function, workers, goes_on) as connections:
        with _alive(doing, workers):
            for connection in connections:
                hand_out(connection)
        while in_hand:
            for ready in wait(list(in_hand)):
                assert isinstance(ready, Connection)
                with _alive(doing, workers):
                    position = in_hand.pop(ready)
                    result, error = ready.recv()
                    hand_out(ready)
                if error is not None:
                    raise error
                yield position, result


@contextmanager
def _alive(doing: str, workers: int) -> Iterator[None]:
    """Says what it means when nobody is at the other end of a pipe."""
    try:
        yield
    except (EOFError, ConnectionError) as error:
        advice = f"Most likely the memory ran out: give the job more, or fewer workers than {workers}."
        raise InputError(Problem(doing, "a worker process died", advice=advice)) from error


@contextmanager
def _workers(function: Callable, count: int, goes_on: bool) -> Iterator[list[Connection]]:
    """The pipes to so many processes that call `function`; waits for their end."""
    context = multiprocessing.get_context("spawn")
    connections: list[Connection] = []
    processes: list[SpawnProcess] = []
    resource_tracker.ensure_running()  # by the first worker otherwise, and it lets Ctrl-C through
    with _stopping_in_order(processes, goes_on):
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # for the workers, who inherit it
        try:
            for _ in range(count):
                connection, theirs = context.Pipe()
                processes.append(context.Process(target=_work, args=(theirs, function), daemon=True))
                processes[-1].start()
                theirs.close()
                connections.append(connection)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        try:
            yield connections
        finally:
            for connection in connections:
                connection.close()
            for process in processes:
                process.join()


@contextmanager
def _stopping_in_order(processes: list[SpawnProcess], goes_on: bool) -> Iterator[None]:
    """Says on the first Ctrl-C that it was heard, kills on the second; where it is ignored (`nohup`), it stays so."""
    before = signal.getsignal(signal.SIGINT)
    if before in (signal.SIG_IGN, None) or threading.current_thread() is not threading.main_thread():
        yield
        return
    said = "stopping after the scans in hand" + ("; the same command goes on where it stopped" if goes_on else "")

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, kill)
        os.write(2, f"{chr(10) if os.isatty(2) else ''}{said}\n".encode())  # print is not for signal handlers
        raise KeyboardInterrupt

    def kill(number: int, frame: FrameType | None) -> None:
        for process in processes:
            process.kill()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _work(connection: Connection, function: Callable) -> None:
    """The life of a worker: it ends when the pipe is closed at the other end."""
    _keep_memory()
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    with suppress(EOFError, ConnectionError):
        while True:
            call = connection.recv()
            try:
                result, failure = function(*call), None
            except Exception as error:
                error.add_note(f"In a worker process:\n{traceback.format_exc()}")
                result, failure = None, error
            connection.send((result, failure))


def _leave_with_parent() -> None:
    """Ends this worker at once when its parent is killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _keep_memory() -> None:
    """Lets glibc keep what it freed: fresh pages for the arrays of every scan take an eighth of the time."""
    with suppress(OSError, AttributeError):  # another C library
        library = ctypes.CDLL(None)
        library.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        library.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD
