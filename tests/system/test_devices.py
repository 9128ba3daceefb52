"""Training on four devices is training on one."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from fits import end, start
from test_step import RATE, SHAPE, Trial, close, small

pytestmark = pytest.mark.system


def test_four_devices_are_as_one(tmp_path):
    """SGD with synchronised normalisation; AdamW without, whose steps blow up what normalisation cancels."""
    end(start(four_devices_are_as_one, tmp_path), tmp_path)


def four_devices_are_as_one(folder):
    from tfmri.models.registry import build_model

    def normalised(replicas):
        return lambda: build_model("sfcn", SHAPE, 1, filters=[4, 4, 4], dropout=0.0, l2=0.01, synchronized=replicas > 1)

    sgd = [Trial(normalised(replicas), replicas, options={}, clip_norm=0.5) for replicas in (1, 4)]
    adamw = [Trial(small(l2=0.01), replicas, "adamw", {}, accumulation=2) for replicas in (1, 4)]
    for trials, rate in ((sgd, RATE), (adamw, 0.01)):
        for step in range(3):
            one, four = (trial.step((0, step), rate) for trial in trials)
            close([four[name] for name in one], one.values(), 1e-5)
        close(trials[1].weights(), trials[0].weights(), 1e-5)
