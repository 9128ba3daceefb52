"""`tfmri preview`: a picture of prepared scans, and of one of them as augmentation shows it to the network."""

from pathlib import Path

import numpy as np

from tfmri.augment.recipe import parse_recipe
from tfmri.experiment.schema import Experiment
from tfmri.files import whole_path
from tfmri.images.montage import montage
from tfmri.pipeline.order import sample_seeds
from tfmri.training.startup import load_tensorflow
from tfmri.workflows.cohort import load_cohort, prepare

ENLARGED = 3  # pixels of the picture for a voxel


def preview(experiment: Experiment, folder: Path, scans: int) -> list[Path]:
    """Writes `prepared.png` and `augmented.png` of the first `scans` scans into `folder`, and returns their paths."""
    cohort, _ = load_cohort(experiment)
    table = cohort.table.drop_duplicates("subject").head(scans)
    cached = prepare(table, experiment)
    images = np.stack([np.load(each.image) for each in cached])
    written = [_save(montage(images), folder / "prepared.png")]

    load_tensorflow()
    from tfmri.augment.apply import make_augment
    from tfmri.training.devices import set_up

    set_up(None, experiment.training.threads, experiment.training.deterministic, experiment.seed)
    augment = make_augment(parse_recipe(experiment.augment), experiment.image.shape, experiment.image.spacing)
    one = np.repeat(images[:1], scans, axis=0)
    seeds = np.concatenate(
        [sample_seeds([str(table["scan"].iloc[0])], experiment.seed, epoch) for epoch in range(scans)]
    )
    backgrounds = np.repeat(np.array([cached[0].background], np.float32), scans, axis=0)
    shown = np.concatenate([one[:1], augment(one, seeds, backgrounds).numpy()[:-1]])
    return [*written, _save(montage(shown), folder / "augmented.png")]


def _save(picture: np.ndarray, path: Path) -> Path:
    from PIL import Image

    image = Image.fromarray(picture)
    with whole_path(path) as beside:
        image.resize((ENLARGED * image.width, ENLARGED * image.height), Image.Resampling.BICUBIC).save(beside)
    return path
