"""Settings in sentences."""

import pandas as pd

from tfmri.evaluation.summary import UNITS
from tfmri.experiment.schema import Experiment

NORMALISED = {
    "zscore": "normalised to mean 0 and standard deviation 1 within the head or the mask",
    "percentiles": "scaled so that air is 0 and the 99.9th percentile of the head is 1",
    "mean": "divided by the mean of the volume",
    "none": "left in their own units",
    "histogram": "moved onto one intensity standard, learnt from the training scans (Nyúl and Udupa)",
}
TASKS = {
    "classification": "classification",
    "ordinal": "ordinal classification",
    "regression": "regression",
    "soft_labels": "regression by soft labels",
}
IN_UNITS = frozenset({"mae", "rmse", "mean_gap"})  # of the target
METRICS = {
    "roc_auc": "ROC AUC",
    "quadratic_kappa": "quadratic weighted kappa",
    "stage_mae": "mean absolute error in stages",
    "mcc": "Matthews correlation",
    "brier": "Brier score",
    "ece": "expected calibration error",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "r2": "R²",
    "pearson_r": "correlation r",
    "spearman_r": "Spearman's rho",
    "gap_age_r": "correlation of gap and truth",
}


def metric_in_words(name: str, target: str = "") -> str:
    """A metric of metrics.json as people call it, with the unit of the target where it has one."""
    for of_class in ("recall_", "precision_"):
        if name.startswith(of_class):
            return f"{of_class[:-1]} of {name.removeprefix(of_class)}"
    unit = f" ({UNITS[target]})" if target in UNITS and name in IN_UNITS else ""
    return METRICS.get(name, name.replace("_", " ")) + unit


def question_in_words(experiment: Experiment, table: pd.DataFrame) -> str:
    """What was asked."""
    target = experiment.targets[experiment.target]
    classes = list(target.classes or ())
    what = f"which of {', '.join(classes)} a person is" if classes else f"the {experiment.target} of a person"
    people = table.loc[table["split"] == "train", "subject"].nunique()
    return (
        f"Asked was {what} ({experiment.target}), from one MRI scan: {TASKS.get(target.task, target.task)} by the "
        f"network {experiment.model.name}, which learnt from scans of {people} people."
    )


def preparation_in_words(experiment: Experiment) -> str:
    """How scans were prepared, in the order in which it was done."""
    image = experiment.image
    steps = []
    if image.mask != "none":
        how = {"head": "to the head"}.get(image.mask, "to a mask that was given or made by another program")
        steps.append(f"masked {how}")
    if image.bias_correction == "n4":
        steps.append("corrected for the bias field (N4)")
    if image.registration == "mni152":
        steps.append("registered to the MNI152 template by an affine map")
    grid = " × ".join(str(size) for size in image.shape)
    spacing = " × ".join(f"{size:g}" for size in image.spacing)
    steps.append(f"resampled once to {grid} voxels of {spacing} mm around the head, in RAS+ orientation")
    steps.append(NORMALISED[image.normalise])
    channels = f" ({', '.join(image.channels)})" if len(image.channels) > 1 else ""
    return f"Scans{channels} were {', '.join(steps)}."


def training_in_words(experiment: Experiment, parameters: str = "") -> str:
    """What was trained, and how."""
    settings, task = experiment.training, experiment.targets[experiment.target]
    changes = [name for transform in experiment.augment.recipe for name in transform]
    augmented = f"augmented at random ({', '.join(changes)})" if changes else "not augmented"
    rate = settings.optimizer.options.get("learning_rate")
    said = [
        f"The network {experiment.model.name}{parameters} was trained for {TASKS.get(task.task, task.task)} of "
        f"{experiment.target} with {settings.optimizer.name} (learning rate {rate:g}, "
        f"schedule {settings.schedule.name}), "
        f"batches of {settings.batch_size}, for at most {settings.epochs} epochs in {settings.precision}.",
        f"It began with {'weights of another training' if settings.warm_start else 'random weights'}.",
        f"Training scans were {augmented}.",
        f"The epoch with the best {settings.monitor.replace('_', ' ')} was kept.",
    ]
    if not experiment.split.folds and experiment.seeds == 1:
        said.append("One model was trained; nothing was averaged.")
    if experiment.split.folds:
        said.append(f"{experiment.split.folds} models, each validated on another fold, were averaged.")
    if experiment.seeds > 1:
        said.append(f"Each was trained from {experiment.seeds} seeds.")
    return " ".join(said)


def split_in_words(experiment: Experiment) -> str:
    """How people were put on the sides."""
    cut = f"test {experiment.split.test:.0%}"
    cut += (
        f", {experiment.split.folds} folds"
        if experiment.split.folds
        else f", validation {experiment.split.validation:.0%}"
    )
    return (
        f"Subjects, not scans, were split ({cut}; or as a column of the labels file says), so that nobody stands on "
        f"two sides; seed {experiment.split.seed}."
    )
