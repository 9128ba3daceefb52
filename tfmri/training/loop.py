"""The training loop: epochs, steps, validation, checkpoints, under any tf.distribute strategy.

`keras.Model.fit` is not used: it cannot take up an epoch in its middle, and loses the state of callbacks and dropout.
Here everything that a step depends on is a function of (seed, epoch, step) and of the history, or stands in the
checkpoint.
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
from tfmri.pipeline.dataset import Reader, make_distributed_reader
from tfmri.pipeline.order import epoch_order, sample_seeds
from tfmri.pipeline.samples import Samples
from tfmri.training import checkpoint
from tfmri.training.callbacks.state import StatefulCallback
from tfmri.training.deadline import Deadline
from tfmri.training.devices import worker_count, worker_index
from tfmri.training.interruption import REQUEUE, Interruption
from tfmri.training.schedules import Schedule, at_end
from tfmri.training.step import averaged_weights, make_train_step, step_seed

COLLECTED = ("row", "output", "loss", "penalty", "gradient_norm")  # of every step, until the epoch ends


@dataclass(frozen=True)
class Fitting:
    """What one fit is made of.

    Args:
        model: from (batch, x, y, z, channel) to (batch, outputs), built in the strategy's scope.
        optimizer: built for the model's trainable variables.
        learning_rate: the highest; `schedule` gives the share of it for every step.
        schedule: see `tfmri.training.schedules`.
        task: encodes targets, has the loss and the metrics.
        augment: (images, seeds, backgrounds) -> float32 images.
        augment_on: `device`, inside the training step, or `host`, before it, where batches are read.
        samples: every scan.
        truth: (n,) the target of every scan in its own terms, classes or years.
        train_rows, validation_rows: row numbers.
        epochs, batch_size, seed: the course; the batch is over all devices together.
        strategy: where it trains.
        checkpoints: folder from which an interrupted fit goes on.
        callbacks: told of every step and epoch.
        monitor: the column of the history that chooses the best epoch.
        patience: epochs without a better one after which it stops; None to run through all.
        balanced: whether each epoch draws every class equally often.
        accumulation, clip_norm, jit: see `make_train_step`.
        checkpoint_seconds: at most so long from one checkpoint to the next.
        deadline: by when it has to have left.
    """

    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    learning_rate: float
    schedule: Schedule
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
    monitor: str = "validation_loss"
    patience: int | None = None
    balanced: bool = False
    accumulation: int = 1
    clip_norm: float | None = None
    jit: bool = False
    checkpoint_seconds: float = 900.0
    deadline: Deadline = field(default_factory=lambda: Deadline(None))

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in an epoch; what is left of the permutation is dropped."""
        return len(self.train_rows) // self.batch_size

    @property
    def workers(self) -> int:
        """How many processes train together, each with devices of its own."""
        return worker_count(self.strategy)


@dataclass
class _Position:
    """Where training stands, and what it has collected since the epoch began."""

    epoch: int = 0
    step: int = 0  # in the epoch
    seconds: float = 0.0  # spent on the epoch's steps
    waited: float = 0.0  # of these, for data
    history: list[dict[str, float]] = field(default_factory=list)
    collected: dict[str, list[np.ndarray]] = field(default_factory=lambda: {name: [] for name in COLLECTED})


def check_devices(batch_size: int, replicas: int, accumulation: int = 1) -> None:
    """Refuses a batch that the devices and their micro-batches cannot share evenly.

    Raises:
        InputError: if it is not a multiple of the number of devices times that of micro-batches.
    """
    if batch_size % (replicas * accumulation):
        parts = f"the number of devices{' times training.accumulation' if accumulation > 1 else ''}"
        expected = f"a multiple of {replicas * accumulation}, {parts}"
        raise InputError(Problem("training.batch_size", f"{batch_size}", expected))


def train(fitting: Fitting, interruption: Interruption) -> pd.DataFrame:
    """Trains from the newest checkpoint, or from the start, to the last epoch or until asked to stop.

    Args:
        fitting: what to train.
        interruption: asked after every step; the state is saved before the function returns.

    Returns:
        The history: one row a finished epoch. `interruption.exit_code` tells whether it was asked to stop.

    Raises:
        InputError: if the loss stops being a number.
    """
    train_step = make_train_step(
        fitting.model,
        fitting.optimizer,
        fitting.task,
        fitting.strategy,
        fitting.batch_size,
        fitting.augment if fitting.augment_on == "device" else None,
        fitting.accumulation,
        fitting.clip_norm,
        fitting.jit,
    )
    host_augment = fitting.augment if fitting.augment_on == "host" else None
    read = make_distributed_reader(
        fitting.samples, fitting.batch_size, fitting.strategy, host_augment, fitting.accumulation
    )
    predict = make_predictor(fitting.model, fitting.samples, fitting.batch_size, fitting.strategy)
    position = _restore(fitting)
    listeners = keras.callbacks.CallbackList(list(fitting.callbacks), model=fitting.model)
    listeners.on_train_begin()
    course = fitting.epochs, fitting.patience, fitting.monitor
    while position.epoch < fitting.epochs and (position.step or not at_end(position.history, *course)):
        listeners.on_epoch_begin(position.epoch)
        try:
            _run_steps(fitting, position, read, train_step, listeners, interruption)
        except InputError:
            listeners.on_train_end()
            raise
        if position.step < fitting.steps_per_epoch or interruption.exit_code:
            break
        with averaged_weights(fitting.model, fitting.optimizer):
            position.history.append(_epoch_summary(fitting, position, predict))
            listeners.on_epoch_end(position.epoch, position.history[-1])
        position = _Position(epoch=position.epoch + 1, history=position.history)
        _save(fitting, position)
        if fitting.workers == 1 and interruption.exit_code:  # several processes leave together, after a step
            break
    listeners.on_train_end()
    return pd.DataFrame(position.history)


def finished(fitting: Fitting, history: pd.DataFrame) -> bool:
    """Whether a history is that of a training that has come to its end."""
    rows: Any = history.to_dict("records")
    return at_end(rows, fitting.epochs, fitting.patience, fitting.monitor)


def _run_steps(
    fitting: Fitting, position: _Position, read: Reader, train_step, listeners, interruption: Interruption
) -> None:
    """Runs the steps of an epoch from `position.step` on; stops early, saved, where asked to.

    A step's results are read while the next one runs, so that a GPU never waits for this loop.
    """
    size, epoch, deadline = fitting.batch_size, position.epoch, fitting.deadline
    classes = fitting.truth.to_numpy() if fitting.balanced else None
    rows, draws = epoch_order(fitting.train_rows, fitting.seed, epoch, classes)
    first, last = position.step * size, fitting.steps_per_epoch * size
    rows, draws = rows[first:last], draws[first:last]
    if not len(rows):
        return
    seeds = sample_seeds(fitting.samples.scans[rows], fitting.seed, epoch, draws)
    saved = began = monotonic()
    source = iter(read(rows, seeds))
    unread, rate_before = None, 0.0
    for step in range(position.step, fitting.steps_per_epoch):
        asked_at = monotonic()
        batch = next(source)
        position.waited += monotonic() - asked_at
        number = epoch * fitting.steps_per_epoch + step
        rate = fitting.learning_rate * fitting.schedule(number, position.history)
        asked = tf.constant(int(_asked(fitting, interruption)))
        listeners.on_train_batch_begin(step)
        with tf.profiler.experimental.Trace("train", step_num=number + 1, _r=1):  # tells the profiler what a step is
            found = train_step(batch, tf.constant(rate, tf.float32), step_seed(fitting.seed, epoch, step), asked)
        if unread is not None:
            _read(fitting, position, unread, rate_before, listeners)
        unread, rate_before = found, rate
        deadline.longest_pause = max(deadline.longest_pause, monotonic() - asked_at)
        leave = bool(found["asked"]) if fitting.workers > 1 else _asked(fitting, interruption)
        if leave or step == fitting.steps_per_epoch - 1 or monotonic() - saved > fitting.checkpoint_seconds:
            _read(fitting, position, unread, rate, listeners)
            unread = None
            position.seconds, began = position.seconds + monotonic() - began, monotonic()
            if position.step < fitting.steps_per_epoch or leave:
                _save(fitting, position)
                saved = monotonic()
        if leave:
            interruption.exit_code = interruption.exit_code or REQUEUE
            return


def _asked(fitting: Fitting, interruption: Interruption) -> bool:
    """Whether this process was asked to stop, or has to leave now to be gone by its deadline."""
    return bool(interruption.exit_code) or fitting.deadline.near()


def _read(fitting: Fitting, position: _Position, found: dict, rate: float, listeners) -> None:
    """Takes in what a step found, and refuses to go on from a loss or a gradient that is not a number."""
    values = {name: np.asarray(found[name]) for name in COLLECTED}
    finite = np.isfinite(values["loss"])
    scaling = isinstance(fitting.optimizer, keras.optimizers.LossScaleOptimizer)
    if not finite.all() or not (np.isfinite(values["gradient_norm"]) or scaling):
        scans = fitting.samples.scans[values["row"][~finite] if not finite.all() else values["row"]]
        what = "gradient" if finite.all() else "loss"
        found_text = f"the {what} is not a number for {', '.join(dict.fromkeys(scans))}"
        advice = (
            "Look at these scans, or lower training.optimizer.learning_rate or set training.clip_norm in a new run; "
            "the last checkpoint before it is kept"
        )
        raise InputError(Problem(f"epoch {position.epoch + 1}, step {position.step + 1}", found_text, advice=advice))
    for name, value in values.items():
        position.collected[name].append(value)
    logs = {
        "loss": float(np.mean(values["loss"]) + values["penalty"]),
        "gradient_norm": float(values["gradient_norm"]),
        "learning_rate": rate,
    }
    listeners.on_train_batch_end(position.step, logs)
    position.step += 1


def _epoch_summary(fitting: Fitting, position: _Position, predict: Callable) -> dict[str, float]:
    """The epoch's row of the history: losses, metrics of training and validation, rate and speed."""
    began = monotonic()
    rows, outputs, losses = (np.concatenate(position.collected[name]) for name in ("row", "output", "loss"))
    norms = _joined(position.collected["gradient_norm"])
    train_metrics = fitting.task.metrics(fitting.truth.iloc[rows], outputs)
    validation_outputs = predict(fitting.validation_rows)
    for callback in fitting.callbacks:
        callback.on_validation(fitting.validation_rows, validation_outputs)
    targets = fitting.samples.targets[fitting.validation_rows]
    validation_loss = np.mean(fitting.task.loss(tf.constant(targets), tf.constant(validation_outputs)))
    validation_metrics = fitting.task.metrics(fitting.truth.iloc[fitting.validation_rows], validation_outputs)
    penalty = float(tf.add_n(fitting.model.losses)) if fitting.model.losses else 0.0
    fitting.deadline.longest_pause = max(fitting.deadline.longest_pause, monotonic() - began)
    return {
        "epoch": position.epoch + 1,
        "step": (position.epoch + 1) * fitting.steps_per_epoch,
        "learning_rate": float(fitting.optimizer.learning_rate.numpy()),
        "loss": float(np.mean(losses) + np.mean(_joined(position.collected["penalty"]))),
        **{name: float(value) for name, value in train_metrics.items()},
        "validation_loss": float(validation_loss + penalty),
        **{f"validation_{name}": float(value) for name, value in validation_metrics.items()},
        "gradient_norm": float(np.mean(norms[np.isfinite(norms)])) if np.isfinite(norms).any() else float("nan"),
        "seconds": round(position.seconds, 3),
        "waiting": round(position.waited / position.seconds, 4),
        "volumes_per_second": round(len(losses) / position.seconds, 2),
    }


def _save(fitting: Fitting, position: _Position) -> None:
    """Writes the checkpoint, in the first of several processes."""
    if worker_index(fitting.strategy):
        return
    began = monotonic()
    arrays = {name: _joined(values) for name, values in position.collected.items() if values}
    state = {
        "epoch": position.epoch,
        "step": position.step,
        "seconds": position.seconds,
        "waited": position.waited,
        "history": position.history,
        "callbacks": {type(each).__name__: each.get_state() for each in fitting.callbacks},
    }
    total = position.epoch * fitting.steps_per_epoch + position.step
    checkpoint.save(fitting.checkpoints, total, [each.numpy() for each in _variables(fitting)], arrays, state)
    fitting.deadline.longest_save = max(fitting.deadline.longest_save, monotonic() - began)


def _joined(values: list[np.ndarray]) -> np.ndarray:
    """One array of what the steps gave: rows of the batches one after another, scalars as a vector."""
    return np.concatenate([np.atleast_1d(value) for value in values])


def _restore(fitting: Fitting) -> _Position:
    found = checkpoint.load_newest(fitting.checkpoints)
    if found is None:
        return _Position()
    variables = _variables(fitting)
    shapes = [tuple(each.shape) for each in variables], [value.shape for value in found.variables]
    if shapes[0] != shapes[1]:
        advice = "Put the model's code back as it was, or begin a new run"
        raise InputError(
            Problem(str(fitting.checkpoints), "this is the state of another model or optimizer", advice=advice)
        )
    for variable, value in zip(variables, found.variables, strict=True):
        variable.assign(value)
    for callback in fitting.callbacks:
        callback.set_state(found.state["callbacks"].get(type(callback).__name__, {}))
    position = _Position(**{name: found.state[name] for name in ("epoch", "step", "seconds", "waited", "history")})
    for name, array in found.arrays.items():
        position.collected[name] = [array]
    return position


def _variables(fitting: Fitting) -> list:
    return [*fitting.model.variables, *fitting.optimizer.variables]
