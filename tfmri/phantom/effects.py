"""What is planted in the phantom, how strongly, and what the best possible reader of the scans could score.

Three latent variables drive the anatomy of a subject, each in regions of its own and independent of the others:

- brain age (years) = age + N(0, AGE_SPREAD²): wider lateral ventricles, thinner and darker cortex;
- sex latent = ±SEX_SEPARATION + N(0, 1), plus for males: a wider brainstem and narrower Sylvian fissures, by a monotone
  map that saturates, and a little more head size;
- severity = DIAGNOSIS_GAP * stage + N(0, 1), stage 0 healthy, 1 MCI, 2 dementia: the hippocampi shrink and
  cerebrospinal fluid takes the place.

A scan shows the latent variables, never the labels, so a reader who measured the latent variables without error would
score what `best_reachable` says; real readers also have individual anatomy and noise to cope with.
"""

from dataclasses import asdict, dataclass
from math import log, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

AGE_RANGE = (20.0, 85.0)  # years, uniform over first sessions
AGE_SPREAD = 4.0  # years, standard deviation of brain age about age
SEXES = ("f", "m")
SEX_SEPARATION = 1.65  # half the distance of the sexes' means, in standard deviations of the latent
SIZE_SPREAD = 0.04  # standard deviation of the logarithm of head size (length)
SIZE_SHIFT = 0.006  # half the distance of the sexes' means of the same
DIAGNOSES = ("healthy", "MCI", "dementia")
SITE_GIVEN_SEX = {  # in the variant 'confounded': the share of each sex that was scanned at each site
    "f": {"north": 0.8, "east": 0.1, "south": 0.1},
    "m": {"north": 0.1, "east": 0.1, "south": 0.8},
}
DIAGNOSIS_GAP = 2.4  # distance of neighbouring stages' means, in standard deviations of severity


@dataclass(frozen=True)
class Latents:
    """What drives the anatomy of one subject.

    Args:
        deviation: years, brain age minus age, the same in all sessions.
        sex_latent: in standard deviations, positive for most males.
        severity: in standard deviations, 0 is the mean of the healthy.
        log_size: logarithm of the head's scale (length), 0 is the template.
    """

    deviation: float
    sex_latent: float
    severity: float
    log_size: float


@dataclass(frozen=True)
class Amplitudes:
    """How far each region is changed in one scan.

    Args:
        ventricles: mm that the wall of the lateral ventricles moves outwards.
        thinning: 0 (age 20) to about 1 (age 85), the loss of cortical grey matter.
        brainstem: mm that the surface of the brainstem moves outwards.
        sylvian: mm, half the width of the Sylvian fissures.
        hippocampi: mm, radius of what is left of the hippocampi.
    """

    ventricles: float
    thinning: float
    brainstem: float
    sylvian: float
    hippocampi: float


def draw_latents(sex: str, diagnosis: str, rng: np.random.Generator) -> Latents:
    """The latent variables of a subject of this sex and diagnosis."""
    sign = 1.0 if sex == "m" else -1.0
    deviation, individual_sex, individual_severity, size = rng.standard_normal(4)
    return Latents(
        deviation=float(AGE_SPREAD * deviation),
        sex_latent=float(sign * SEX_SEPARATION + individual_sex),
        severity=float(DIAGNOSIS_GAP * DIAGNOSES.index(diagnosis) + individual_severity),
        log_size=float(sign * SIZE_SHIFT + SIZE_SPREAD * size),
    )


def amplitudes(latents: Latents, age: float) -> Amplitudes:
    """What the latent variables do to the anatomy at this age (years). Monotone in each of them."""
    life = (age + latents.deviation - AGE_RANGE[0]) / (AGE_RANGE[1] - AGE_RANGE[0])
    maleness = np.tanh(latents.sex_latent)
    loss = np.clip((latents.severity + 1.5) / (2 * DIAGNOSIS_GAP + 3.0), 0.0, 1.0)
    return Amplitudes(
        ventricles=float(-2.0 + 7.0 * life),
        thinning=float(life),
        brainstem=float(4.0 * maleness),
        sylvian=float(3.2 - 3.2 * maleness),
        hippocampi=float(12.5 - 10.0 * loss),
    )


def best_reachable(variant: str = "demo") -> dict[str, dict[str, float]]:
    """The scores of a reader who knows the latent variables, by target and metric.

    - sex: two normals 2·d apart, d² = SEX_SEPARATION² + (SIZE_SHIFT / SIZE_SPREAD)², are told apart with Φ(d).
    - diagnosis: three normals g apart, thresholds halfway between them: recalls of Φ(g/2), 2·Φ(g/2) - 1 and Φ(g/2).
    - age: the posterior given brain age is a normal truncated to AGE_RANGE, its median the best guess. Later sessions
      are left out.

    In the variant 'null' the labels are independent of the scans, and the trivial predictor is the best. In
    'confounded' the reader knows the site too, and how often it goes with each sex: the threshold for the sex moves by
    the logarithm of the odds, l, that the site gives: Φ(d + l / (2·d)), on average over the sites of a sex. What nobody
    betters without the site is what is best in 'demo'.
    """
    if variant == "null":
        return {
            "sex": {"balanced_accuracy": 1 / len(SEXES)},
            "age": {"mae": (AGE_RANGE[1] - AGE_RANGE[0]) / 4},
            "diagnosis": {"balanced_accuracy": 1 / len(DIAGNOSES)},
        }
    normal = NormalDist()
    halfway = normal.cdf(DIAGNOSIS_GAP / 2)
    distance = sqrt(SEX_SEPARATION**2 + (SIZE_SHIFT / SIZE_SPREAD) ** 2)
    sex = normal.cdf(distance)
    if variant == "confounded":
        of_female, of_male = (SITE_GIVEN_SEX[sex] for sex in SEXES)
        recalls = [
            sum(own[site] * normal.cdf(distance + log(own[site] / other[site]) / (2 * distance)) for site in own)
            for own, other in ((of_female, of_male), (of_male, of_female))
        ]
        sex = sum(recalls) / 2
    return {
        "sex": {"balanced_accuracy": sex},
        "age": {"mae": _best_age_mae()},
        "diagnosis": {"balanced_accuracy": (4 * halfway - 1) / 3},
    }


def best_from_site() -> float:
    """The balanced accuracy for sex of a reader who knows the site only, in the variant 'confounded'."""
    of_female, of_male = (SITE_GIVEN_SEX[sex] for sex in SEXES)
    return sum(max(of_female[site], of_male[site]) for site in of_female) / 2


def _best_age_mae(step: float = 0.1) -> float:
    """Mean absolute error (years) of the posterior median of age given brain age, by summation over both."""
    low, high = AGE_RANGE
    age = np.arange(low + step / 2, high, step)
    brain_age = np.arange(low - 5 * AGE_SPREAD, high + 5 * AGE_SPREAD, step)[:, None]
    joint = np.exp(-0.5 * ((brain_age - age) / AGE_SPREAD) ** 2)
    median = age[np.argmax(np.cumsum(joint, axis=1) >= joint.sum(axis=1, keepdims=True) / 2, axis=1)]
    return float((joint * np.abs(age - median[:, None])).sum() / joint.sum())


def generator_numbers() -> dict[str, Any]:
    """The numbers above, for truth.json."""
    return {
        "age_range_years": list(AGE_RANGE),
        "age_spread_years": AGE_SPREAD,
        "sex_separation_sd": SEX_SEPARATION,
        "size_spread_log": SIZE_SPREAD,
        "size_shift_log": SIZE_SHIFT,
        "diagnosis_gap_sd": DIAGNOSIS_GAP,
        "region_effects": {
            "lateral_ventricles": "age: the wall moves outwards with brain age",
            "cortex": "age: thinner and darker with brain age",
            "brainstem": "sex: wider in males",
            "sylvian_fissures": "sex: narrower in males",
            "hippocampi": "diagnosis: shrunken with severity, fluid in their place",
        },
        "amplitudes_at": {
            f"sex_latent {sex:+.2f}, severity {severity:.1f}, brain age {age:.0f}": asdict(
                amplitudes(Latents(0.0, sex, severity, 0.0), age)
            )
            for sex, severity, age in ((-SEX_SEPARATION, 0.0, AGE_RANGE[0]), (SEX_SEPARATION, 4.8, AGE_RANGE[1]))
        },
    }
