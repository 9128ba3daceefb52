"""One thread for SimpleITK: processes are what runs in parallel here, and sums in one order give the same bits."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_thread() -> Iterator[None]:
    """Whatever SimpleITK makes within uses one thread.

    A filter's own `SetNumberOfThreads` does not reach the parts it is made of, such as the metric of a registration.
    """
    from SimpleITK import ProcessObject

    before = ProcessObject.GetGlobalDefaultNumberOfThreads()
    ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        ProcessObject.SetGlobalDefaultNumberOfThreads(before)
