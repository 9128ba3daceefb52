"""One step of training, on one device or on many: the same gradient, to rounding, for the same batch.

The order, on every replica: its share of the batch in micro-batches, one after another; augmentation; forward and
backward; the gradients of all micro-batches and replicas summed; their norm clipped; the optimizer's step. Losses are
divided by the size of the whole batch before they are summed, so the sum is the gradient of the batch's mean.

Dropout is stateless: before each step the seed of every layer that draws is set by (experiment's seed, epoch, step),
the layer's number and the replica's. Keras alone would draw the same mask on every replica.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfmri.errors import InputError, Problem

SEED = "seed_generator_state"  # Keras' name of the variable that random layers draw by


def make_train_step(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    task: Any,
    strategy: tf.distribute.Strategy,
    batch_size: int,
    augment: Callable | None = None,
    accumulation: int = 1,
    clip_norm: float | None = None,
    jit: bool = False,
) -> Callable:
    """A function that trains on one batch.

    Args:
        model: built in the strategy's scope.
        optimizer: built for the model's trainable variables.
        task: has `loss(targets, outputs)`, (n,) float32.
        strategy: where the variables live.
        batch_size: over all replicas and micro-batches.
        augment: (images, seeds, backgrounds) -> float32 images; None where images come augmented.
        accumulation: micro-batches into which each replica cuts its share, for less memory. Batch normalisation sees a
            micro-batch at a time.
        clip_norm: the longest that the summed gradient may be; what is longer is scaled down. None for no limit.
        jit: compile the step with XLA; for one replica only.

    Returns:
        A function (batch, rate, seed, asked) -> dict. `rate` is a float32, `seed` (2,) int32 of `step_seed`, `asked` an
        int32, 1 where this process was asked to stop. Every entry is the whole batch's, the same on every replica:
        `row` (batch,), `output` (batch, outputs), `loss` (batch,), `penalty` and `gradient_norm` (before clipping)
        scalars, `asked` the number of replicas whose process was asked to stop.

    Raises:
        InputError: at the first step, where a layer adds to the loss by what it is given, not by its weights.
    """
    replicas = strategy.num_replicas_in_sync
    random_states = [each.value for each in model.non_trainable_variables if each.name == SEED]
    scaling = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)

    def backward(part):
        images = part["image"]
        if augment is not None:
            images = augment(images, part["seed"], part["background"])
        with tf.GradientTape() as tape:
            outputs = model(tf.cast(images, tf.float32), training=True)
            losses = task.loss(part["target"], outputs)
            loss = tf.reduce_sum(losses * part["weight"]) / batch_size
            penalty = tf.add_n(_penalties(model)) if model.losses else tf.constant(0.0)
            total = loss + penalty / (replicas * accumulation)
            total = optimizer.scale_loss(total) if scaling else total
        zero = tf.UnconnectedGradients.ZERO
        gradients = tape.gradient(total, model.trainable_variables, unconnected_gradients=zero)
        return gradients, {"row": part["row"], "output": outputs, "loss": losses}, penalty

    def on_replica(batch, seed, asked):
        context = tf.distribute.get_replica_context()
        _reseed(random_states, seed, context.replica_id_in_sync_group)
        gradients: Any = None
        results = []
        for part in _micro_batches(batch, accumulation):
            with tf.control_dependencies(gradients or ()):  # one after another, or all would be in memory at once
                own, seen, penalty = backward(part)
            gradients = own if gradients is None else [a + b for a, b in zip(gradients, own, strict=True)]
            results.append(seen)
        found = {name: tf.concat([each[name] for each in results], 0) for name in results[0]}
        if replicas > 1:
            gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
            found = {name: context.all_gather(value, axis=0) for name, value in found.items()}
            asked = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(asked))
        scale = tf.cast(optimizer.dynamic_scale, tf.float32) if scaling else tf.constant(1.0)
        norm = tf.linalg.global_norm([tf.cast(each, tf.float32) for each in gradients]) / scale
        shrink = 1.0 if clip_norm is None else clip_norm / tf.maximum(norm, clip_norm)
        # The optimizer sums over the replicas itself: given a share of the sum by each, it comes to the sum again.
        gradients = [each * tf.cast(shrink / replicas, each.dtype) for each in gradients]
        optimizer.apply(gradients, model.trainable_variables)
        return found | {"penalty": penalty, "gradient_norm": norm, "asked": asked}

    @tf.function(jit_compile=jit, autograph=False)
    def train_step(batch, rate, seed, asked):
        optimizer.learning_rate.assign(rate)
        found = strategy.run(on_replica, args=(batch, seed, asked))
        return {name: strategy.experimental_local_results(value)[0] for name, value in found.items()}

    return train_step


def step_seed(seed: int, epoch: int, step: int) -> np.ndarray:
    """(2,) int32, from which the layers of a step draw: a function of the experiment's seed and of place alone."""
    digest = hashlib.blake2b(f"{seed}/{epoch}/{step}".encode(), digest_size=8).digest()
    return np.frombuffer(digest, "<i4") & 0x7FFFFFFF


@contextmanager
def averaged_weights(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Inside, the model has the running average of its weights that the optimizer keeps, if it keeps one."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if not inner.use_ema:
        yield
        return
    weights = [variable.numpy() for variable in model.trainable_variables]
    inner.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, weights, strict=True):
            variable.assign(value)


def _penalties(model: keras.Model) -> list[tf.Tensor]:
    """Those of the weights. What depends on the images, Keras adds up over a batch: each share would count anew."""
    if len(model.losses) > sum(each.regularizer is not None for each in model.trainable_variables):
        expected = "penalties of weights alone, such as kernel_regularizer"
        raise InputError(Problem("model.name", "a layer with activity_regularizer or add_loss", expected))
    return model.losses


def _micro_batches(batch: dict, count: int) -> list[dict]:
    """The batch of one replica cut into `count` of equal size, in order."""
    if count == 1:
        return [batch]
    parts = {name: tf.split(value, count) for name, value in batch.items()}
    return [{name: values[index] for name, values in parts.items()} for index in range(count)]


def _reseed(states: Sequence, seed: tf.Tensor, replica: tf.Tensor) -> None:
    """Sets the seed of every random layer: streams of different layers and replicas never meet in practice."""
    for number, state in enumerate(states):
        apart = tf.stack([tf.cast(replica, tf.int32) * 0x3C6EF372, tf.constant(number * 0x1B873593 % 2**31, tf.int32)])
        state.assign(tf.cast(tf.bitwise.bitwise_and(seed + apart, 0x7FFFFFFF), state.dtype))
