"""The training step against NumPy, and on several devices against one; each test in a process with four devices."""

from contextlib import contextmanager
from functools import cache

import numpy as np
import pytest
from fits import end, start

BATCH, SHAPE = 8, (8, 8, 8, 1)
PLAIN = {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0}  # SGD: weights - rate x gradient
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.normal(size=(BATCH, *SHAPE)).astype(np.float32)
TARGETS = RANDOM.normal(size=BATCH).astype(np.float32)
WEIGHTS = RANDOM.uniform(0.5, 2, size=BATCH).astype(np.float32)
RATE = 0.1


@pytest.mark.parametrize(
    "shown",
    [
        "a_step_is_that_of_numpy_on_the_gradient_of_the_whole_batch",
        "penalties_of_weights_count_once_and_those_of_activity_are_refused",
        "dropout_differs_between_replicas_layers_steps_and_micro_batches",
        "replicas_augment_the_same_image_differently",
        "the_running_average_is_shown_and_put_away",
        "half_precision_scales_the_loss_and_passes_over_what_overflows",
        "a_compiled_step_is_a_plain_one",
    ],
)
def test_step(tmp_path, shown):
    end(start(globals()[shown], tmp_path), tmp_path)


def test_dropout_draws_the_same_in_another_process(tmp_path):
    for name in ("one", "other"):
        end(start(masks_to_file, tmp_path / name), tmp_path / name)
    np.testing.assert_array_equal(*(np.load(tmp_path / name / "masks.npy") for name in ("one", "other")))


class Trial:
    """A model, its optimizer and its step on some logical devices."""

    def __init__(self, model, replicas=1, optimizer="sgd", options=PLAIN, ema=None, scaling=False, task=None, **step):
        import keras
        import tensorflow as tf

        from tfmri.tasks.regression import Regression
        from tfmri.training.optimizers import make_optimizer
        from tfmri.training.step import make_train_step

        if not tf.config.get_logical_device_configuration(tf.config.list_physical_devices("CPU")[0]):
            logical = [tf.config.LogicalDeviceConfiguration()] * 4
            tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], logical)
        self.strategy = strategy_of(replicas)
        self.task = task or Regression(0.0, 1.0, "mse")
        with self.strategy.scope():
            keras.utils.set_random_seed(0)
            self.model = model()
            self.optimizer = make_optimizer(optimizer, options, self.model.trainable_variables, ema, scaling)
        self._step = make_train_step(self.model, self.optimizer, self.task, self.strategy, BATCH, **step)

    def step(self, place=(0, 0), rate=RATE, images=IMAGES, targets=TARGETS, seeds=None):
        """What one step finds; `place` is epoch and step."""
        import tensorflow as tf

        from tfmri.training.step import step_seed

        batch = {
            "row": np.arange(BATCH), "image": images, "target": targets, "weight": WEIGHTS,
            "seed": np.zeros((BATCH, 2), np.int32) if seeds is None else seeds,
            "background": np.zeros(BATCH, np.float32),
        }  # fmt: skip
        share = BATCH // self.strategy.num_replicas_in_sync

        def part(context):
            first = context.replica_id_in_sync_group * share
            return {name: tf.constant(value[first : first + share]) for name, value in batch.items()}

        values = self.strategy.experimental_distribute_values_from_function(part)
        found = self._step(values, tf.constant(rate, tf.float32), step_seed(7, *place), tf.constant(0))
        assert np.array_equal(found["row"], batch["row"])
        return {name: value.numpy() for name, value in found.items()}

    def weights(self):
        """Of every device, which have to be the same."""
        found = []
        for variable in self.model.variables:
            if variable.name != "seed_generator_state":
                copies = [each.numpy() for each in self.strategy.experimental_local_results(variable.value)]
                assert all(np.array_equal(each, copies[0]) for each in copies), variable.path
                found.append(copies[0])
        return found


@cache
def strategy_of(replicas):
    """One of several devices a process: TensorFlow gives a second the collective keys of the first."""
    import tensorflow as tf

    names = [f"CPU:{number}" for number in range(replicas)]
    return tf.distribute.MirroredStrategy(names) if replicas > 1 else tf.distribute.OneDeviceStrategy(*names)


def small(**options):
    """A CNN without normalisation, whose gradient is that of the mean over images, however they are shared out."""
    import keras

    def build():
        layers = keras.layers
        penalty = keras.regularizers.L2(options["l2"]) if options.get("l2") else None
        return keras.Sequential(
            [
                keras.Input(SHAPE),
                layers.Conv3D(4, 3, activation="gelu", kernel_regularizer=penalty),
                layers.Conv3D(4, 3, activation="gelu", kernel_regularizer=penalty),
                layers.GlobalAveragePooling3D(),
                layers.Dense(1, dtype="float32", kernel_regularizer=penalty, **options.get("head", {})),
            ]
        )

    return build


def reference(trial):
    """Losses, gradients of the mean of the weighted losses of the whole batch, and weights, on one device."""
    import tensorflow as tf

    variables = trial.model.trainable_variables
    with tf.GradientTape() as tape:
        losses = trial.task.loss(TARGETS, trial.model(IMAGES))
        mean = tf.reduce_mean(losses * WEIGHTS)
    gradients = [each.numpy().astype(float) for each in tape.gradient(mean, variables)]
    return losses.numpy(), gradients, [each.numpy() for each in variables]


def close(found, expected, atol):
    """Prints how far apart, for said.txt."""
    found, expected = list(found), list(expected)
    assert len(found) == len(expected) > 0
    print(
        "apart", max(np.abs(np.asarray(a, float) - b).max() for a, b in zip(found, expected, strict=True)), flush=True
    )
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=atol, rtol=0)


def a_step_is_that_of_numpy_on_the_gradient_of_the_whole_batch(folder):
    losses, gradients, weights = reference(Trial(small()))
    norm = np.sqrt(sum((each**2).sum() for each in gradients))
    for replicas, accumulation, clip in ((1, 1, None), (1, 4, norm / 2), (2, 1, norm * 2), (2, 2, norm / 2)):
        trial = Trial(small(), replicas, accumulation=accumulation, clip_norm=clip)
        found = trial.step()
        shrink = min(1, clip / norm) if clip else 1
        close(trial.weights(), [w - RATE * shrink * g for w, g in zip(weights, gradients, strict=True)], 1e-6)
        close([found["gradient_norm"], found["loss"]], [norm, losses], 1e-6)
        assert found["penalty"] == 0


def penalties_of_weights_count_once_and_those_of_activity_are_refused(folder):
    import keras

    from tfmri.errors import InputError

    l2 = 0.3
    _, gradients, weights = reference(Trial(small(l2=l2)))
    penalty = sum(l2 * (each.astype(float) ** 2).sum() for each in weights if each.ndim > 1)
    gradients = [g + 2 * l2 * w * (w.ndim > 1) for g, w in zip(gradients, weights, strict=True)]
    norm = np.sqrt(sum((each**2).sum() for each in gradients))
    for replicas, accumulation in ((1, 4), (2, 2)):
        trial = Trial(small(l2=l2), replicas, accumulation=accumulation)
        found = trial.step()
        close(trial.weights(), [w - RATE * g for w, g in zip(weights, gradients, strict=True)], 1e-6)
        np.testing.assert_allclose([found["penalty"], found["gradient_norm"]], [penalty, norm], rtol=1e-6)

    class Sparse(keras.layers.Layer):
        def call(self, x):
            self.add_loss(keras.ops.mean(abs(x)))
            return x

    def adding():
        model = small()()
        return keras.Model(model.inputs, Sparse()(model.outputs[0]))

    for model, replicas in ((small(head={"activity_regularizer": "l2"}), 2), (adding, 1)):
        with pytest.raises(InputError, match="activity_regularizer or add_loss"):
            Trial(model, replicas, accumulation=2).step()


def masks(replicas=1, accumulation=1):
    """A trial whose outputs are what two layers of dropout make of ones: 0 and 2, (batch, layer, 256)."""
    import keras

    from tfmri.tasks.classification import Classification

    def build():
        image = keras.Input(SHAPE)
        layers = keras.layers
        x = layers.Flatten()(
            layers.MaxPooling3D(2)(layers.Conv3D(4, 1, use_bias=False, kernel_initializer="ones")(image))
        )
        inner = keras.Sequential([keras.Input((256,)), layers.Dropout(0.5)])  # of a model within the model
        return keras.Model(image, layers.Concatenate()([layers.Dropout(0.5)(x), inner(x)]))

    task = Classification(tuple(f"{number:03}" for number in range(512)), (1.0,) * 512)
    trial = Trial(build, replicas, task=task, accumulation=accumulation)

    def drawn(place):
        images, targets = np.ones_like(IMAGES), np.zeros(BATCH, np.int32)
        return trial.step(place, 0.0, images, targets)["output"].reshape(BATCH * 2, 256)

    return drawn


def apart(*arrays):
    """Every row of 256 unlike every other: of independent fair masks a share of 0.5 is the same, and sd 0.03."""
    rows = np.concatenate(arrays)
    assert set(np.unique(rows)) == {0, 2}
    same = (rows[:, None] == rows[None]).mean(-1)[~np.eye(len(rows), dtype=bool)]
    print("same", same.min(), same.max(), flush=True)
    assert same.min() > 0.3 and same.max() < 0.7


def dropout_differs_between_replicas_layers_steps_and_micro_batches(folder):
    for replicas, accumulation in ((1, 1), (2, 2)):
        drawn = masks(replicas, accumulation)
        first = drawn((0, 0))
        apart(first, drawn((0, 1)), drawn((1, 0)))
        np.testing.assert_array_equal(drawn((0, 0)), first)


def masks_to_file(folder):
    np.save(folder / "masks.npy", masks(2, 2)((3, 4)))


def replicas_augment_the_same_image_differently(folder):
    import keras

    from tfmri.augment.apply import make_augment
    from tfmri.augment.recipe import parse_recipe
    from tfmri.pipeline.order import sample_seeds
    from tfmri.tasks.classification import Classification

    augment = make_augment(
        parse_recipe([{"brightness": {"probability": 1, "factor": [0.2, 2]}}]), SHAPE[:3], (20.0,) * 3
    )
    task = Classification(tuple(f"{number:03}" for number in range(512)), (1.0,) * 512)
    seeds = sample_seeds(np.array(["sub-1"] * BATCH), 0, 0, np.arange(BATCH))  # one scan, drawn eight times

    def build():
        image = keras.Input(SHAPE)
        return keras.Model(image, keras.layers.Flatten()(keras.layers.Conv3D(1, 1, kernel_initializer="ones")(image)))

    images, targets = np.repeat(IMAGES[:1], BATCH, 0), np.zeros(BATCH, np.int32)
    one, two = (
        Trial(build, replicas, task=task, augment=augment).step((0, 0), 0.0, images, targets, seeds)
        for replicas in (1, 2)
    )
    close([two["output"]], [one["output"]], 1e-5)
    apart = np.abs(two["output"][:, None] - two["output"][None]).mean(-1)[~np.eye(BATCH, dtype=bool)]
    assert apart.min() > 0.05, apart.min()


def the_running_average_is_shown_and_put_away(folder):
    from tfmri.training.step import averaged_weights

    for replicas, scaling in ((1, False), (2, True)):
        trial = Trial(small(), replicas, "adamw", {}, ema=0.8, scaling=scaling)
        average = None
        for step in range(3):
            trial.step((0, step), 0.01)
            weights = trial.weights()
            average = weights if average is None else [0.8 * a + 0.2 * w for a, w in zip(average, weights, strict=True)]
        with pytest.raises(KeyboardInterrupt), averaged_weights(trial.model, trial.optimizer):
            close(trial.weights(), average, 1e-7)
            assert np.abs(average[0] - weights[0]).max() > 1e-3
            raise KeyboardInterrupt
        assert all(np.array_equal(a, b) for a, b in zip(trial.weights(), weights, strict=True))
    trial = Trial(small())
    with averaged_weights(trial.model, trial.optimizer):  # no average is kept
        assert all(np.array_equal(a, b) for a, b in zip(trial.weights(), Trial(small()).weights(), strict=True))


@contextmanager
def precision(name):
    import keras

    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy("float32")


def half_precision_scales_the_loss_and_passes_over_what_overflows(folder):
    exact = Trial(small(l2=0.01), clip_norm=0.5)
    exact_found = exact.step()
    for name, tolerance in (("mixed_float16", 3e-4), ("mixed_bfloat16", 3e-3)):
        scaling = name == "mixed_float16"
        after = {}
        for replicas in (1, 2):
            with precision(name):
                trial = Trial(small(l2=0.01), replicas, scaling=scaling, clip_norm=0.5)
            found = trial.step()
            assert found["output"].dtype == found["loss"].dtype == np.float32
            np.testing.assert_allclose(found["gradient_norm"], exact_found["gradient_norm"], rtol=2e-2)
            close([found["loss"]], [exact_found["loss"]], 0.05)
            close(trial.weights(), exact.weights(), tolerance)
            after[replicas] = trial.weights()
            if scaling:
                overflows(trial)
        close(after[2], after[1], tolerance)


def overflows(trial):
    """A gradient that float16 cannot hold changes nothing but the scale, which grows again after good steps."""
    optimizer, weights = trial.optimizer, trial.weights()
    optimizer.dynamic_scale.assign(2.0**40)
    found = trial.step((0, 1))
    assert not np.isfinite(found["gradient_norm"]) and np.isfinite(found["loss"]).all()
    assert all(np.array_equal(a, b) for a, b in zip(trial.weights(), weights, strict=True))
    assert float(optimizer.dynamic_scale.numpy()) == 2.0**39 and int(optimizer.iterations.numpy()) == 1
    optimizer.dynamic_scale.assign(2.0**10)
    optimizer.step_counter.assign(optimizer.dynamic_growth_steps - 1)
    assert np.isfinite(trial.step((0, 2))["gradient_norm"])
    assert float(optimizer.dynamic_scale.numpy()) == 2.0**11 and int(optimizer.iterations.numpy()) == 2
    assert not np.array_equal(trial.weights()[0], weights[0])


def a_compiled_step_is_a_plain_one(folder):
    from tfmri.errors import InputError
    from tfmri.training.devices import compiles

    plain, compiled = (
        Trial(small(l2=0.01), ema=0.9, options={}, accumulation=2, clip_norm=0.5, jit=jit) for jit in (False, True)
    )
    for step in range(2):
        found, expected = compiled.step((0, step)), plain.step((0, step))
        close([found[name] for name in expected], expected.values(), 1e-4)
    close(compiled.weights(), plain.weights(), 1e-4)
    assert compiles("on", plain.strategy) and not compiles("off", plain.strategy)
    several = Trial(small(), 2).strategy
    assert not compiles("auto", several)
    with pytest.raises(InputError, match=r"training\.xla"):
        compiles("on", several)
