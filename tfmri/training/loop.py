"""The training loop: epochs, steps, validation, checkpoints, under any tf.distribute strategy.

`keras.Model.fit` is not used: it cannot take up an epoch in its middle, and loses the state of callbacks and dropout.
Here everything that a step depends on is a function of (seed, epoch, step) or stands in the checkpoint.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from tfmri.errors import InputError, Problem
from tfmri.inference.outputs import make_predictor
from tfmri.pipeline.dataset import batches, distributed
from tfmri.pipeline.order import epoch_order, sample_seeds
from tfmri.pipeline.samples import Samples
from tfmri.training import checkpoint
from tfmri.training.callbacks.state import StatefulCallback
from tfmri.training.interruption import Interruption


@dataclass(frozen=True)
class Fitting:
    """What one fit is made of.

    Args:
        model: from (batch, x, y, z, channel) to (batch, outputs), built in the strategy's scope.
        optimizer: built for the model's trainable variables.
        task: encodes targets, has the loss and the metrics.
        augment: (images, seeds, backgrounds) -> float32 images.
        augment_on: `device`, inside the training step, or `host`, before it, where batches are read.
        samples: every scan.
        truth: (n,) the target of every scan in its own terms, classes or years.
        train_rows, validation_rows: row numbers.
        epochs, batch_size, seed: the course; the batch is over all devices together.
        strategy: where it trains.
        checkpoints: folder from which an interrupted fit goes on.
        callbacks: told of every epoch.
    """

    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    task: Any
    augment: Callable
    augment_on: str
    samples: Samples
    truth: pd.Series
    train_rows: np.ndarray
    validation_rows: np.ndarray
    epochs: int
    batch_size: int
    seed: int
    strategy: tf.distribute.Strategy
    checkpoints: Path
    callbacks: Sequence[StatefulCallback]

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in an epoch; what is left of the permutation is dropped."""
        return len(self.train_rows) // self.batch_size


@dataclass
class _Position:
    """Where training stands, and what it has collected since the epoch began."""

    epoch: int = 0
    step: int = 0  # in the epoch
    seconds: float = 0.0  # spent on the epoch's steps
    history: list[dict[str, float]] = field(default_factory=list)
    rows: list[np.ndarray] = field(default_factory=list)
    outputs: list[np.ndarray] = field(default_factory=list)
    losses: list[np.ndarray] = field(default_factory=list)


def check_devices(batch_size: int, replicas: int) -> None:
    """Refuses a batch that the devices cannot share evenly.

    Raises:
        InputError: if it is not a multiple of the number of devices.
    """
    if batch_size % replicas:
        expected = f"a multiple of {replicas}, the number of devices"
        raise InputError(Problem("training.batch_size", f"{batch_size}", expected))


def train(fitting: Fitting, interruption: Interruption) -> pd.DataFrame:
    """Trains from the newest checkpoint, or from the start, to the last epoch or until asked to stop.

    Args:
        fitting: what to train.
        interruption: asked after every step; the state is saved before the function returns.

    Returns:
        The history: one row a finished epoch.

    Raises:
        InputError: if the loss stops being a number.
    """
    train_step = _make_train_step(fitting)
    predict = make_predictor(fitting.model, fitting.samples, fitting.batch_size, fitting.strategy)
    position = _restore(fitting)
    listeners = keras.callbacks.CallbackList(list(fitting.callbacks), model=fitting.model)
    listeners.on_train_begin()
    while position.epoch < fitting.epochs:
        listeners.on_epoch_begin(position.epoch)
        _run_steps(fitting, position, train_step, listeners, interruption)
        if position.step < fitting.steps_per_epoch:
            _save(fitting, position)
            break
        position.history.append(_epoch_summary(fitting, position, predict))
        listeners.on_epoch_end(position.epoch, position.history[-1])
        position = _Position(epoch=position.epoch + 1, history=position.history)
        _save(fitting, position)
        if interruption.exit_code:
            break
    listeners.on_train_end()
    return pd.DataFrame(position.history)


def _make_train_step(fitting: Fitting) -> Callable:
    model, optimizer, task = fitting.model, fitting.optimizer, fitting.task
    strategy, batch_size = fitting.strategy, fitting.batch_size

    def on_replica(batch):
        images = batch["image"]
        if fitting.augment_on == "device":
            images = fitting.augment(images, batch["seed"], batch["background"])
        with tf.GradientTape() as tape:
            outputs = model(images, training=True)
            losses = task.loss(batch["target"], outputs)
            # Divided by the whole batch, so that the sum of the replicas' gradients is that of the batch's mean.
            loss = tf.reduce_sum(losses * batch["weight"]) / batch_size
            if model.losses:
                loss += tf.add_n(model.losses) / strategy.num_replicas_in_sync
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return batch["row"], outputs, losses

    @tf.function
    def train_step(batch):
        return strategy.run(on_replica, args=(batch,))

    return train_step


def _run_steps(fitting: Fitting, position: _Position, train_step, listeners, interruption: Interruption) -> None:
    """Runs the steps of an epoch from `position.step` on; stops early where asked to."""
    size, epoch = fitting.batch_size, position.epoch
    rows = epoch_order(fitting.train_rows, fitting.seed, epoch)[: fitting.steps_per_epoch * size]
    rows = rows[position.step * size :]
    if not len(rows):
        return
    seeds = sample_seeds(fitting.samples.scans[rows], fitting.seed, epoch)
    dataset = batches(fitting.samples, rows, seeds, size, fitting.augment if fitting.augment_on == "host" else None)
    began = monotonic()
    for batch in distributed(dataset, fitting.strategy):
        results = [fitting.strategy.experimental_local_results(each) for each in train_step(batch)]
        for collected, replicas in zip((position.rows, position.outputs, position.losses), results, strict=True):
            collected.extend(replicas)
        listeners.on_train_batch_end(position.step)
        position.step += 1
        if interruption.exit_code:
            break
    for name in ("rows", "outputs", "losses"):
        setattr(position, name, [np.asarray(each) for each in getattr(position, name)])
    position.seconds += monotonic() - began


def _epoch_summary(fitting: Fitting, position: _Position, predict: Callable) -> dict[str, float]:
    """The epoch's row of the history: losses, metrics of training and validation, rate and speed."""
    losses = np.concatenate(position.losses)
    if not np.isfinite(losses).all():
        scans = fitting.samples.scans[np.concatenate(position.rows)[~np.isfinite(losses)]]
        advice = "Lower training.optimizer.learning_rate, or look at these scans"
        found = f"the loss is not a number for {', '.join(dict.fromkeys(scans[:5]))}"
        raise InputError(Problem(f"epoch {position.epoch + 1}", found, advice=advice))
    steps = (position.epoch + 1) * fitting.steps_per_epoch
    rate = fitting.optimizer.learning_rate
    train_metrics = fitting.task.metrics(
        fitting.truth.iloc[np.concatenate(position.rows)], np.concatenate(position.outputs)
    )
    outputs = predict(fitting.validation_rows)
    targets = fitting.samples.targets[fitting.validation_rows]
    validation_loss = np.mean(fitting.task.loss(tf.constant(targets), tf.constant(outputs)))
    validation_metrics = fitting.task.metrics(fitting.truth.iloc[fitting.validation_rows], outputs)
    return {
        "epoch": position.epoch + 1,
        "step": steps,
        "learning_rate": float(rate.numpy() if hasattr(rate, "numpy") else rate),
        "loss": float(np.mean(losses)),
        **{name: float(value) for name, value in train_metrics.items()},
        "validation_loss": float(validation_loss),
        **{f"validation_{name}": float(value) for name, value in validation_metrics.items()},
        "seconds": round(position.seconds, 3),
        "volumes_per_second": round(len(losses) / position.seconds, 2),
    }


def _save(fitting: Fitting, position: _Position) -> None:
    arrays = {
        name: np.concatenate(getattr(position, name))
        for name in ("rows", "outputs", "losses")
        if getattr(position, name)
    }
    state = {
        "epoch": position.epoch,
        "step": position.step,
        "seconds": position.seconds,
        "history": position.history,
        "callbacks": {type(each).__name__: each.get_state() for each in fitting.callbacks},
    }
    total = position.epoch * fitting.steps_per_epoch + position.step
    checkpoint.save(fitting.checkpoints, total, [each.numpy() for each in _variables(fitting)], arrays, state)


def _restore(fitting: Fitting) -> _Position:
    found = checkpoint.load_newest(fitting.checkpoints)
    if found is None:
        return _Position()
    for variable, value in zip(_variables(fitting), found.variables, strict=True):
        variable.assign(value)
    for callback in fitting.callbacks:
        callback.set_state(found.state["callbacks"].get(type(callback).__name__, {}))
    position = _Position(**{name: found.state[name] for name in ("epoch", "step", "seconds", "history")})
    for name, array in found.arrays.items():
        setattr(position, name, [array])
    return position


def _variables(fitting: Fitting) -> list:
    return [*fitting.model.variables, *fitting.optimizer.variables]
