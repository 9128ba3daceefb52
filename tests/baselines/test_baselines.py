import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

from tfmri.baselines.features import block_means, columns
from tfmri.baselines.models import NAMES, fit_baseline, probabilities
from tfmri.errors import InputError


def data(kind: str, people: int = 60, seed: int = 0):
    random = np.random.default_rng(seed)
    features = random.normal(size=(people, 40))
    score = features[:, :3].sum(axis=1) + random.normal(0, 0.5, people)
    truth = np.where(score > 0, "m", "f").astype(object) if kind == "classification" else 50 + 10 * score
    return features, truth, np.array([f"s{i // 2}" for i in range(people)])


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["classification", "regression"])
@pytest.mark.parametrize("name", NAMES)
def test_every_model_learns_what_there_is_and_the_same_seed_gives_the_same(name, kind):
    features, truth, subjects = data(kind)
    unseen, answers, _ = data(kind, seed=1)
    models = [fit_baseline(name, kind, features, truth, subjects, seed=3, reduce=True) for _ in range(2)]
    found = [model.predict(unseen) for model in models]
    np.testing.assert_array_equal(*found)
    if kind == "classification":
        assert np.mean(found[0] == answers) > 0.6
        shares = probabilities(models[0], unseen, ["m", "f"])
        np.testing.assert_allclose(shares.sum(axis=1), 1)
        assert np.mean(np.array(["m", "f"])[shares.argmax(axis=1)] == found[0]) > 0.95
    else:
        assert np.abs(found[0] - answers).mean() < np.abs(answers - truth.mean()).mean()


def test_scaling_and_components_are_learnt_from_the_training_scans_alone():
    """By hand, on training scans; and not a bit changes in the model, whatever others hold."""
    features, truth, subjects = data("regression")
    model = fit_baseline("ridge", "regression", features, truth, subjects, 0, reduce=True)
    mean, sd = features.mean(axis=0), features.std(axis=0)
    pca = PCA(40, random_state=0).fit((features - mean) / sd)
    strength = model.best_params_["ridge__alpha"]
    by_hand = Ridge(strength).fit(pca.transform((features - mean) / sd), truth)
    unseen = data("regression", seed=1)[0]
    expected = by_hand.predict(pca.transform((unseen - mean) / sd))
    np.testing.assert_allclose(model.predict(unseen), expected, rtol=1e-6)


def test_what_is_missing_is_filled_in_with_the_mean_of_training():
    features, truth, subjects = data("regression")
    model = fit_baseline("ridge", "regression", features, truth, subjects, 0, reduce=False)
    unseen = data("regression", seed=1)[0]
    without, filled = unseen.copy(), unseen.copy()
    without[:, 0], filled[:, 0] = np.nan, features[:, 0].mean()
    np.testing.assert_allclose(model.predict(without), model.predict(filled))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_few_people_and_rare_classes_are_fitted_without_choosing_a_strength():
    features, truth, subjects = data("classification", people=6)
    truth[:] = ["m", "f", "f", "f", "f", "f"]
    for name in NAMES:
        model = fit_baseline(name, "classification", features, truth, subjects, 0, reduce=True)
        assert set(model.predict(features)) <= {"m", "f"}


def test_block_means_are_of_whole_blocks():
    image = np.arange(5 * 4 * 3 * 1, dtype=np.float16).reshape(5, 4, 3, 1)
    found = block_means(image, (2, 2, 1))
    assert found.shape == (2, 2, 3, 1) and found[1, 0, 2, 0] == image[2:4, 0:2, 2, 0].astype(float).mean()


def test_columns_are_found_by_pattern_and_the_target_is_none_of_them():
    table = pd.DataFrame(
        {"subject": ["a", "b"], "vol_left": ["1.5", "n/a"], "Vol_right": ["2", "3"], "age": [20.0, 30]}
    )
    found, names = columns(table, ["vol_*"], "age")
    assert names == ["vol_left", "Vol_right"]
    np.testing.assert_array_equal(found, [[1.5, 2], [np.nan, 3]])
    for patterns, words in ((["age"], "no column is called 'age'"), (["vol_lft"], "Did you mean 'vol_left'")):
        with pytest.raises(InputError, match=words):
            columns(table, patterns, "age")
    with pytest.raises(InputError, match="numbers, or empty cells"):
        columns(table.assign(vol_left="large"), ["vol_*"], "age")
