"""One prediction a scan out of those of several fits."""

import numpy as np
import pandas as pd
import pytest

from tfmri.evaluation.ensemble import ensemble, spread


def test_probabilities_are_averaged_and_the_largest_mean_is_the_prediction():
    by_fit = pd.DataFrame(
        {
            "scan": ["b", "a", "b", "a"],
            "fit": ["fold-1", "fold-1", "fold-2", "fold-2"],
            "truth": ["f", "m", "f", "m"],
            "prediction": ["m", "m", "f", "m"],
            "p_f": [0.4, 0.3, 0.9, 0.1],
            "p_m": [0.6, 0.7, 0.1, 0.9],
        }
    )
    rows = ensemble(by_fit, ["f", "m"])
    assert rows["scan"].tolist() == ["b", "a"] and set(rows["fit"]) == {"ensemble"}
    assert rows["p_f"].tolist() == pytest.approx([0.65, 0.2])
    assert rows["prediction"].tolist() == ["f", "m"] and rows["truth"].tolist() == ["f", "m"]


def test_numbers_are_averaged_and_a_single_fit_keeps_its_name():
    by_fit = pd.DataFrame(
        {
            "scan": ["a", "b", "b"],
            "fit": ["fold-1", "fold-1", "fold-2"],
            "truth": [30.0, 40.0, 40.0],
            "prediction": [31.0, 42.0, 46.0],
        }
    )
    rows = ensemble(by_fit, [])
    assert rows["prediction"].tolist() == [31, 44] and rows["fit"].tolist() == ["fold-1", "ensemble"]


def test_standard_deviations_become_that_of_the_mixture():
    random = np.random.default_rng(0)
    by_fit = pd.DataFrame({"scan": ["a", "b", "a"], "fit": ["1", "1", "2"], "prediction": [40.0, 60.0, 46.0]})
    found = ensemble(by_fit.assign(sd=[3.0, 5.0, 4.0]), [])
    drawn = np.concatenate([random.normal(40, 3, 200_000), random.normal(46, 4, 200_000)])
    assert found["sd"].tolist() == pytest.approx([drawn.std(), 5], rel=0.01)
    silent = ensemble(by_fit.assign(sd=[3.0, 5.0, 4.0], prediction=[40.0, np.inf, 46.0]), [])
    assert np.isnan(silent["sd"]).tolist() == [False, True]


def test_spread_is_of_the_number_or_of_the_predicted_class():
    ages = pd.DataFrame({"scan": ["a", "b", "a"], "fit": ["1", "1", "2"], "prediction": [40.0, 60.0, 44.0]})
    assert spread(ages, ensemble(ages, []), []).tolist() == pytest.approx([2, np.nan], nan_ok=True)
    sex = pd.DataFrame(
        {"scan": ["a", "a"], "fit": ["1", "2"], "prediction": ["f", "m"], "p_f": [0.9, 0.4], "p_m": [0.1, 0.6]}
    )
    assert spread(sex, ensemble(sex, ["f", "m"]), ["f", "m"]).tolist() == pytest.approx([0.25])


def test_a_fit_that_says_nothing_leaves_nothing_to_say():
    sex = pd.DataFrame({"scan": ["a", "a"], "fit": ["1", "2"], "prediction": ["f", None], "p_f": [0.9, np.nan]})
    assert ensemble(sex.assign(p_m=1 - sex["p_f"]), ["f", "m"])["prediction"].isna().all()
    age = pd.DataFrame({"scan": ["a", "a", "b"], "fit": ["1", "2", "1"], "prediction": [40.0, np.inf, 50.0]})
    np.testing.assert_array_equal(ensemble(age, [])["prediction"], [np.nan, 50])
