"""Weights of another run: what is taken, what is new, what does not train, and what is refused."""

import hashlib
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmri.errors import InputError
from tfmri.experiment.schema import WarmStart
from tfmri.models import sfcn, small_cnn
from tfmri.models.published import read_sfcn
from tfmri.runs.directory import Run
from tfmri.training.optimizers import make_optimizer
from tfmri.training.step import make_train_step
from tfmri.training.warm_start import begin_with, freeze, in_words, take_weights

BODY = ["stage1_conv", "stage1_norm", "stage2_conv", "stage2_norm"]


def network(outputs=2, **options):
    return small_cnn.build((8, 8, 8, 1), outputs, **{"filters": (3, 4), "dropout": 0.0, **options})


@pytest.fixture(scope="module")
def source():
    """A model whose every weight, running averages too, is another number."""
    keras.utils.set_random_seed(1)
    model = network()
    random = np.random.default_rng(0)
    for layer in model.layers:
        layer.set_weights([random.uniform(0.5, 1, weight.shape) for weight in layer.get_weights()])
    return model


@pytest.fixture(scope="module")
def run(source, tmp_path_factory):
    """A run with a fit that has a model, and one that has none yet."""
    run = Run(tmp_path_factory.mktemp("runs") / "first")
    run.fit("whole").path.mkdir(parents=True)
    run.fit("fold-1").path.mkdir(parents=True)
    run.experiment.write_text("")
    run.splits.write_text("scan,subject,split,fold\na1,a,train,\nb1,b,validation,\nc1,c,test,\n")
    source.save(run.fit("whole").model)
    return run


def weights(layer):
    return [np.asarray(weight) for weight in layer.get_weights()]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


def test_a_model_takes_every_layer_but_its_head(source, run):
    model = network(outputs=3)
    head = weights(model.get_layer("head"))
    about = begin_with(model, WarmStart(run=str(run.path)), {"c", "d"})
    assert all(same(model.get_layer(name), source.get_layer(name)) for name in BODY)
    assert all(np.array_equal(a, b) for a, b in zip(head, weights(model.get_layer("head")), strict=True))
    file = run.fit("whole").model
    assert about == {
        "run": str(run.path),
        "fit": "whole",
        "model": str(file),
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "taken": BODY,
        "new": ["head"],
        "test_subjects_known": 0,
    }
    assert in_words(about, ["stage1_conv"]) == (
        f"weights of {run.path}, fit whole, in {', '.join(BODY)}; new: head; not trained: stage1_conv"
    )


def test_a_kept_head_makes_the_same_predictions(source, run):
    model = network(initial_bias=[5.0, 6.0])
    begin_with(model, WarmStart(run=str(run.path), head="keep"))
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 8, 1)).astype(np.float32)
    np.testing.assert_array_equal(model(images), source(images))


def test_subjects_of_the_test_split_from_whom_the_other_run_learnt_are_counted(run, caplog):
    assert begin_with(network(), WarmStart(run=str(run.path)), {"a", "b", "c"})["test_subjects_known"] == 2
    assert "2 of the 3 test subjects trained the model" in caplog.text


def test_a_larger_model_takes_the_layers_in_common(source):
    model = network(filters=(3, 4, 5))
    taken, new = take_weights(model, source, "renew")
    assert taken == BODY and new == ["stage3_conv", "stage3_norm", "head"]


def test_layers_without_our_names_are_matched_too_and_the_last_with_weights_is_the_head():
    def model(outputs):
        inside = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="in")], name="body")
        return keras.Sequential([keras.Input((4,)), inside, keras.layers.Dense(outputs, name="out")])

    one, other = model(2), model(5)
    assert take_weights(other, one, "renew") == (["body"], ["out"])
    assert same(one.get_layer("body"), other.get_layer("body"))
    assert freeze(other, ["in"]) == ["in"]
    assert [each.path.split("/")[-2] for each in other.trainable_variables] == ["out", "out"]


@pytest.mark.parametrize(
    ("settings", "model", "message"),
    [
        (
            {"fit": "whoel"},
            {},
            r"warm_start\.fit: the run .* has no fit 'whoel'; .*fold-1, whole\. Did you mean 'whole'",
        ),
        ({"fit": "fold-1"}, {}, r"there is no .*fold-1/model\.keras yet\. It is written after the first epoch"),
        (
            {"head": "keep"},
            {"outputs": 3},
            r"warm_start\.head: keep, and that model has 2 outputs, this one 3; .*renew",
        ),
        (
            {},
            {"filters": (3, 6)},
            r"other shapes: stage2_conv 3x3x3x3x4 there, 3x3x3x3x6 here; stage2_norm 4 4 4 4 there, 6 6 6 6 here\.",
        ),
        ({}, {"norm": "instance"}, r"other shapes: stage1_norm 3 3 3 3 there, 3 3 here; stage2_norm"),
        ({}, {"shape": (8, 8, 8, 2)}, r"other shapes: stage1_conv 5x5x5x1x3 there, 5x5x5x2x3 here\. .*image channels"),
    ],
)
def test_what_does_not_fit_is_said_in_one_problem(run, settings, model, message):
    options = {"shape": (8, 8, 8, 1), "outputs": 2, "filters": (3, 4), **model}
    with pytest.raises(InputError, match=message) as raised:
        begin_with(small_cnn.build(**options), WarmStart(run=str(run.path), **settings))
    assert len(raised.value.problems) == 1


def test_another_architecture_or_no_run_or_a_damaged_model_is_refused(source, run, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"no layer in common: .*stage1_conv.*; expected layers such as block1_conv"):
        take_weights(sfcn.build((8, 8, 8, 1), 2, filters=(3, 4)), source, "renew")
    unnamed = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="other")])
    with pytest.raises(InputError, match=r"head: keep, and that model's last layer is 'head', not 'other'"):
        take_weights(unnamed, source, "keep")
    monkeypatch.setenv("TFMRI_RUNS", str(tmp_path))
    with pytest.raises(InputError, match=r"run 'age/latest': no run of that name"):
        begin_with(network(), WarmStart(run="age/latest"))
    damaged = Run(tmp_path / "damaged")
    damaged.fit("whole").path.mkdir(parents=True)
    damaged.experiment.write_text("")
    damaged.fit("whole").model.write_bytes(run.fit("whole").model.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"damaged/fits/whole/model\.keras cannot be read"):
        begin_with(network(), WarmStart(run=str(damaged.path)))


def test_patterns_that_match_nothing_are_said_with_the_nearest_name():
    with pytest.raises(InputError, match=r"2 problems:(.|\n)*'stag1_conv'\. Did you mean 'stage1_conv'(.|\n)*'x\*'"):
        freeze(network(), ["stage2_*", "stag1_conv", "x*"])
    with pytest.raises(InputError, match="no layer with weights is called 'stage1_relu'"):
        freeze(network(), ["stage1_relu"])
    with pytest.raises(InputError, match=r"\*_\*, head leave nothing to train; expected patterns that spare"):
        freeze(network(), ["*_*", "head"])


def test_frozen_layers_keep_every_number_through_training_and_the_others_do_not():
    class Sum:
        def loss(self, target, output):
            return tf.square(tf.reduce_sum(output, 1) - 1)

    keras.utils.set_random_seed(1)
    model = network(l2=0.01)
    assert freeze(model, ["stage[1]_*"]) == ["stage1_conv", "stage1_norm"]
    before = {layer.name: weights(layer) for layer in model.layers}
    optimizer = make_optimizer("adamw", {"weight_decay": 0.1}, model.trainable_variables, ema=0.9)
    step = make_train_step(model, optimizer, Sum(), tf.distribute.get_strategy(), 4)
    images = tf.random.stateless_normal((4, 8, 8, 8, 1), (1, 2))
    batch = {"image": images, "target": tf.zeros(4), "weight": tf.ones(4), "row": tf.range(4)}
    for _ in range(2):
        step(batch, tf.constant(0.1), tf.constant([1, 2]), tf.constant(0))
    for layer in model.layers:
        changed = [not np.array_equal(a, b) for a, b in zip(before[layer.name], weights(layer), strict=True)]
        assert changed == [not layer.name.startswith("stage1")] * len(changed), layer.name


def test_a_file_of_published_weights_is_taken_like_a_run():
    path = Path(__file__).parents[1] / "models" / "torch_files" / "stream.p"
    model = sfcn.build((16, 16, 16, 1), 3, filters=(2, 4, 3, 5))
    about = begin_with(model, WarmStart(weights=str(path), head="keep"), {"c"})
    assert all(same(model.get_layer(layer.name), layer) for layer in read_sfcn(path).layers)
    assert about["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest() and about["new"] == []
    assert in_words(about, []) == f"weights of {path}, in 9 layers, block1_conv to head; nothing new; all trained"
    with pytest.raises(InputError, match=r"warm_start\.weights: layers of other shapes: block2_conv"):
        begin_with(sfcn.build((16, 16, 16, 1), 3, filters=(2, 8, 3, 5)), WarmStart(weights=str(path)))
    for wrong in ({}, {"run": "age_sfcn/latest", "weights": str(path)}):
        with pytest.raises(ValueError, match="expected either `run`, another run, or `weights`"):
            WarmStart(**wrong)
