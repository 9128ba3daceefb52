"""A fit killed (SIGKILL) again and again ends as one that was never killed, bit for bit."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from fits import end, fit, result, start
from synthetic import fit as fit_synthetic

pytestmark = pytest.mark.system

SETTINGS = {
    "size": 64, "filters": [4, 4, 8, 4], "scans": 12, "batch_size": 3, "epochs": 4, "dropout": 0.5, "ema": 0.9,
    "transforms": ["flip", "noise"], "on": "host", "checkpoint_seconds": 0.05,
}  # fmt: skip
KILLED = -9


def moments(random):
    """Of every kind some, each at a place of its own: so many calls from the start on, so much of a file written."""
    for moment, most in (("step", 4), ("checkpoint", 4), ("validation", 2), ("model", 1), ("seconds", 1)) * 4:
        yield {"moment": moment, "count": int(random.integers(1, most + 1)), "share": float(random.uniform(0.02, 0.98))}


def test_a_fit_killed_at_twenty_moments_ends_with_the_bits_of_one_never_killed(tmp_path):
    whole, history = fit(tmp_path / "whole", **SETTINGS)
    killed, often = tmp_path / "killed", 0
    for moment in moments(np.random.default_rng(5)):
        if (killed / "weights.npz").exists():  # it came to its end: once more from the start
            killed = tmp_path / f"killed-{often}"
        if moment["moment"] == "seconds":
            moment["share"] = 1 + 4 * moment["share"]
        process = start(fit_synthetic, killed, kill=moment, **SETTINGS)
        often += end(process, killed, code=None) == KILLED
    assert often >= 16
    for folder in {killed, tmp_path / "killed"}:
        resumed, resumed_history = fit(folder, **SETTINGS) if not (folder / "weights.npz").exists() else result(folder)
        for name in whole:
            np.testing.assert_array_equal(whole[name], resumed[name], err_msg=name)
        pd.testing.assert_frame_equal(history, resumed_history, check_exact=True)
        for file in ("weights.npz", "predictions.npy"):
            assert (folder / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
