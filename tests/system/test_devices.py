"""Training on four devices is training on one."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from fits import end, start
from test_step import RATE, SHAPE, Trial, close, precision, small

pytestmark = pytest.mark.system


def test_four_devices_are_as_one(tmp_path):
    """SGD with synchronised normalisation; AdamW without, whose steps blow up what normalisation cancels."""
    end(start(four_devices_are_as_one, tmp_path), tmp_path)


def test_four_devices_are_as_one_in_half_precision(tmp_path):
    """float16 without pooling, for which TensorFlow has no such kernel on CPU."""
    end(start(four_devices_in_half_precision, tmp_path), tmp_path)


def normalised(replicas, filters=(4, 4, 4)):
    from tfmri.models.registry import build_model

    options = {"filters": list(filters), "dropout": 0.0, "l2": 0.01}
    return lambda: build_model("sfcn", SHAPE, 1, synchronized=replicas > 1, **options)


def four_devices_are_as_one(folder):
    sgd = [Trial(normalised(replicas), replicas, options={}, clip_norm=0.5) for replicas in (1, 4)]
    adamw = [Trial(small(l2=0.01), replicas, "adamw", {}, accumulation=2) for replicas in (1, 4)]
    for trials, rate in ((sgd, RATE), (adamw, 0.01)):
        for step in range(3):
            one, four = (trial.step((0, step), rate) for trial in trials)
            close([four[name] for name in one], one.values(), 1e-5)
        close(trials[1].weights(), trials[0].weights(), 1e-5)


def four_devices_in_half_precision(folder):
    for name, filters, tolerance in (("mixed_float16", (4,), 5e-4), ("mixed_bfloat16", (4, 4, 4), 1e-2)):
        with precision(name):
            scaling = name == "mixed_float16"
            one, four = (
                Trial(normalised(replicas, filters), replicas, scaling=scaling, clip_norm=0.5) for replicas in (1, 4)
            )
        for step in range(3):
            losses = [trial.step((0, step))["loss"] for trial in (one, four)]
        close(losses[1:], losses[:1], 4 * tolerance)
        close(four.weights(), one.weights(), tolerance)
