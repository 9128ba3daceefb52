import numpy as np
import pytest

from tfmri.pipeline.dataset import batches, filled_up
from tfmri.pipeline.samples import Samples


@pytest.fixture
def samples(tmp_path):
    images = np.random.default_rng(0).normal(size=(7, 4, 5, 6, 1)).astype(np.float16)
    files = [tmp_path / f"{index}.npy" for index in range(7)]
    for file, image in zip(files, images, strict=True):
        np.save(file, image)
    return images, Samples(
        files=np.array([str(file) for file in files]),
        scans=np.array([f"sub-{index}" for index in range(7)]),
        targets=np.arange(7, dtype=np.float32),
        weights=np.linspace(0.5, 1.5, 7).astype(np.float32),
        backgrounds=-np.arange(7, dtype=np.float32)[:, None],
        shape=(4, 5, 6, 1),
    )


def test_rows_travel_with_their_image_target_weight_seed_and_background(samples):
    images, known = samples
    rows = np.array([6, 2, 5, 0, 1, 3])
    seeds = np.arange(12).reshape(6, 2)
    seen = list(batches(known, rows, seeds, batch_size=3).as_numpy_iterator())
    assert np.array_equal(np.concatenate([batch["row"] for batch in seen]), rows)
    assert np.array_equal(np.concatenate([batch["image"] for batch in seen]), images[rows])
    assert np.array_equal(np.concatenate([batch["target"] for batch in seen]), rows)
    assert np.array_equal(np.concatenate([batch["background"] for batch in seen]), -rows[:, None])
    assert np.array_equal(np.concatenate([batch["seed"] for batch in seen]), seeds)
    assert np.array_equal(np.concatenate([batch["weight"] for batch in seen]), known.weights[rows])


def test_shapes_are_static(samples):
    spec = batches(samples[1], np.arange(7), np.zeros((7, 2)), batch_size=2).element_spec
    assert spec["image"].shape == (2, 4, 5, 6, 1)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 8, 20])
def test_filling_up_keeps_every_row_in_front(batch_size):
    rows = np.arange(7)
    padded = filled_up(rows, batch_size)
    assert np.array_equal(padded[:7], rows)
    assert len(padded) % batch_size == 0
    assert len(padded) < 7 + batch_size
