"""What a setting of a transform may be: its default, what is refused, and how a sample draws its number from it.

A setting is a dataclass field. `between`, `whole_between` and `up_to` are ranges: each sample draws a number of its own
from them, and they enter the compiled program as numbers, so that another range needs no other program. All others
(`count`, `switch`, `choice`, `axes`) are part of the program.
"""

from collections.abc import Sequence
from dataclasses import field
from typing import Any

AXES = ("x", "y", "z")
PER_AXIS = 3
Interval = tuple[float, float]


class RefusedError(ValueError):
    """A value that does not fit; the message says what would."""


def chance(default: float) -> Any:
    """A probability, 0 to 1. One of 0 never touches a sample."""

    def check(value: Any) -> float:
        if not _is_number(value) or not 0 <= value <= 1:
            raise RefusedError("a number from 0 to 1")
        return float(value)

    return field(default=default, metadata={"check": check})


def between(
    low: float,
    high: float,
    *,
    within: Interval,
    neutral: float | None,
    unit: str = "",
    log: bool = False,
    per_axis: bool = False,
    same_if: str = "",
) -> Any:
    """A range, written [lowest, highest], from which each sample draws uniformly.

    Args:
        low, high: the default.
        within: what the range must not leave.
        neutral: the number that changes nothing; `weakened` draws the range together towards it. None leaves it alone.
        unit: of the numbers, for messages and captions.
        log: the logarithm of the number is drawn uniformly.
        per_axis: x, y and z draw a number each.
        same_if: name of a switch among the transform's settings that makes the three numbers one.
    """

    def check(value: Any) -> Interval:
        sound = isinstance(value, Sequence) and len(value) == 2 and all(map(_is_number, value))
        if not sound or not within[0] <= value[0] <= value[1] <= within[1]:
            raise RefusedError(f"[lowest, highest], both from {within[0]:g} to {within[1]:g} {unit}".rstrip())
        return float(value[0]), float(value[1])

    drawn = {"log": log, "size": PER_AXIS if per_axis else 1, "same_if": same_if, "whole": False}
    return field(default=(low, high), metadata={"check": check, "neutral": neutral, "unit": unit, "drawn": drawn})


def whole_between(
    low: int, high: int, *, within: tuple[int, int], unit: str = "", signed: bool = False, per_axis: bool = False
) -> Any:
    """A range of whole numbers, written [lowest, highest]: each sample draws one, all as likely.

    If `signed`, one number stands for ± it, and 0 changes nothing; else no number is neutral. Arguments otherwise as of
    `between`.
    """

    def check(value: Any) -> tuple[int, int]:
        ends = (-value, value) if signed and _is_whole(value) else value
        sound = isinstance(ends, Sequence) and len(ends) == 2 and all(_is_number(end) and end % 1 == 0 for end in ends)
        if not sound or not within[0] <= ends[0] <= ends[1] <= within[1]:
            one = f"a whole number from 0 to {within[1]}, or " if signed else ""
            raise RefusedError(f"{one}[lowest, highest], whole numbers from {within[0]} to {within[1]} {unit}".rstrip())
        return int(ends[0]), int(ends[1])

    drawn = {"log": False, "size": PER_AXIS if per_axis else 1, "same_if": "", "whole": True}
    metadata = {"check": check, "neutral": 0 if signed else None, "unit": unit, "drawn": drawn}
    return field(default=(low, high), metadata=metadata)


def up_to(
    default: float | Interval,
    *,
    most: float,
    unit: str = "",
    signed: bool = False,
    per_axis: bool = False,
    same_if: str = "",
) -> Any:
    """A range written as one number: uniformly from 0 to it, or from ± it if `signed`; 0 changes nothing.

    [lowest, highest] may be written as well. Arguments otherwise as of `between`, which gives the field.
    """
    whole = between(
        *_spread(default, signed),
        within=(-most if signed else 0.0, most),
        neutral=0.0,
        unit=unit,
        per_axis=per_axis,
        same_if=same_if,
    )
    check_interval = whole.metadata["check"]

    def check(value: Any) -> Interval:
        if not _is_number(value):
            return check_interval(value)
        if not 0 <= value <= most:
            raise RefusedError(f"a number from 0 to {most:g} {unit}".rstrip() + ", or [lowest, highest]")
        return _spread(value, signed)

    return field(default=whole.default, metadata=whole.metadata | {"check": check})


def count(default: int, low: int, high: int) -> Any:
    """A whole number from `low` to `high`."""

    def check(value: Any) -> int:
        if not _is_whole(value) or not low <= value <= high:
            raise RefusedError(f"a whole number from {low} to {high}")
        return value

    return field(default=default, metadata={"check": check})


def switch(default: bool) -> Any:
    """True or false."""

    def check(value: Any) -> bool:
        if not isinstance(value, bool):
            raise RefusedError("true or false")
        return value

    return field(default=default, metadata={"check": check})


def choice(default: str, *others: str) -> Any:
    """One of several words."""
    known = (default, *others)

    def check(value: Any) -> str:
        if value not in known:
            raise RefusedError(f"one of {', '.join(known)}")
        return value

    return field(default=default, metadata={"check": check})


def axes(*default: str) -> Any:
    """Some of x (left-right), y (back-front), z (down-up)."""

    def check(value: Any) -> tuple[str, ...]:
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, Sequence) or not names or any(name not in AXES for name in names):
            raise RefusedError("a list of some of x, y, z")
        return tuple(axis for axis in AXES if axis in names)

    return field(default=default, metadata={"check": check})


def derived() -> Any:
    """No setting: what the program must know of the ranges (`Transform.without_numbers`), such as a kernel's reach."""
    return field(default=None, metadata={"derived": True}, repr=False, compare=True)


def _spread(number: float | Interval, signed: bool) -> Interval:
    if isinstance(number, tuple):
        return number
    return (0.0 - float(number) if signed else 0.0), float(number)  # 0.0 - 0.0 is 0.0, and -0.0 would be shown


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
