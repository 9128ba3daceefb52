import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

PROGRAM = Path(__file__).with_name("synthetic.py")
TIMINGS = ["seconds", "waiting", "volumes_per_second"]


def fit(folder, code=0, **settings):
    """Runs a fit as a program of its own; gives its variables by name and its history."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(folder), json.dumps(settings)], capture_output=True, text=True
    )
    assert done.returncode == code, done.stdout + done.stderr
    weights = np.load(folder / "weights.npz")
    history = pd.read_csv(folder / "history.csv").drop(columns=TIMINGS) if (folder / "history.csv").exists() else None
    return dict(weights), history


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_two_devices_give_the_weights_of_one(tmp_path, optimizer):
    plain = {"dropout": 0.0, "epochs": 2, "size": 16, "optimizer": optimizer}
    one, history_of_one = fit(tmp_path / "one", **plain)
    two, history_of_two = fit(tmp_path / "two", devices=["CPU:0", "CPU:1"], **plain)
    assert one.keys() == two.keys()
    for name in one:
        # A bias in front of batch normalisation has no gradient but rounding, which Adam blows up to full steps. It
        # changes nothing, since the normalisation takes it out again, with the mean that it keeps of it.
        if optimizer == "sgd" or not (("conv" in name and "bias" in name) or "moving_mean" in name):
            np.testing.assert_allclose(one[name], two[name], atol=1e-5, err_msg=name)
    pd.testing.assert_frame_equal(history_of_one, history_of_two, atol=1e-4)


def test_a_fit_stopped_in_the_middle_of_an_epoch_ends_with_the_weights_of_one_never_stopped(tmp_path):
    """Also where a part of it was augmented on the host: it sees the same images."""
    settings = {"dropout": 0.5, "epochs": 2, "size": 16}
    whole, history = fit(tmp_path / "whole", **settings)
    fit(tmp_path / "stopped", code=99, stop_at=2, **settings)
    fit(tmp_path / "stopped", code=99, stop_at=3, on="host", **settings)
    resumed, resumed_history = fit(tmp_path / "stopped", **settings)
    for name in whole:
        np.testing.assert_array_equal(whole[name], resumed[name], err_msg=name)
    pd.testing.assert_frame_equal(history, resumed_history, check_exact=True)


def test_the_same_seed_gives_the_same_weights_bit_for_bit_at_64(tmp_path):
    settings = {"dropout": 0.5, "epochs": 1, "size": 64, "scans": 12, "batch_size": 3}
    first, _ = fit(tmp_path / "first", **settings)
    second, _ = fit(tmp_path / "second", **settings)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
