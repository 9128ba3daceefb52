"""Being asked to stop: the running step is finished and saved, and the program leaves with a code that says why."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from time import time
from types import FrameType

REQUEUE = 99  # Grid Engine runs a job again that ends with it
INTERRUPTED = 130  # what a shell reports of Ctrl-C
MOST_SPARE = 120.0  # s before a deadline, for what is in hand


class Interruption:
    """Remembers the first signal that asks to stop; a second Ctrl-C ends the program at once.

    Grid Engine announces the end of a job's time with SIGUSR1 or SIGUSR2, a shutdown sends SIGTERM.

        with Interruption() as interruption:
            ...
            if interruption.exit_code: save and leave
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)

    def __init__(self) -> None:
        self.exit_code = 0

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.exit_code = INTERRUPTED if number == signal.SIGINT else REQUEUE
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def __enter__(self) -> "Interruption":
        self._before = {number: signal.signal(number, self._receive) for number in self.SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


@contextmanager
def leaving_at_once(deadline: float | None = None) -> Iterator[None]:
    """Inside, a signal that asks a job to stop ends the program with `REQUEUE`: for work that keeps what it has done.

    So does the deadline coming near, in seconds since 1970. Ctrl-C stays what it is.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(REQUEUE)

    stopping = {*Interruption.SIGNALS, signal.SIGALRM} - {signal.SIGINT}
    before = {number: signal.signal(number, leave) for number in stopping}
    if deadline is not None:
        left = deadline - time()
        signal.setitimer(signal.ITIMER_REAL, max(left - min(MOST_SPARE, left / 5), 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
