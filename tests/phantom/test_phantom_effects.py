"""The closed forms of what the best reader of the phantom could score, against simulation and integration."""

import numpy as np
import pytest
from scipy import integrate, stats

from tfmri.phantom import effects


def _latents(sex, diagnosis, n=20_000):
    rng = np.random.default_rng(0)
    return [effects.draw_latents(sex, diagnosis, rng) for _ in range(n)]


def test_best_sex_accuracy_is_that_of_a_linear_reader_of_the_latents():
    females, males = (
        np.array([(latent.sex_latent, latent.log_size) for latent in _latents(sex, "MCI")]) for sex in effects.SEXES
    )
    weights = males.mean(0) - females.mean(0)
    weights /= np.array([1.0, effects.SIZE_SPREAD]) ** 2
    recalls = np.mean(males @ weights > 0), np.mean(females @ weights < 0)
    best = effects.best_reachable()["sex"]["balanced_accuracy"]
    assert np.mean(recalls) == pytest.approx(best, abs=0.005)
    assert 0.93 <= best <= 0.97


def test_best_diagnosis_accuracy_is_that_of_the_nearest_stage():
    recalls = []
    for stage, name in enumerate(effects.DIAGNOSES):
        severity = np.array([latent.severity for latent in _latents("f", name)])
        recalls.append(np.mean(np.rint(np.clip(severity / effects.DIAGNOSIS_GAP, 0, 2)) == stage))
    assert np.mean(recalls) == pytest.approx(effects.best_reachable()["diagnosis"]["balanced_accuracy"], abs=0.01)


def test_best_age_error_is_that_of_the_posterior_median():
    low, high = effects.AGE_RANGE
    spread = effects.AGE_SPREAD

    def error(brain_age):
        posterior = stats.truncnorm((low - brain_age) / spread, (high - brain_age) / spread, brain_age, spread)
        evidence = (stats.norm.cdf(high, brain_age, spread) - stats.norm.cdf(low, brain_age, spread)) / (high - low)
        median = posterior.median()
        loss, _ = integrate.quad(lambda age: abs(age - median) * posterior.pdf(age), low, high, points=[median])
        return evidence * loss

    grid = np.linspace(low - 4 * spread, high + 4 * spread, 60)
    expected = np.trapezoid([error(brain_age) for brain_age in grid], grid)
    best = effects.best_reachable()["age"]["mae"]
    assert best == pytest.approx(expected, abs=0.02)
    assert best < spread * np.sqrt(2 / np.pi)  # the range of ages helps


def test_amplitudes_are_monotone_in_their_own_latent_and_ignore_the_others():
    middle = {"deviation": 0.0, "sex_latent": 0.0, "severity": 2.4, "log_size": 0.0}
    own = {
        "deviation": {"ventricles", "thinning"},
        "sex_latent": {"brainstem", "sylvian"},
        "severity": {"hippocampi"},
        "log_size": set(),
    }
    for latent, regions in own.items():
        values = [
            effects.amplitudes(effects.Latents(**{**middle, latent: value}), 50.0) for value in (-1.0, 0.0, 1.0, 2.0)
        ]
        for region in ("ventricles", "thinning", "brainstem", "sylvian", "hippocampi"):
            steps = np.diff([getattr(value, region) for value in values])
            assert np.all(steps > 0) or np.all(steps < 0) if region in regions else np.all(steps == 0), (latent, region)


def test_in_the_null_variant_nothing_beats_guessing():
    best = effects.best_reachable("null")
    assert best["sex"]["balanced_accuracy"] == 1 / 2
    assert best["diagnosis"]["balanced_accuracy"] == pytest.approx(1 / 3)
    ages = np.linspace(*effects.AGE_RANGE, 10_001)
    assert best["age"]["mae"] == pytest.approx(np.abs(ages - ages.mean()).mean(), rel=1e-3)


def test_in_the_confounded_variant_the_best_reader_of_sex_uses_the_site_too():
    rng = np.random.default_rng(1)
    spread = np.array([1.0, effects.SIZE_SPREAD])
    shift = np.array([effects.SEX_SEPARATION, effects.SIZE_SHIFT])
    recalls, without = [], []
    for sex, sign in (("f", -1), ("m", 1)):
        seen = np.array([(latent.sex_latent, latent.log_size) for latent in _latents(sex, "MCI")])
        names, shares = zip(*effects.SITE_GIVEN_SEX[sex].items(), strict=True)
        sites = rng.choice(names, len(seen), p=shares)
        odds = np.array([effects.SITE_GIVEN_SEX["m"][site] / effects.SITE_GIVEN_SEX["f"][site] for site in sites])
        evidence = (stats.norm.logpdf(seen, shift, spread) - stats.norm.logpdf(seen, -shift, spread)).sum(axis=1)
        recalls.append(np.mean(sign * (evidence + np.log(odds)) > 0))
        without.append(np.mean(sign * evidence > 0))
    best = effects.best_reachable("confounded")
    assert best["sex"]["balanced_accuracy"] == pytest.approx(np.mean(recalls), abs=0.004)
    assert np.mean(recalls) > np.mean(without) + 0.01
    assert {key: best[key] for key in ("age", "diagnosis")} == {
        key: effects.best_reachable()[key] for key in ("age", "diagnosis")
    }
