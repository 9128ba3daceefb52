import keras
import numpy as np
import pytest
from scipy.stats import spearmanr

from tfmri.explain.attribution import gradient
from tfmri.explain.sanity import mean_similarity, randomised_from_the_top, similarity, verdict
from tfmri.models.registry import build_model

SHAPE = (12, 8, 10, 1)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(3)
    built = build_model("small_cnn", SHAPE, 2, filters=[4, 6])
    for variable in built.weights:  # as training leaves them: nothing is as any initialiser makes it
        variable.assign(variable + np.random.default_rng(1).uniform(0.1, 0.3, variable.shape))
    return built


def same(some, others):
    return [np.array_equal(*each) for each in zip(some, others, strict=True)]


def test_layers_are_drawn_anew_one_after_another_from_the_output_down_and_the_trained_ones_stay(model):
    before = {layer.name: layer.get_weights() for layer in model.layers}
    names = [layer.name for layer in model.layers if before[layer.name]]
    steps = []
    for lowest, changed in randomised_from_the_top(model, seed=0):
        steps.append(lowest)
        for name in names:
            kept = same(before[name], changed.get_layer(name).get_weights())
            assert not any(kept) if name in steps else all(kept)
    assert steps == names[::-1]
    for layer in model.layers:
        assert all(same(before[layer.name], layer.get_weights()))


def test_the_same_seed_draws_the_same_weights_another_others(model):
    def drawn(seed):
        *_, (_, changed) = randomised_from_the_top(model, seed)
        return changed.layers[1].get_weights()[0]

    np.testing.assert_array_equal(drawn(0), drawn(0))
    assert np.abs(drawn(0) - drawn(1)).max() > 0.01


def test_a_network_with_many_layers_is_drawn_anew_in_few_steps():
    deep = build_model("small_cnn", (32, 32, 32, 1), 2, filters=[2] * 5)
    steps = [name for name, _ in randomised_from_the_top(deep, 0)]
    weighted = [layer.name for layer in deep.layers if layer.weights]
    assert len(weighted) > 8 and len(steps) == 8
    assert (steps[0], steps[-1]) == (weighted[-1], weighted[0])


def test_similarity_is_that_of_scipy_within_the_head():
    random = np.random.default_rng(0)
    one, other = random.normal(size=(2, 9, 8, 7)).round(1)
    inside = random.uniform(size=one.shape) < 0.6
    found = similarity(one, one + other, inside)
    assert found["signed"] == pytest.approx(spearmanr(one[inside], (one + other)[inside])[0])
    assert found["absolute"] == pytest.approx(spearmanr(abs(one)[inside], abs(one + other)[inside])[0])
    nothing, broken = np.zeros_like(one), np.full_like(one, np.nan)
    assert mean_similarity([one, one], [nothing, broken], [inside, inside]) == {"signed": None, "absolute": None}
    assert mean_similarity([one, one], [one, broken], [inside, inside])["signed"] == pytest.approx(1)


def test_a_method_that_shows_the_image_is_called_out_and_the_gradient_is_not(model):
    image = np.random.default_rng(0).normal(size=(1, *SHAPE)).astype(np.float32)
    inside = np.ones(SHAPE[:3], bool)
    score = lambda outputs: outputs[:, 1] - outputs[:, 0]  # noqa: E731
    *_, (_, changed) = randomised_from_the_top(model, 0)
    maps = [gradient(each, image, score) for each in (model, changed)]
    assert "become others" in verdict("gradient", mean_similarity(*maps, [inside]), "all weights drawn anew")
    edges = [np.abs(np.diff(image[..., 0], axis=1, append=0)) * (1 + 0.1 * abs(each)) for each in maps]
    said = verdict("gradient", mean_similarity(*edges, [inside]), "all weights drawn anew")
    assert "STAY MUCH THE SAME" in said and "all weights drawn anew" in said
    assert "nothing to compare" in verdict("gradient", {"signed": None, "absolute": None}, "all weights drawn anew")
