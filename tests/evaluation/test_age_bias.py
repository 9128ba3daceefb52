import numpy as np
import pytest
from scipy import stats

from tfmri.evaluation.age_bias import AgeBias, corrected_gap, fit_age_bias


def test_the_correction_removes_the_correlation_of_gap_and_age_where_it_was_fitted():
    random = np.random.default_rng(0)
    age = random.uniform(20, 80, 50)
    prediction = 50 + 0.6 * (age - 50) + random.normal(0, 4, 50)
    bias = fit_age_bias(age, prediction)
    assert stats.pearsonr(prediction - age, age).statistic < -0.8
    gap = corrected_gap(age, prediction, bias)
    assert stats.pearsonr(gap, age).statistic == pytest.approx(0, abs=1e-9) and gap.mean() == pytest.approx(0, abs=1e-9)
    line = stats.linregress(age, prediction - age)
    assert (bias.slope, bias.intercept) == pytest.approx((line.slope, line.intercept))


def test_the_correction_by_hand():
    assert corrected_gap(np.array([40.0]), np.array([46.0]), AgeBias(-0.5, 25.0)).tolist() == [1.0]  # 6 - (-20 + 25)


def test_no_line_goes_through_people_of_one_age():
    for ages in ([40, 50], [40, 40, 40]):
        with pytest.raises(ValueError, match="different ages"):
            fit_age_bias(ages, ages)
