"""Tests of association and what one thing tells of another, against SciPy, scikit-learn and closed forms."""

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from tfmri.checks.association import Thing, accuracy, association, classes, explained, serial


@pytest.fixture
def people():
    """Sites, sexes that go with them a little, ages with ties that go with both a little."""
    rng = np.random.default_rng(0)
    site = rng.choice(["a", "b", "c"], 80, p=[0.5, 0.3, 0.2])
    sex = np.where(rng.random(80) < np.where(site == "a", 0.65, 0.4), "f", "m")
    age = np.round(rng.normal(50, 8, 80) + 3 * (site == "b"))
    return site, sex, age


def test_two_classes_give_pearsons_chi_square(people):
    site, sex, _ = people
    table = stats.contingency.crosstab(site, sex).count
    expected = stats.chi2_contingency(table, correction=False)
    test = association(classes(sex), classes(site), (0,))
    assert test.value == pytest.approx(expected.statistic) and test.name == "Pearson's chi²"
    assert test.p == pytest.approx(expected.pvalue, rel=0.35)  # that is asymptotic, this is drawn


def test_a_class_and_a_number_give_kruskals_h_with_its_correction_for_ties(people):
    site, _, age = people
    expected = stats.kruskal(*(age[site == name] for name in "abc"))
    for pair in ((classes(site), Thing(age)), (Thing(age), classes(site))):
        test = association(*pair, (0,))
        assert test.value == pytest.approx(expected.statistic)
        assert test.p == pytest.approx(expected.pvalue, rel=0.35)


def test_two_numbers_give_spearmans_rho(people):
    _, _, age = people
    other = age + np.random.default_rng(1).normal(0, 45, len(age))
    expected = stats.spearmanr(age, -other)
    test = association(Thing(age), Thing(-other), (0,))
    assert test.value == pytest.approx(expected.statistic)
    assert test.p == pytest.approx(expected.pvalue, rel=0.35)


def test_p_of_few_subjects_is_that_of_counting_all_orders():
    sex, site = classes(np.array(list("ffffmmmm"))), classes(np.array(list("aaaabbbb")))
    assert association(sex, site, (0,)).p == pytest.approx(2 / 70, rel=0.25)  # 2 of 8 choose 4 part them so
    assert stats.fisher_exact([[4, 0], [0, 4]]).pvalue == pytest.approx(2 / 70)


def test_p_is_uniform_where_nothing_goes_with_anything():
    rng = np.random.default_rng(2)
    p = [
        association(Thing(rng.random(30)), classes(rng.choice(["x", "y", "z"], 30)), (each,)).p for each in range(150)
    ] + [serial(Thing(rng.random(30)), (each,)).p for each in range(150)]
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_a_strong_association_reaches_the_smallest_p_and_the_same_one_again(people):
    _, sex, _ = people
    tests = [association(classes(sex), classes(sex), (7,)) for _ in range(2)]
    assert tests[0] == tests[1] and tests[0].p == 1 / 10_000


def test_serial_correlation_sees_blocks_and_no_alternation():
    blocks, turns = classes(np.array(list("aaaaabbbbb" * 4))), classes(np.array(list("ab" * 20)))
    assert serial(blocks, (0,)).p < 0.001
    assert serial(turns, (0,)).p > 0.99
    ranks = stats.rankdata(np.arange(20.0)) - 10.5
    assert serial(Thing(np.arange(20.0)), (0,)).value == pytest.approx((ranks[1:] @ ranks[:-1]) / (ranks @ ranks))


def test_accuracy_of_a_class_by_a_class_is_that_of_its_most_frequent_class():
    site = np.repeat(["a", "b"], 200)
    sex = np.r_[np.repeat(["f", "m"], [160, 40]), np.repeat(["f", "m"], [20, 180])]
    assert accuracy(classes(sex), classes(site)) == pytest.approx((160 / 180 + 180 / 220) / 2)
    assert accuracy(classes(sex), classes(sex)) == 1


def test_accuracy_does_not_flatter_many_classes_that_say_nothing():
    rng = np.random.default_rng(3)
    scores = [
        accuracy(classes(rng.choice(["f", "m"], 60)), classes(rng.choice(list("abcdefghijkl"), 60))) for _ in range(40)
    ]
    assert 0.4 < np.mean(scores) < 0.52  # among those it was counted from, it would be 0.66


def test_accuracy_by_a_number_is_that_of_the_nearest_mean_rank():
    position = Thing(np.arange(48))
    group = classes(np.repeat(["ill", "well"], [34, 14]))
    middle = (np.mean(np.arange(34)) + np.mean(np.arange(34, 48))) / 2
    assert accuracy(group, position) == pytest.approx((np.mean(np.arange(34) < middle) + 1) / 2)
    assert accuracy(group) == pytest.approx((33 / 34 + 14 / 14) / 2, abs=0.02)  # by the neighbours


@pytest.mark.parametrize("kind", ["class", "number"])
def test_explained_is_r_square_of_a_regression_that_leaves_each_out(people, kind):
    site, _, age = people
    if kind == "class":
        by, columns = classes(site), (site[:, None] == np.unique(site)).astype(float)
    else:
        values = np.random.default_rng(4).permutation(len(age)) + age
        by, columns = Thing(values), stats.rankdata(values)[:, None]
    told = cross_val_predict(LinearRegression(), columns, age, cv=LeaveOneOut())
    means = (age.sum() - age) / (len(age) - 1)
    expected = 1 - ((age - told) ** 2).sum() / ((age - means) ** 2).sum()
    assert explained(Thing(age), by) == pytest.approx(expected)
    assert expected == pytest.approx(r2_score(age, told), abs=0.03)


def test_explained_by_neighbours_is_high_in_a_sorted_list_only():
    ages = np.linspace(20, 80, 50)
    assert explained(Thing(ages)) > 0.99
    assert explained(Thing(np.random.default_rng(5).permutation(ages))) < 0.2
