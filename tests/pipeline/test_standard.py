"""The graph's histogram standardisation against NumPy's, and both ways of a scan into a model against each other."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tfmri.images import histogram
from tfmri.images.cache import ScanFiles, prepare_scans
from tfmri.images.fitted import FittedPreparation, fit_preparation
from tfmri.images.prepare import Preparation, prepare_files
from tfmri.pipeline.dataset import batches
from tfmri.pipeline.samples import make_samples
from tfmri.pipeline.standard import map_to_standard
from tfmri.tasks.regression import Regression

PREPARATION = Preparation((9, 9, 9), (20, 22, 20), "histogram", channels=2)


@pytest.mark.parametrize("seed", range(5))
def test_the_graph_gives_the_very_numbers_that_numpy_gives(seed):
    rng = np.random.default_rng(seed)
    own, standard = (np.sort(rng.normal(size=(3, 11)), axis=1).astype(np.float32) for _ in range(2))
    image = (3 * rng.normal(size=(9, 8, 7, 3))).astype(np.float16)  # beyond the outermost landmarks too
    image[0, 0, :, 0] = own[0, :7]
    expected = [
        histogram.map_to_standard(image[..., channel].astype(np.float32), own[channel], standard[channel])
        for channel in range(3)
    ]
    moved = map_to_standard(tf.constant(image), tf.constant(own), tf.constant(standard))
    assert moved.dtype == tf.float16
    np.testing.assert_array_equal(moved, np.stack(expected, axis=-1).astype(np.float16))


@pytest.fixture
def scans(tmp_path):
    """Five heads of two channels, the contrast of each another power of the same one."""
    x, y, z = np.indices((20, 20, 20)) - 9.5
    distance = np.sqrt(x**2 + y**2 / 1.2 + z**2)
    rng, paths = np.random.default_rng(0), []
    for number in range(5):
        grey = np.clip(1.1 - distance / 9, 0, 1) * (distance < 8) + 0.02 * rng.random((20, 20, 20))
        pair = tmp_path / f"{number}-t1.nii", tmp_path / f"{number}-t2.nii"
        for path, exponent in zip(pair, (0.5 + 0.3 * number, 2.0 - 0.3 * number), strict=True):
            nib.save(nib.Nifti1Image((1000 * grey**exponent).astype(np.float32), np.diag([9.0, 9, 9, 1])), path)
        paths.append(pair)
    return paths


def test_the_pipeline_and_one_file_by_itself_come_to_the_same_image(tmp_path, scans):
    cached = prepare_scans([ScanFiles(pair) for pair in scans], PREPARATION, tmp_path / "cache", 1, shown=False)
    fitted = fit_preparation(PREPARATION, cached[:3])
    kept = FittedPreparation.from_config(fitted.to_config())
    np.testing.assert_array_equal(kept.standard, fitted.standard)
    assert (kept.preparation, kept.steps_version) == (fitted.preparation, fitted.steps_version)

    table = pd.DataFrame({"scan": list("abcde"), "age": [20.0, 30, 40, 50, 60]})
    task = Regression.fit(table["age"])
    samples = make_samples(table, cached, task, "age", PREPARATION.shape, fitted.standard)
    rows = np.array([4, 0, 3, 1, 2])
    seen = list(batches(samples, rows, np.zeros((5, 2)), 1).as_numpy_iterator())
    for row, batch in zip(rows, seen, strict=True):
        alone = prepare_files(scans[row], None, kept.preparation, kept.standard)
        np.testing.assert_array_equal(batch["image"][0], alone.image)
        np.testing.assert_array_equal(batch["background"][0], np.float32(alone.background))
        unmoved = np.load(cached[row].image)
        assert np.abs(unmoved.astype(np.float32) - alone.image).max() > 0.05


def test_the_standard_is_of_the_training_scans_alone_and_brings_scans_together(tmp_path, scans):
    cached = prepare_scans([ScanFiles(pair) for pair in scans], PREPARATION, tmp_path / "cache", 1, shown=False)
    before = [scan.image.read_bytes() for scan in cached]
    fitted = fit_preparation(PREPARATION, cached[:3])
    expected = histogram.fit_standard([scan.landmarks[1] for scan in cached[:3]])
    np.testing.assert_array_equal(fitted.standard[1], expected)
    assert not np.array_equal(fit_preparation(PREPARATION, cached).standard, fitted.standard)
    assert [scan.image.read_bytes() for scan in cached] == before  # nothing that is fitted is in the cache
    medians = np.array([scan.landmarks[:, 5] for scan in cached])
    moved = [
        np.median(image[image > -0.9])
        for image in (prepare_files(pair, None, PREPARATION, fitted.standard).image[..., 0] for pair in scans)
    ]
    assert np.std(moved) < 0.5 * medians[:, 0].std()


def test_without_a_histogram_there_is_no_standard():
    fitted = fit_preparation(Preparation((9, 9, 9), (20, 22, 20)), [])
    assert fitted.standard is None
    assert FittedPreparation.from_config(fitted.to_config()).standard is None
