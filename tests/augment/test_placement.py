"""The same recipe, seed, epoch, draw and scan give the same image, whatever the batch, the device and the table."""

import dataclasses
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf

from tfmri.augment import apply
from tfmri.augment.apply import make_augment
from tfmri.augment.recipe import parse_recipe
from tfmri.cohort.table import read_labels
from tfmri.pipeline.dataset import batches
from tfmri.pipeline.order import epoch_order, sample_seeds
from tfmri.pipeline.samples import Samples

SHAPE, SPACING = (9, 12, 10), (8.0, 8.0, 10.0)
RECIPE = parse_recipe([
    {"affine": {"probability": 0.8}}, {"gamma": {"probability": 1}}, {"blur": {"probability": 0.5, "sigma": [4, 9]}},
    {"gibbs": {"probability": 0.7}}, {"noise": {"probability": 1, "sd": [0.01, 0.1]}},
])  # fmt: skip
COUNT, BATCH = 8, 4
SCANS = np.array([f"sub-{index}" for index in range(COUNT)])
IMAGES = np.random.default_rng(2).normal(size=(COUNT, *SHAPE, 1)).astype("float16")
BACKGROUNDS = np.linspace(-3, 0, COUNT).astype("float32")[:, None]


@pytest.fixture(scope="module")
def augment():
    return make_augment(RECIPE, SHAPE, SPACING)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    for scan, image in zip(SCANS, IMAGES, strict=True):
        np.save(folder / f"{scan}.npy", image)
    return Samples(
        files=np.array([str(folder / f"{scan}.npy") for scan in SCANS]),
        scans=SCANS,
        targets=np.arange(COUNT, dtype="float32"),
        weights=np.ones(COUNT, "float32"),
        backgrounds=BACKGROUNDS,
        shape=(*SHAPE, 1),
    )


def augmented(augment, rows, epoch=0, draw=0):
    return augment(IMAGES[rows], sample_seeds(SCANS[rows], 0, epoch, draw), BACKGROUNDS[rows]).numpy()


@pytest.fixture(scope="module")
def once(augment):
    """The first four scans in their order."""
    return augmented(augment, [0, 1, 2, 3])


def test_in_another_order_each_scan_gives_the_same_bits(augment, once):
    order = [2, 0, 3, 1]
    np.testing.assert_array_equal(augmented(augment, order), once[order])


def test_beside_other_scans_a_scan_gives_the_same_bits(augment, once):
    np.testing.assert_array_equal(augmented(augment, [6, 1, 5, 3])[[1, 3]], once[[1, 3]])


def test_in_a_batch_of_another_size_a_scan_gives_the_same_image(augment, once):
    np.testing.assert_allclose(augmented(augment, [2]), once[2:3], atol=1e-5)


def test_another_epoch_draw_and_scan_give_another_image(augment, once):
    for other in (augmented(augment, [0, 1, 2, 3], epoch=1), augmented(augment, [0, 1, 2, 3], draw=1)):
        assert (np.abs(other - once).mean(axis=(1, 2, 3, 4)) > 0.01).all()
    seeds = sample_seeds(SCANS, 0, 0)
    image, background = (np.repeat(each[:1], BATCH, axis=0) for each in (IMAGES, BACKGROUNDS))
    same = augment(image, seeds[:BATCH], background).numpy()
    assert (np.abs(same[1:] - same[:-1]).mean(axis=(1, 2, 3, 4)) > 0.01).all()


def test_on_the_host_batches_hold_the_bits_that_the_device_would_have_made(augment, samples):
    rows, _ = epoch_order(np.arange(COUNT), 0, 3)
    seeds = sample_seeds(SCANS[rows], 0, 3)
    on_host = batches(samples, rows, seeds, BATCH, augment)
    plain = batches(samples, rows, seeds, BATCH)
    assert on_host.element_spec["image"] == tf.TensorSpec((BATCH, *SHAPE, 1), tf.float32)
    assert plain.element_spec["image"].dtype == tf.float16
    step = tf.function(lambda batch: augment(batch["image"], batch["seed"], batch["background"]))  # as when training
    count = 0
    for there, here in zip(on_host, plain, strict=True):
        np.testing.assert_array_equal(there["image"], step(here))
        for name in ("row", "seed", "background", "target", "weight"):
            np.testing.assert_array_equal(there[name], here[name])
        count += 1
    assert count == COUNT // BATCH


@pytest.mark.parametrize("on_host", [False, True])
def test_an_epoch_taken_up_in_its_middle_goes_on_with_the_same_images(augment, samples, on_host):
    rows, _ = epoch_order(np.arange(COUNT), 7, 1)

    def images(rows):
        dataset = batches(samples, rows, sample_seeds(SCANS[rows], 7, 1), BATCH, augment if on_host else None)
        for batch in dataset.as_numpy_iterator():
            yield batch["image"] if on_host else augment(batch["image"], batch["seed"], batch["background"]).numpy()

    whole = list(images(rows))
    [rest] = images(rows[BATCH:])
    np.testing.assert_array_equal(rest, whole[1])


def test_rows_added_to_the_table_leave_the_seeds_of_those_that_were_there(tmp_path):
    rows = ["s1,a.nii.gz,30", "s2,b.nii.gz,40", "s2,c.nii.gz,41", "s3,d.nii.gz,50"]
    more = ["s0,e.nii.gz,20", *rows, "s9,f.nii.gz,60"]
    for name in "abcdef":
        (tmp_path / f"{name}.nii.gz").touch()
    seeds = []
    for name, lines in (("few.csv", rows), ("more.csv", more)):
        (tmp_path / name).write_text("\n".join(["subject,path,age", *lines]) + "\n")
        table = read_labels(tmp_path / name, {"age": None}).table
        by_seed = sample_seeds(table["scan"].to_numpy(str), 0, 5)
        seeds.append(dict(zip(table["path"], map(tuple, by_seed.tolist()), strict=True)))
    few, many = seeds
    assert len(few) == 4 and len(many) == 6
    assert {path: many[path] for path in few} == few
    assert len(set(many.values())) == 6


def test_recipes_that_differ_only_in_numbers_share_one_program(augment, once):
    affine, gamma, blur, gibbs, noise = (dataclasses.replace(each, probability=0.3) for each in RECIPE)
    affine = dataclasses.replace(affine, rotation=(-3.0, 4.0), scale=(1.0, 1.2))
    noise = dataclasses.replace(noise, probability=0.9, sd=(0.4, 0.5))
    other = (affine, dataclasses.replace(gamma, exponent=(0.5, 0.6)), blur, gibbs, noise)
    before = apply._applying.cache_info()
    result = augmented(make_augment(other, SHAPE, SPACING), [0, 1, 2, 3])
    after = apply._applying.cache_info()
    assert (after.misses, after.currsize) == (before.misses, before.currsize) and after.hits == before.hits + 1
    assert np.abs(result - once).max() > 0.01
    bare = tuple(each.without_numbers(SPACING) for each in RECIPE)
    program = apply._applying(bare, SHAPE, SPACING, "background")
    shapes = {BATCH, 1}  # of the batches that the tests of this module have shown it, in whatever selection they run
    assert program.experimental_get_tracing_count() <= len(shapes)
    before = program.experimental_get_tracing_count()
    augmented(make_augment(other, SHAPE, SPACING), [4, 5, 6, 7], epoch=2)
    assert program.experimental_get_tracing_count() == before


def test_another_list_of_transforms_or_another_grid_is_another_program():
    before = apply._applying.cache_info().currsize
    make_augment(RECIPE[:2], SHAPE, SPACING)
    make_augment(RECIPE[:2], (9, 12, 11), SPACING)
    make_augment(RECIPE[:2], SHAPE, SPACING, padding="reflect")
    assert apply._applying.cache_info().currsize == before + 3


def test_replicas_of_a_strategy_augment_as_one_device_does_on_host_and_device():
    """In a program of its own: logical devices can only be made before anything has run on the real one."""
    program = """
        import numpy as np, tensorflow as tf
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        from tfmri.augment.apply import make_augment
        from tfmri.augment.recipe import parse_recipe
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        assert strategy.num_replicas_in_sync == 2
        recipe = parse_recipe([{"affine": {"probability": 1}}, {"spike": {"probability": 0.5}},
                               {"noise": {"probability": 1, "sd": 0.1}}])
        augment = make_augment(recipe, (12, 15, 10), (8.0, 8.0, 10.0))
        batch = (np.random.default_rng(0).normal(size=(4, 12, 15, 10, 1)).astype("float16"),
                 np.arange(8, dtype="int32").reshape(4, 2), np.array([-3, -1, 0, -2], "float32"))
        one = augment(*batch).numpy()

        def both(dataset, function):
            step = tf.function(lambda *shares: strategy.run(function, shares))
            shares = step(*next(iter(strategy.experimental_distribute_dataset(dataset))))
            return np.concatenate([part.numpy() for part in strategy.experimental_local_results(shares)])

        data = tf.data.Dataset.from_tensor_slices(batch).batch(4, drop_remainder=True)
        on_device = both(data, augment)
        assert on_device.shape == one.shape and np.abs(one - batch[0]).max() > 0.1
        np.testing.assert_allclose(on_device, one, atol=1e-5)
        on_host = both(data.map(lambda *batch: (augment(*batch),)), lambda images: images)
        np.testing.assert_array_equal(on_host, one)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
