"""How long work shows itself: a bar on a terminal, in a job's log a line for every tenth."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(total: int, doing: str, unit: str, shown: bool = True) -> Iterator[Callable[[], object]]:
    """Yields the function to call after each of `total` units of work.

    Args:
        total: number of units.
        doing: what is done with them: `preparing`.
        unit: what they are: `scans`.
        shown: whether to show anything.
    """
    if shown and sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(total=total, desc=doing, unit=f" {unit}") as bar:
            yield bar.update
        return
    count = 0

    def advance() -> None:
        nonlocal count
        count += 1
        if shown and count * 10 // total > (count - 1) * 10 // total:
            print(f"{doing} {unit}: {count} of {total}", file=sys.stderr, flush=True)

    yield advance
