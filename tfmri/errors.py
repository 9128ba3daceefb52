"""What a person can get wrong, said so that it can be put right: where, found, expected, what to do."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One mistake, in the four facts its author needs.

    Args:
        where: the file, with row, column or key where there is one: ``labels.csv, row 7, column 'sex'``.
        found: what stands there.
        expected: what should stand there; empty where `found` says it all.
        advice: what to do about it, a sentence.
    """

    where: str
    found: str
    expected: str = ""
    advice: str = ""

    def __str__(self) -> str:
        expected = f"; expected {self.expected}" if self.expected else ""
        advice = f". {self.advice}" if self.advice else ""
        return f"{self.where}: {self.found}{expected}{advice}"


class InputError(Exception):
    """One or more problems in what a person gave. The command line shows them without a traceback and exits with 2."""

    def __init__(self, *problems: Problem):
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return str(self.problems[0])
        return "\n".join([f"{len(self.problems)} problems:", *(f"  - {problem}" for problem in self.problems)])


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`Did you mean 'sex'?` for the known name nearest to a mistyped one; empty where none is near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean '{close[0]}'?" if close else ""
