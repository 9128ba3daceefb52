"""Work on many things at once, each in a process of its own that ends with this one.

Workers are fresh processes ("spawn": the caller may hold TensorFlow's threads), so that a script which uses more than
one needs the usual ``if __name__ == "__main__":``.
"""

import ctypes
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import TypeVar

from tfmri.errors import InputError, Problem

Result = TypeVar("Result")


def in_processes(
    function: Callable[..., Result], calls: Sequence[tuple], workers: int, doing: str
) -> Generator[tuple[int, Result]]:
    """Calls `function` with each of `calls` and yields (its position, the result), as they come.

    Args:
        function: of a module, since it is sent to the workers by name.
        calls: the arguments of each call.
        workers: how many at once; 1 stays in this process.
        doing: what is done, for the message: ``preparing scans``.

    Raises:
        InputError: a worker died, most likely for want of memory.
        Exception: whatever `function` raises.
    """
    workers = min(workers, len(calls))
    if workers <= 1:
        for position, call in enumerate(calls):
            yield position, function(*call)
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_worker)
    try:
        running = {pool.submit(function, *call): position for position, call in enumerate(calls)}
        for future in as_completed(running):
            yield running.pop(future), future.result()
    except BrokenProcessPool as error:
        advice = f"Most likely the memory ran out: give the job more, or fewer workers than {workers}."
        raise InputError(Problem(doing, "a worker process died", advice=advice)) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    _keep_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends the pool in order
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """Ends this worker when its parent is killed; it would wait for work for ever."""
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
