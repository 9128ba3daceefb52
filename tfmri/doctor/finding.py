"""What a check found."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Args:
        about: what was looked at, a word or two.
        state: ok; note, which need not matter; problem, which will stop or spoil work.
        found: what is there.
        advice: what to do, a sentence; '' for nothing.
    """

    about: str
    state: Literal["ok", "note", "problem"]
    found: str
    advice: str = ""
