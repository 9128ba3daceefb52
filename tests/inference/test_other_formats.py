import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmri.errors import InputError
from tfmri.images.fitted import FittedPreparation
from tfmri.images.prepare import STEPS_VERSION, Preparation
from tfmri.inference.model_file import Carried
from tfmri.inference.other_formats import load_onnx, load_saved_model, models_in
from tfmri.models.registry import build_model

CARRIED = Carried(
    FittedPreparation(Preparation((8, 8, 8), (32, 32, 32)), None, STEPS_VERSION),
    "age",
    {"task": "regression", "mean": 50.0, "sd": 10.0, "penalty": "mae", "delta": 1.0},
    usual={"width_mm": (140.0, 170.0)},
)
IMAGES = np.random.default_rng(0).normal(size=(3, 32, 32, 32, 1)).astype(np.float32)


def entry(**changes) -> dict:
    known = dataclasses.asdict(CARRIED) | {"prepared": CARRIED.prepared.to_config()}
    return json.loads(json.dumps({"fit": "whole", **known, **changes}))


def describe(folder, *entries) -> None:
    (folder / "about.json").write_text(json.dumps(list(entries)))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("small_cnn", {"filters": [4]}),
        ("sfcn", {"filters": [2, 2, 2, 2, 2, 2]}),
        ("cole", {"filters": [2, 2], "activation": "elu"}),
        ("resnet10", {"filters": [2, 2, 2, 4], "se": 2, "activation": "silu"}),
        ("convnext", {"filters": [2, 4], "blocks": [1, 1], "kernel": 3, "layer_scale": 1.0}),
        ("vit", {"width": 8, "depth": 2, "heads": 2}),
    ],
)
def test_a_saved_model_is_of_operations_that_compute_and_says_the_same(name, options, tmp_path):
    keras.utils.set_random_seed(0)
    model = build_model(name, IMAGES.shape[1:], 2, **options)
    model.export(tmp_path / "whole", format="tf_saved_model", verbose=False)
    describe(tmp_path, entry())
    ((fit, path, carried),) = models_in(tmp_path)
    assert fit == "whole" and carried == CARRIED
    forward = load_saved_model(path)
    np.testing.assert_allclose(forward(IMAGES), model(IMAGES, training=False), atol=1e-5)
    np.testing.assert_allclose(forward(IMAGES[:1]), model(IMAGES[:1], training=False), atol=1e-5)


class Harmful(tf.Module):
    """A program that does more than compute: of one kind, in a function within a function or in its beginning."""

    def __init__(self, kind: str, file: str):
        super().__init__()
        self.kind, self.file = kind, file

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32)])
    def serve(self, images):
        return tf.cond(tf.reduce_sum(images) > 0, lambda: self.inner(images), lambda: images)

    @tf.function
    def inner(self, images):
        if self.kind == "WriteFile":
            tf.io.write_file(self.file, "harm")
        elif self.kind == "ReadFile":
            return images + tf.cast(tf.strings.length(tf.io.read_file(self.file)), tf.float32)
        elif self.kind == "EagerPyFunc":
            return tf.py_function(lambda given: given, [images], tf.float32)
        elif self.kind == "PrintV2":
            tf.print("harm", output_stream=f"file://{self.file}")
        return images


@pytest.mark.parametrize("kind", ["WriteFile", "ReadFile", "EagerPyFunc", "PrintV2"])
def test_a_saved_model_that_does_more_than_compute_is_refused_and_not_run(kind, tmp_path):
    model = Harmful(kind, str(tmp_path / "harm"))
    tf.saved_model.save(model, str(tmp_path / "model"), signatures={"serve": model.serve})
    with pytest.raises(InputError, match=f"{kind}, which may do more than compute"):
        load_saved_model(tmp_path / "model")
    assert not (tmp_path / "harm").exists()


def test_damaged_models_and_descriptions_are_told_in_a_sentence(tmp_path):
    (tmp_path / "whole").mkdir()
    for content in (None, b"no model", b""):
        if content is not None:
            (tmp_path / "whole" / "saved_model.pb").write_bytes(content)
        with pytest.raises(InputError, match="no SavedModel"):
            load_saved_model(tmp_path / "whole")
    for text in ("{", "{}", "[]", "[1]", '[{"fit": "whole"}]'):
        (tmp_path / "about.json").write_text(text)
        with pytest.raises(InputError, match="cannot be read"):
            models_in(tmp_path)
    describe(tmp_path, entry(usual=3))
    with pytest.raises(InputError, match="cannot be read"):
        models_in(tmp_path)
    for name in ("other", "../whole", ""):
        describe(tmp_path, entry(fit=name))
        with pytest.raises(InputError, match="there is no"):
            models_in(tmp_path)
    describe(tmp_path, entry(prepared=CARRIED.prepared.to_config() | {"steps_version": 0}))
    with pytest.raises(InputError, match="version 0 of the steps"):
        models_in(tmp_path)


@pytest.mark.filterwarnings("ignore:In the future `np.object`:FutureWarning")  # Keras asks for a name of old
@pytest.mark.parametrize(
    ("name", "options"),
    [("small_cnn", {"filters": [4, 8]}), ("sfcn", {"filters": [2, 2, 2, 2, 2, 2]})],
)
def test_an_onnx_file_says_the_same(name, options, tmp_path):
    pytest.importorskip("tf2onnx")
    pytest.importorskip("onnxruntime")
    keras.utils.set_random_seed(0)
    model = build_model(name, IMAGES.shape[1:], 2, **options)
    expected = model(IMAGES, training=False)
    model.export(tmp_path / "whole.onnx", format="onnx", verbose=False)
    forward = load_onnx(tmp_path / "whole.onnx")
    np.testing.assert_allclose(forward(IMAGES), expected, atol=1e-5)
    np.testing.assert_allclose(forward(IMAGES[:1]), expected[:1], atol=1e-5)


def test_a_damaged_onnx_file_is_told_in_a_sentence(tmp_path):
    pytest.importorskip("onnxruntime")
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(InputError, match="no ONNX file"):
        load_onnx(tmp_path / "bad.onnx")
