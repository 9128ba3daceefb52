import numpy as np
import pandas as pd
from fits import end, fit, start
from synthetic import fit as fit_synthetic


def same(one, other, but=(), atol=1e-5):
    assert one.keys() == other.keys()
    for name in one:
        if not any(part in name for part in but):
            np.testing.assert_allclose(one[name], other[name], atol=atol, rtol=0, err_msg=name)


def test_two_devices_give_the_weights_of_one(tmp_path):
    """With synchronised normalisation, micro-batches, clipping (the gradient is longer), L2 and a running average."""
    settings = {
        "optimizer": "sgd", "options": {"learning_rate": 0.05}, "batch_size": 8, "scans": 24, "accumulation": 2,
        "clip_norm": 0.5, "l2": 1e-3, "ema": 0.5, "transforms": ["flip"],
    }  # fmt: skip
    one, history_of_one = fit(tmp_path / "one", **settings)
    two, history_of_two = fit(tmp_path / "two", devices=["CPU:0", "CPU:1"], **settings)
    same(one, two)
    assert (history_of_one["gradient_norm"] > 0.5).all()
    pd.testing.assert_frame_equal(history_of_one, history_of_two, atol=1e-5)


def test_a_fit_stopped_in_the_middle_of_an_epoch_ends_with_the_weights_of_one_never_stopped(tmp_path):
    """Also where a part of it was augmented on the host: it sees the same images."""
    settings = {"dropout": 0.5, "epochs": 2, "ema": 0.9, "transforms": ["flip", "noise"]}
    whole, history = fit(tmp_path / "whole", **settings)
    fit(tmp_path / "stopped", code=99, stop_at=2, **settings)
    fit(tmp_path / "stopped", code=99, stop_at=3, stop_with="SIGUSR2", on="host", **settings)
    fit(tmp_path / "stopped", code=130, stop_at=1, stop_with="SIGINT", **settings)
    resumed, resumed_history = fit(tmp_path / "stopped", **settings)
    same(whole, resumed, atol=0)
    pd.testing.assert_frame_equal(history, resumed_history, check_exact=True)


def test_the_state_of_another_model_is_refused_in_words(tmp_path):
    fit(tmp_path, code=99, stop_at=1)
    end(start(fit_synthetic, tmp_path, filters=[8, 8, 4]), tmp_path, code=1)
    assert "this is the state of another model or optimizer" in (tmp_path / "said.txt").read_text()


def test_the_same_seed_gives_the_same_weights_bit_for_bit_at_64(tmp_path):
    settings = {"dropout": 0.5, "epochs": 1, "size": 64, "scans": 12, "batch_size": 3, "transforms": ["flip", "noise"]}
    first, _ = fit(tmp_path / "first", **settings)
    second, _ = fit(tmp_path / "second", **settings)
    same(first, second, atol=0)
