"""What TensorBoard is shown of a fit besides its curves: pictures, settings, where it runs, what to compare by."""

import json
import platform
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import yaml

from tfmri.experiment.load import dump
from tfmri.experiment.schema import Experiment
from tfmri.images.montage import montage
from tfmri.pipeline.samples import Samples
from tfmri.runs.directory import Fit, Run
from tfmri.runs.provenance import settings_of
from tfmri.tasks.task import Task
from tfmri.workflows.learner import Learner


def events(
    run: Run,
    fit: Fit,
    experiment: Experiment,
    table: pd.DataFrame,
    learner: Learner,
    samples: Samples,
    rows: np.ndarray,
) -> Any:
    """The callback that writes TensorBoard's files of a fit.

    Args:
        table: the scans of the run.
        learner, samples: what is trained, and on what.
        rows: (n,) the training scans.
    """
    from tfmri.training.callbacks.events import Events

    inputs = _augmented(samples, rows, learner.augment, experiment)
    predicted = partial(_predicted, learner.task, table[experiment.target])
    about = json.loads(run.provenance.read_text()) | {"host": platform.node(), "devices": learner.devices}
    texts = {"experiment": _as_code(dump(experiment)), "environment": _as_code(json.dumps(about, indent=2))}
    training = experiment.training
    return Events(
        fit.logs,
        steps=len(rows) // training.batch_size,
        inputs=inputs,
        predicted=predicted,
        texts=texts,
        name=f"{run.label}/{fit.path.name}",
        settings=compared_by(experiment, settings_of(run)),
        monitor=training.monitor,
        profile_steps=training.profile_steps,
    )


def compared_by(experiment: Experiment, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The settings that runs are compared by, name -> text, number or truth value.

    Those that a search sets are among them; augmentation is then called as in `overrides`, what the run was given.
    """
    training, image = experiment.training, experiment.image
    known = {
        "target": experiment.target,
        "model": experiment.model.name,
        **{f"model.{name}": _plain(value) for name, value in experiment.model.options.items()},
        "optimizer": training.optimizer.name,
        **{f"optimizer.{name}": _plain(value) for name, value in training.optimizer.options.items()},
        "schedule": training.schedule.name,
        **{f"schedule.{name}": _plain(value) for name, value in training.schedule.options.items()},
        **{
            name: _plain(getattr(training, name))
            for name in ("epochs", "batch_size", "clip_norm", "ema", "sampling", "precision")
        },
        "augment": " ".join(name for step in experiment.augment.recipe for name in step) or "none",
        "image.shape": _plain(image.shape),
        "image.spacing": _plain(image.spacing),
        "seed": experiment.seed,
    }
    given = dict(each.split("=", 1) for each in overrides)
    for key in experiment.tune.space.keys() & given.keys():
        name = key.removeprefix("training.").removesuffix(".name")
        if name not in known or name == "augment":
            known[name] = _plain(yaml.safe_load(given[key]))
    return known


def _plain(value: Any) -> Any:
    if value is None:
        return "none"
    return value if isinstance(value, str | int | float | bool) else " ".join(str(each) for each in value)


def _as_code(text: str) -> str:
    """Text that Markdown leaves as it stands."""
    return "".join(f"    {line}\n" for line in text.splitlines())


def _augmented(samples: Samples, rows: np.ndarray, augment: Callable, experiment: Experiment) -> Callable:
    """A function that draws the first batch of an epoch as the network sees it."""
    from tfmri.pipeline.dataset import make_reader
    from tfmri.pipeline.order import epoch_order, sample_seeds

    size = experiment.training.batch_size
    read = make_reader(samples, size)

    def picture(epoch: int) -> np.ndarray:
        shown = epoch_order(rows, experiment.seed, epoch)[0][:size]
        seeds = sample_seeds(samples.scans[shown], experiment.seed, epoch)
        batch = next(read(shown, seeds))
        return montage(augment(batch["image"], batch["seed"], batch["background"]).numpy())

    return picture


def _predicted(task: Task, truth: pd.Series, rows: np.ndarray, outputs: np.ndarray) -> np.ndarray | None:
    """The confusion matrix of a validation, or its predictions against the truth; (height, width, 3) uint8."""
    from matplotlib.image import imread

    from tfmri.evaluation.classification_figures import confusion_matrix
    from tfmri.evaluation.figures import predicted_vs_true

    if not np.isfinite(outputs).all():
        return None
    table = pd.DataFrame({"target": truth.name, "subject": rows, "truth": truth.iloc[rows].to_numpy()})
    table["prediction"] = task.decode(outputs)["prediction"].to_numpy()
    classes = getattr(task, "classes", None)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "validation.png"
        drawn = confusion_matrix(table, classes, path) if classes else predicted_vs_true(table, path, resamples=100)
        return (imread(drawn[0])[..., :3] * 255).round().astype(np.uint8)
