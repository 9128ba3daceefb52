"""Ids that look alike but differ: `Sub_101` and `sub-101`, `007` and `7`, `IXI012` and `12`.

People's folders and their tables seldom spell ids in one way. Two spellings are taken for one person only where no
third one could be meant, and it is said; the rest is left to the person.
"""

import itertools
import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

SUBJECT_WORDS = ("sub", "subj", "subject", "participant")  # say nothing on who it is; `patient01` and `01` may be two
SESSION_WORDS = ("ses", "session", "visit", "tp", "timepoint")
SHOWN = 3

_Forms = dict[tuple[str, ...], list[str]]


@dataclass(frozen=True)
class Matches:
    """Which id of the one side is which of the other.

    Args:
        pairs: wanted -> known. No known id stands in it twice.
        notes: what was matched though it is spelled differently, in sentences.
        ambiguous: wanted -> the known ones that it may be, none of which it was given.
        reasons: wanted -> why it was not told which, for those in `ambiguous`.
    """

    pairs: dict[str, str]
    notes: tuple[str, ...]
    ambiguous: dict[str, list[str]]
    reasons: dict[str, str]


def match_ids(wanted: Sequence[str], known: Sequence[str], words: Collection[str] = SUBJECT_WORDS) -> Matches:
    """Finds each wanted id among the known ones.

    First those spelled exactly so; then those with the same `normal_form`; then numbers without the letters that all
    ids of the other side begin with (``12`` for ``IXI012``). The latter two only where one id on each side qualifies,
    among all there are, exactly matched ones included.

    Args:
        wanted: such as names of folders. Repetitions do not matter.
        known: such as the ids of a table.
        words: in front of an id, without a meaning of their own.
    """
    wanted, known = list(dict.fromkeys(wanted)), list(dict.fromkeys(known))
    exact = set(known)
    pairs = {name: name for name in wanted if name in exact}
    ambiguous, reasons = {}, {}
    ours, theirs = _by_form(wanted, words), _by_form(known, words)
    lettered = _lettered(ours, theirs) | {number: form for form, number in _lettered(theirs, ours).items()}
    for form, names in ours.items():
        there = form if form in theirs else lettered.get(form)
        alike = theirs.get(there, []) if there else []
        for name in names:
            if not alike or name in pairs:
                continue
            if len(alike) == len(names) == 1:
                pairs[name] = alike[0]
            else:
                ambiguous[name] = alike
                rivals = [rival for rival in names if rival != name]
                reasons[name] = (
                    f"it may be {_listed(alike, ' or ')}"
                    if len(alike) > 1
                    else f"'{alike[0]}' may be this or {_listed(rivals, ' or ')}"
                )
    different = [f"'{name}' is '{other}'" for name, other in pairs.items() if name != other]
    notes: tuple[str, ...] = ()
    if different:
        more = f" and {len(different) - SHOWN} more" if len(different) > SHOWN else ""
        number = "1 id is" if len(different) == 1 else f"{len(different)} ids are"
        notes = (f"{number} spelled in two ways and taken for the same: {', '.join(different[:SHOWN])}{more}.",)
    return Matches(pairs, notes, ambiguous, reasons)


def normal_form(name: str, words: Collection[str] = SUBJECT_WORDS) -> tuple[str, ...]:
    """An id as it is compared: its letters and numbers, without case, separators, zeros in front and `words`.

    ``Sub_0101``, ``sub-101``, ``101`` and ``101.0`` are all ``('101',)``; ``A-1`` is ``('a', '1')``, and ``1-23`` is
    not ``12-3``.
    """
    text = unicodedata.normalize("NFKC", name).casefold().strip()
    if re.fullmatch(r"\d+\.0+", text):  # a number that a program wrote as 1.0
        text = text.partition(".")[0]
    parts = re.findall(r"[^\W\d_]+|\d+", text)
    while len(parts) > 1 and parts[0] in words:
        parts = parts[1:]
    form: list[str] = []
    for part in parts:
        if form and part.isalpha() and form[-1].isalpha():
            form[-1] += part
        else:
            form.append(part if part.isalpha() else part.lstrip("0") or "0")
    return tuple(form)


def _by_form(names: Iterable[str], words: Collection[str]) -> _Forms:
    forms: _Forms = {}
    for name in names:
        if form := normal_form(name, words):
            forms.setdefault(form, []).append(name)
    return forms


def _lettered(ours: _Forms, theirs: _Forms) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Our forms -> their bare numbers: what is left without that which all of ours with letters have in front."""
    with_letters = [form for form in ours if form[0].isalpha() and form[0] not in SESSION_WORDS and len(form) > 1]
    if not with_letters:
        return {}
    places = zip(*(form[:-1] for form in with_letters), strict=False)
    same = sum(1 for _ in itertools.takewhile(lambda parts: len(set(parts)) == 1, places))
    numbers = {form: form[same:] for form in with_letters} if same else {}
    bare = {form for form, names in theirs.items() if not any(sign.isalpha() for name in names for sign in name)}
    # not where 12 and IXI012 stand side by side: they may be two people, or one twice
    return {form: number for form, number in numbers.items() if number in bare - set(ours) and form not in theirs}


def _listed(names: Sequence[str], last: str) -> str:
    return last.join(f"'{name}'" for name in names)
