"""All that a check has found: as an object, as text for a terminal, and as JSON for a program."""

import math
import re
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfmri.checks.finding import Finding, Harm
from tfmri.cohort.sheet import ranges

HEADINGS = {
    Harm.SPOILS: ("spoils a result", "spoil a result"),
    Harm.DOUBTFUL: ("is doubtful: look at it", "are doubtful: look at them"),
    Harm.NOTE: ("is worth knowing", "are worth knowing"),
}
NAMED = 6  # so many scans are named for one finding


@dataclass(frozen=True)
class Report:
    """What `tfmri check` has found.

    Args:
        name: of the experiment.
        labels: the labels file.
        target: the name of what is learnt.
        classes: of the target, in the experiment's order; none where it is a number.
        findings: the most harmful first.
        table: the scans whose rows are sound, with their `split` as far as it is known.
        rows: (len(table),) the rows of the labels file they stand in.
        order: (len(table),) positions in `table`, those first that a person should look at first.
        planes: of each scan of `table` three slices side by side, uint8 (height, width); None where it cannot be read,
            and throughout where only headers were looked at.
    """

    name: str
    labels: Path
    target: str
    classes: tuple[str, ...]
    findings: tuple[Finding, ...]
    table: pd.DataFrame
    rows: np.ndarray
    order: np.ndarray
    planes: Sequence[np.ndarray | None]

    @property
    def numeric(self) -> bool:
        """Whether the target is a number, and no class."""
        return not self.classes

    @property
    def exit_code(self) -> int:
        """3 where something would spoil a result, else 0."""
        return 3 if any(finding.harm is Harm.SPOILS for finding in self.findings) else 0

    def of(self, harm: Harm) -> list[Finding]:
        """The findings of this harm."""
        return [finding for finding in self.findings if finding.harm is harm]

    def rows_of(self, finding: Finding) -> list[int]:
        """The rows of the labels file that a finding's scans stand in, ascending."""
        return sorted(int(row) for row in self.rows[self.table["scan"].isin(finding.scans)])

    def summary(self) -> str:
        """Whom this is about: `labels.csv: 48 scans of 48 subjects (28 train, 10 validation, 10 test); target sex`."""
        split = self.table["split"]
        sides = [
            f"{(split == side).sum()} {side}" for side in dict.fromkeys(["train", "validation", "test", *split]) if side
        ]
        told = f" ({', '.join(sides)})" if (split != "").any() else ""
        scans, people = counted(len(self.table), "scan"), counted(self.table["subject"].nunique(), "subject")
        here = Path.cwd()
        labels = self.labels.relative_to(here) if self.labels.is_relative_to(here) else self.labels
        return f"{labels}: {scans} of {people}{told}; target {self.target}"


def counted(count: int, what: str) -> str:
    """`1 scan`, `2 scans`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def heading(harm: Harm, count: int) -> str:
    """`2 findings spoil a result`."""
    return f"{counted(count, 'finding')} {HEADINGS[harm][count != 1]}"


def as_json(report: Report) -> dict[str, Any]:
    """The report in JSON's own types. What is no finite number is null."""
    return {
        "experiment": report.name,
        "labels": str(report.labels),
        "target": report.target,
        "scans": len(report.table),
        "subjects": int(report.table["subject"].nunique()),
        "split": {str(side): int(count) for side, count in report.table["split"].value_counts().items() if side},
        "voxels": any(plane is not None for plane in report.planes),
        "counts": {harm.name.lower(): len(report.of(harm)) for harm in Harm},
        "exit_code": report.exit_code,
        "findings": [
            {
                "check": finding.check,
                "harm": finding.harm.name.lower(),
                "where": place(report, finding),
                "found": finding.found,
                "expected": finding.expected,
                "advice": finding.advice,
                "scans": list(finding.scans),
                "rows": report.rows_of(finding),
                "numbers": {name: _number(value) for name, value in finding.numbers.items()},
            }
            for finding in report.findings
        ],
    }


def findings_of(known: Mapping[str, Any]) -> list[Finding]:
    """The findings of a report in JSON (`as_json`)."""
    return [
        Finding(
            each["check"],
            Harm[each["harm"].upper()],
            each["where"],
            each["found"],
            each["expected"],
            each["advice"],
            tuple(each["scans"]),
            each["numbers"],
        )
        for each in known["findings"]
    ]


def _number(value: float) -> float | int | None:
    value = float(value)
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def as_text(report: Report, width: int | None = None) -> str:
    """The report for a terminal of so many columns; by default this one's, 120 at most."""
    width = width or min(120, shutil.get_terminal_size().columns)
    lines = [report.summary(), ""]
    for harm in Harm:
        findings = report.of(harm)
        if findings:
            lines += [f"{heading(harm, len(findings))}:", ""]
            lines += [line for finding in findings for line in [*_lines(report, finding, width), ""]]
    if not report.of(Harm.SPOILS) and not report.of(Harm.DOUBTFUL):
        lines += ["Nothing was found that would spoil a result or needs a look.", ""]
    return "\n".join(lines[:-1])


def _lines(report: Report, finding: Finding, width: int) -> list[str]:
    lines = _wrapped(f"{finding.check}: {place(report, finding)}", width, "  ", "      ")
    for name, text in (
        ("found", finding.found),
        ("expected", finding.expected),
        ("scans", scans_told(report, finding)),
        ("do", finding.advice),
    ):
        lines += _wrapped(text, width, f"      {name:<10}", " " * 16) if text else []
    return lines


def _wrapped(text: str, width: int, first: str, others: str) -> list[str]:
    """Paths and ids stay whole, so that they can be copied."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=others,
        break_on_hyphens=False,
        break_long_words=False,
    )


def place(report: Report, finding: Finding) -> str:
    """Where a finding is: as it says itself with the labels file, or the rows of its scans where it only names them."""
    labels = report.labels.name
    if len(finding.scans) > 1 and re.match(r"\d+ (pairs? of )?scans", finding.where):
        return f"{labels}, rows {ranges(report.rows_of(finding), 8)}"
    return finding.where if labels in finding.where or "/" in finding.where else f"{labels}, {finding.where}"


def rows_told(report: Report, finding: Finding) -> str:
    """The rows of a finding's scans in brackets, ` (rows 2-12)`; '' where its place tells rows."""
    rows = report.rows_of(finding)
    if not rows or re.search(r"\brows? \d", place(report, finding)):
        return ""
    return f" ({'row' if len(rows) == 1 else 'rows'} {ranges(rows, 8)})"


def scans_told(report: Report, finding: Finding) -> str:
    """The first scans of a finding, and the rows of all: `sub-01, sub-02 and 9 more (rows 2-12)`."""
    more = f" and {len(finding.scans) - NAMED} more" if len(finding.scans) > NAMED else ""
    return ", ".join(finding.scans[:NAMED]) + more + rows_told(report, finding)
