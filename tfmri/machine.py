"""What of the machine this process may use."""

import os


def processors() -> int:
    """How many processors this process may use: those it is bound to, and no more than the job's slots (NSLOTS)."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    slots = os.environ.get("NSLOTS", "")  # Grid Engine: jobs are often not bound to the slots they have
    return min(bound, int(slots)) if slots.isdecimal() and int(slots) > 0 else bound
