"""`tfmri train EXP --overfit-one-batch`: whether model, loss and optimizer can learn one batch by heart. No run."""

import sys
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tfmri.cohort.splits import of_fold
from tfmri.experiment.load import find_experiment, load_experiment
from tfmri.experiment.schema import Experiment
from tfmri.images.fitted import fit_preparation
from tfmri.pipeline.order import epoch_order, sample_seeds
from tfmri.pipeline.samples import make_samples
from tfmri.runs.cohort import rows_of
from tfmri.tasks.task import Task
from tfmri.workflows.cohort import load_cohort, prepare, with_sides
from tfmri.workflows.learner import make_learner

STEPS = 300  # at most
IN_A_ROW = 10  # steps of which the mean error has to be small
SMALL = 0.1  # of the error without looking at the scans
FITS, FAILS = 0, 3  # exit codes


def overfit_one_batch(experiment_name: str, overrides: Sequence[str] = ()) -> int:
    """Trains on the first batch alone until it is fitted, and says in a sentence whether it is.

    The learning rate is the highest of the course throughout; augmentation, dropout and weight decay are off, for they
    stand in the way of learning by heart; all else is as in the experiment. Prints a line every tenth step.

    Args:
        experiment_name: a name in `experiments/`, or a path.
        overrides: `key=value`.

    Returns:
        The exit code: 0 if the mean error of ten steps in a row came down to a tenth of that without looking at the
        scans, else 3.
    """
    experiment = load_experiment(find_experiment(experiment_name), overrides)
    table = with_sides(load_cohort(experiment)[0].table, experiment)
    table = of_fold(table, experiment.folds[0])
    settings, name = experiment.training, experiment.target
    learner = make_learner(experiment, table)
    chosen = table.iloc[first_batch(table, experiment)].reset_index(drop=True)
    cached = prepare(chosen, experiment)

    import tensorflow as tf

    from tfmri.pipeline.dataset import make_distributed_reader
    from tfmri.training.step import make_train_step, step_seed

    prepared = fit_preparation(experiment.image.preparation, cached)
    samples = make_samples(chosen, cached, learner.task, name, experiment.image.shape, prepared.standard)
    _without_dropout(learner.model)
    getattr(learner.optimizer, "inner_optimizer", learner.optimizer).weight_decay = None
    train_step = make_train_step(
        learner.model,
        learner.optimizer,
        learner.task,
        learner.strategy,
        settings.batch_size,
        accumulation=settings.accumulation,
        clip_norm=settings.clip_norm,
        jit=learner.jit,
    )
    rows = np.arange(settings.batch_size)
    seeds = sample_seeds(samples.scans.tolist(), experiment.seed, 0)
    [batch] = make_distributed_reader(samples, settings.batch_size, learner.strategy)(rows, seeds)
    rate, asked = tf.constant(learner.learning_rate, tf.float32), tf.constant(0)
    without = error_without_looking(chosen[name])
    losses: list[float] = []
    errors: list[float] = []
    fits = False
    for step in range(STEPS):
        found = train_step(batch, rate, step_seed(experiment.seed, 0, step), asked)
        losses.append(float(np.mean(found["loss"])))
        if not np.isfinite(losses[-1]):
            break
        errors.append(error(learner.task, chosen[name].iloc[found["row"].numpy()], found["output"].numpy()))
        fits = len(errors) >= IN_A_ROW and float(np.mean(errors[-IN_A_ROW:])) <= SMALL * without
        if fits or step % 10 == 9:
            print(f"step {step + 1}: loss {losses[-1]:.4g}, {_measure(chosen[name], errors[-1])}", file=sys.stderr)
        if fits:
            break
    measured = f"loss {losses[0]:.3g} to {losses[-1]:.3g}"
    if errors:
        measured += f", {_measure(chosen[name], errors[0])} to {_measure(chosen[name], errors[-1], brief=True)}"
    about = f"one batch of {settings.batch_size} scans"
    if fits:
        print(f"The model can fit {about}: {measured} in {len(losses)} steps.")
        return FITS
    reason = f"after {STEPS} steps" if len(losses) == len(errors) else f"the loss was no number in step {len(losses)}"
    print(
        f"The model does not fit {about}: {measured}, {reason}. A sound model learns a batch by heart: try another "
        f"training.optimizer.learning_rate (it is {learner.learning_rate:g}) or a larger model, and look at the "
        "prepared scans (tfmri preview)."
    )
    return FAILS


def first_batch(table: pd.DataFrame, experiment: Experiment) -> np.ndarray:
    """Row numbers of the first batch of the first epoch; classes take turns in it, for there to be several."""
    order, _ = epoch_order(rows_of(table, "train"), experiment.seed, 0)
    values = table[experiment.target].iloc[order]
    if experiment.targets[experiment.target].classes is not None:
        order = order[np.argsort(values.groupby(values).cumcount().to_numpy(), kind="stable")]
    return order[: experiment.training.batch_size]


def error(task: Task, truth: pd.Series, outputs: np.ndarray) -> float:
    """The share of wrong classes, or the mean absolute error of numbers."""
    predicted = task.decode(outputs)["prediction"]
    if pd.api.types.is_numeric_dtype(predicted):
        return float(np.mean(np.abs(predicted.to_numpy() - truth.to_numpy(float))))
    return float(np.mean(predicted.to_numpy(str) != truth.to_numpy(str)))


def error_without_looking(truth: pd.Series) -> float:
    """The least `error` of one answer for all: the commonest class, or the median."""
    if pd.api.types.is_numeric_dtype(truth):
        return float(np.mean(np.abs(truth - truth.median())))
    return 1 - float(truth.value_counts(normalize=True).iloc[0])


def _measure(truth: pd.Series, value: float, brief: bool = False) -> str:
    numeric = pd.api.types.is_numeric_dtype(truth)
    number = f"{value:.3g}" if numeric else f"{1 - value:.2f}"
    return number if brief else f"{'mean absolute error' if numeric else 'accuracy'} {number}"


def _without_dropout(model) -> None:
    """Turns off every layer that drops, before the model is traced."""
    import keras

    dropping = (keras.layers.Dropout, keras.layers.GaussianDropout, keras.layers.AlphaDropout)
    for layer in model._flatten_layers():
        if isinstance(layer, dropping):
            layer.rate = 0.0
