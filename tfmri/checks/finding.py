"""What a check has found, said so that a person can judge it and a program can count it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from tfmri.errors import Problem


class Harm(IntEnum):
    """What a finding does to a result; the worst is the lowest, so that findings sort by it."""

    SPOILS = 0
    """A result would be wrong, or there would be none: `tfmri check` exits with 3."""
    DOUBTFUL = 1
    """A person should look at it before the result is believed."""
    NOTE = 2
    """Worth knowing."""


@dataclass(frozen=True)
class Finding:
    """One thing that a check has found: the four facts of a `Problem`, how much it matters, which scans it is about.

    Args:
        check: what was found, in snake_case, such as 'subject_on_two_sides'. The name is stable, for programs to read.
        harm: what it does to a result.
        where: the file, with rows and column where there are any: ``labels.csv, row 7, column 'sex'``.
        found: what stands there, a statistic with what it means included.
        expected: what should stand there; empty where `found` says it all.
        advice: what to do about it, a sentence.
        scans: the scans concerned, as in column `scan` of a cohort's table; none where it is about the whole cohort.
        numbers: what was measured: the statistic, p, n and so on.
    """

    check: str
    harm: Harm
    where: str
    found: str
    expected: str = ""
    advice: str = ""
    scans: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return str(Problem(self.where, self.found, self.expected, self.advice))


def from_problem(problem: Problem, check: str, harm: Harm) -> Finding:
    """A mistake in what a person gave, as a finding."""
    return Finding(check, harm, problem.where, problem.found, problem.expected, problem.advice)
