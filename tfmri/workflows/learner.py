"""From settings to what learns: devices, task, model, optimizer. Mistakes show before a run is written."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tfmri.errors import InputError, Problem, did_you_mean
from tfmri.experiment.schema import Experiment
from tfmri.runs.cohort import rows_of
from tfmri.training.startup import load_tensorflow


@dataclass(frozen=True)
class Learner:
    """What is trained.

    Args:
        strategy: where the variables live.
        task: fitted to the training subjects.
        model: untrained, in the strategy's scope.
        optimizer: built for the model.
        learning_rate: the highest.
        schedule: the share of it at every step.
        jit: whether XLA compiles the training step.
        augment: (images, seeds, backgrounds) -> augmented images.
        augment_on: `device` or `host`.
        begun_with: whose weights the model has taken (`tfmri.training.warm_start.begin_with`); None where nobody's.
    """

    strategy: Any
    task: Any
    model: Any
    optimizer: Any
    learning_rate: float
    schedule: Any
    jit: bool
    augment: Any
    augment_on: str
    begun_with: dict[str, Any] | None = None

    @property
    def parameters(self) -> int:
        """How many trainable numbers the model has."""
        return sum(int(np.prod(variable.shape)) for variable in self.model.trainable_variables)

    @property
    def devices(self) -> list[str]:
        """Names such as `GPU:0`."""
        return [device.split("device:")[-1] for device in self.strategy.extended.worker_devices]


def make_learner(experiment: Experiment, table: pd.DataFrame, has_weights: bool = False) -> Learner:
    """Imports TensorFlow, sets up its devices, and builds what learns from the training rows of `table`.

    Args:
        experiment: its settings.
        table: the scans, with the split of one fit.
        has_weights: whether they will come from a checkpoint: a warm start then only freezes layers.

    Raises:
        InputError: devices that are not there, a batch they cannot share, an impossible shape or setting, a target of
            any row that the task has no code for, or a warm start from what is not there or does not fit.
    """
    load_tensorflow()
    import keras

    from tfmri.augment.apply import make_augment
    from tfmri.models.registry import build_model
    from tfmri.tasks.registry import make_task
    from tfmri.training.devices import compiles, set_up
    from tfmri.training.loop import check_devices
    from tfmri.training.optimizers import make_optimizer
    from tfmri.training.schedules import Course, make_schedule
    from tfmri.training.warm_start import begin_with, freeze, in_words

    settings, name = experiment.training, experiment.target
    _check_sampling(experiment)
    keras.utils.clear_session()  # or a layer would be named for how many fits this process has trained
    strategy = set_up(
        settings.devices,
        settings.threads,
        settings.deterministic,
        experiment.seed,
        settings.precision,
        settings.reduction,
        settings.memory_growth,
    )
    replicas = strategy.num_replicas_in_sync
    on_gpu = "GPU" in strategy.extended.worker_devices[0].upper()
    if settings.precision == "mixed_float16" and not on_gpu:
        expected = "float32 or mixed_bfloat16: on a CPU TensorFlow cannot do all in float16"
        raise InputError(Problem("training.precision", "mixed_float16, without a GPU", expected))
    check_devices(settings.batch_size, replicas, settings.accumulation)
    jit = compiles(settings.xla, strategy)
    truth = table[name].iloc[rows_of(table, "train")]
    task = make_task(experiment.targets[name].task, truth, **experiment.targets[name].settings)
    task.encode(table[name])  # for its mistakes
    _check_monitor(settings.monitor, task, truth)
    steps = len(truth) // settings.batch_size
    with strategy.scope():
        model = build_model(
            experiment.model.name,
            (*experiment.image.shape, len(experiment.image.channels)),
            task.outputs,
            initial_bias=task.initial_bias().tolist(),
            synchronized=replicas > 1,
            **experiment.model.options,
        )
        begun_with = None
        if (warm := settings.warm_start) is not None:
            tested = set(table.loc[table["split"] == "test", "subject"])
            begun_with = None if has_weights else begin_with(model, warm, tested)
            frozen = freeze(model, warm.freeze)
            if begun_with is not None:
                print(in_words(begun_with, frozen), flush=True)
        how = settings.optimizer
        scaling = settings.precision == "mixed_float16"
        optimizer = make_optimizer(how.name, how.options, model.trainable_variables, settings.ema, scaling)
    course = Course(settings.epochs, steps, settings.monitor)
    schedule = make_schedule(settings.schedule.name, settings.schedule.options, course)
    changes, image = experiment.augment, experiment.image
    augment = make_augment(changes.transforms, image.shape, image.spacing, changes.padding)
    augment_on = ("device" if on_gpu else "host") if changes.on == "auto" else changes.on
    rate = float(optimizer.learning_rate.numpy())
    return Learner(strategy, task, model, optimizer, rate, schedule, jit, augment, augment_on, begun_with)


def _check_sampling(experiment: Experiment) -> None:
    """Refuses balanced sampling of a target without classes, and of one whose loss is balanced already."""
    if experiment.training.sampling != "balanced":
        return
    target = experiment.targets[experiment.target]
    if target.classes is None:
        found = f"balanced, for the target '{experiment.target}', which has no classes"
        raise InputError(Problem("training.sampling", found, "shuffled"))
    if target.settings.get("class_weights") == "balanced":
        advice = "Keep one of them: together, scans of rare classes count twice over"
        found = f"balanced, and so is targets.{experiment.target}.class_weights"
        raise InputError(Problem("training.sampling", found, advice=advice))


def _check_monitor(monitor: str, task: Any, truth: pd.Series) -> None:
    metrics = task.metrics(truth, np.zeros((len(truth), task.outputs), np.float32))
    known = ["validation_loss", *(f"validation_{name}" for name in metrics)]
    if monitor not in known:
        expected = f"one of {', '.join(known)}"
        raise InputError(Problem("training.monitor", f"'{monitor}'", expected, did_you_mean(monitor, known)))
