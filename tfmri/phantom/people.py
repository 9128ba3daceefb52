"""Who is in a phantom cohort: their labels, and what the variants plant among them.

- ``demo``: age, sex, diagnosis and site are independent of each other.
- ``null``: the labels are drawn anew, independent of the scans.
- ``leaky``: some of the people of ``demo`` come again under another id, as `LEAKS` says.
- ``confounded``: the people of ``demo``, but the site tells their sex, as `SITE_GIVEN_SEX` in `effects` says.
"""

from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from tfmri.phantom import effects
from tfmri.phantom.render import SITES

VARIANTS = ("demo", "null", "leaky", "confounded")
REPEATED = 0.1  # fraction of subjects with a second session
LEAKED = 0.05  # fraction of subjects that come again under another id, for each kind of LEAKS
LEAKS = {
    "copy": "the same file, byte for byte",
    "stored_otherwise": "the same voxels in another orientation, as float32, in a file that is not packed",
    "repeat_session": "another scan one to three years later: another position, noise and brightness, any of the sites",
}


def draw_people(variant: str, subjects: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Who is in the cohort, but for those who come again under another id (`draw_leaks`).

    All combinations of sex, diagnosis and site are as frequent as one another, and ages are spread evenly over their
    range, so that no label tells another; in 'confounded' the site tells the sex.

    Returns:
        (true, shown), a row for each session: subject, session, age, sex, diagnosis, site. The scans are made from the
        true labels and shown with the others. They differ only in the variant 'null'.
    """
    true = _draw_labels(subjects, np.random.default_rng([seed, 0]))
    shown = true
    if variant == "null":
        shown = _draw_labels(subjects, np.random.default_rng([seed, 1])).assign(site=true["site"])
    if variant == "confounded":
        true = shown = true.assign(site=_sites_by_sex(true["sex"], np.random.default_rng([seed, 6])))
    rng = np.random.default_rng([seed, 2])
    repeated = np.isin(np.arange(subjects), rng.choice(subjects, round(REPEATED * subjects), replace=False))
    years_later = rng.uniform(1, 3, subjects)
    order = np.argsort(np.r_[np.arange(subjects), np.flatnonzero(repeated)], kind="stable")

    def with_sessions(people: pd.DataFrame) -> pd.DataFrame:
        later = people.assign(session="2", age=(people["age"] + years_later).round(1))[repeated]
        return pd.concat([people, later]).iloc[order].reset_index(drop=True)

    return with_sessions(true), with_sessions(shown)


def draw_leaks(people: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Who of `people` comes again under another id, in the variant 'leaky': someone for each kind of `LEAKS`, at least.

    Returns:
        a row for each further scan, with its subject (a new one), session ('1'), labels and site, the ``kind`` of leak
        and, as ``same_as``, the subject it really is, whose first session it repeats.
    """
    rng = np.random.default_rng([seed, 7])
    first = people.drop_duplicates("subject", keep=False)  # those of one session
    subjects = people["subject"].nunique()
    each = max(1, round(LEAKED * subjects))
    chosen = first.iloc[rng.choice(len(first), each * len(LEAKS), replace=False)].reset_index(drop=True)
    kinds = rng.permutation(np.repeat(list(LEAKS), each))
    again = kinds == "repeat_session"
    digits = len(str(subjects))
    return chosen.assign(
        subject=[f"sub-{subjects + number:0{digits}d}" for number in range(1, len(chosen) + 1)],
        age=(chosen["age"] + again * rng.uniform(1, 3, len(chosen))).round(1),
        site=np.where(again, rng.choice([site.name for site in SITES], len(chosen)), chosen["site"]),
        kind=kinds,
        same_as=chosen["subject"],
    )


def planted(variant: str, people: pd.DataFrame, leaks: pd.DataFrame) -> dict[str, Any]:
    """What a variant plants beside the effects on anatomy, for truth.json; nothing in 'demo' and 'null'.

    Args:
        variant: of the cohort.
        people: as `draw_people` returns it.
        leaks: as `draw_leaks` returns it, with the columns ``path`` and ``path_of_same``.
    """
    if variant == "leaky":
        columns = ["subject", "session", "path", "kind", "same_as", "path_of_same"]
        return {"leaks": {"kinds": LEAKS, "scans": leaks[columns].to_dict("records")}}
    if variant == "confounded":
        first = people.drop_duplicates("subject")
        counts = pd.crosstab(first["sex"], first["site"])
        return {
            "site_tells_sex": {
                "share_of_each_sex_by_site": effects.SITE_GIVEN_SEX,
                "subjects_of_each_sex_by_site": {sex: row.to_dict() for sex, row in counts.iterrows()},
                "best_balanced_accuracy_from_site_alone": effects.best_from_site(),
                "best_balanced_accuracy_without_site": effects.best_reachable()["sex"]["balanced_accuracy"],
                "seen_in": ["site", "spacing", "size and orientation of the grid", "voxel type", "contrast", "noise"],
            }
        }
    return {}


def _draw_labels(subjects: int, rng: np.random.Generator) -> pd.DataFrame:
    """First sessions: all combinations equally often, ages one in each of `subjects` equal intervals."""
    low, high = effects.AGE_RANGE
    ages = low + (high - low) * (rng.permutation(subjects) + rng.random(subjects)) / subjects
    cells = list(product(effects.SEXES, effects.DIAGNOSES, (site.name for site in SITES)))
    order = np.concatenate([rng.permutation(len(cells)) for _ in range(-(-subjects // len(cells)))])[:subjects]
    sexes, diagnoses, sites = zip(*(cells[cell] for cell in order), strict=True)
    digits = len(str(subjects))
    return pd.DataFrame(
        {
            "subject": [f"sub-{number:0{digits}d}" for number in range(1, subjects + 1)],
            "session": "1",
            "age": ages.round(1),
            "sex": sexes,
            "diagnosis": diagnoses,
            "site": sites,
        }
    )


def _sites_by_sex(sexes: pd.Series, rng: np.random.Generator) -> pd.Series:
    """A site for each subject: each sex in the shares of `SITE_GIVEN_SEX`, as nearly as whole subjects allow."""
    sites = pd.Series("", index=sexes.index)
    for sex, shares in effects.SITE_GIVEN_SEX.items():
        rows = rng.permutation(np.flatnonzero(sexes == sex))
        edges = np.rint(np.cumsum(list(shares.values())) * len(rows)).astype(int)[:-1]
        for site, part in zip(shares, np.split(rows, edges), strict=True):
            sites.iloc[part] = site
    return sites
