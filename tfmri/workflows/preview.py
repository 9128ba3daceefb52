"""`tfmri preview`: prepared scans with their labels, and one of them as augmentation shows it to the network."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tfmri.augment.recipe import Recipe, parse_recipe, weakened
from tfmri.experiment.schema import Experiment
from tfmri.files import whole_path
from tfmri.images.cache import CachedScan
from tfmri.images.contact_sheet import Section, contact_sheet
from tfmri.images.fitted import fit_preparation
from tfmri.images.histogram import map_to_standard
from tfmri.images.montage import montage
from tfmri.pipeline.order import sample_seeds
from tfmri.training.startup import load_tensorflow
from tfmri.workflows.cohort import load_cohort, prepare

TILE = 520  # pixels that three planes side by side take at least
COLUMNS = 3
STRENGTHS = {"low": 1 / 3, "middle": 2 / 3, "high": 1.0}  # shares of a transform's ranges
DRAWS = 4  # of a transform


def preview(experiment: Experiment, name: str, folder: Path, scans: int, transform: str | None) -> Path:
    """Draws the first `scans` subjects as they are prepared, and the first of them augmented as many times.

    Args:
        experiment: its settings.
        name: of the picture.
        folder: for the picture.
        scans: how many.
        transform: a transform to be shown by itself, at low, middle and high strength of its ranges; None for scans
            augmented with the experiment's recipe.

    Returns:
        The picture, `NAME.png` or `NAME-TRANSFORM.png`.

    Raises:
        InputError: no such transform.
    """
    recipe = experiment.augment.transforms
    alone = _transform(transform, recipe) if transform else None
    cohort, _ = load_cohort(experiment)
    table = cohort.table.drop_duplicates("subject").head(scans if alone is None else 1)
    cached = prepare(table, experiment)
    images, backgrounds = _as_seen(cached, experiment)
    captions = [_caption(row, experiment) for _, row in table.iterrows()]
    first = images[:1], backgrounds[:1], str(table["scan"].iloc[0])
    if alone:
        sections = [_strengths(first, captions[0], alone, str(transform), experiment)]
    else:
        prepared = Section(f"{name}: prepared scans", _tiles(images), captions, COLUMNS)
        shown = _augmented(*first, recipe, experiment, draws=scans - 1)
        numbers = [captions[0], *(f"draw {number}" for number in range(1, scans))]
        kinds = ", ".join(next(iter(item)) for item in experiment.augment.recipe) or "no augmentation"
        augmented = Section(f"one of them, augmented: {kinds}", _tiles([images[0], *shown]), numbers, COLUMNS)
        sections = [prepared, augmented]
    path = folder / (f"{name}-{transform}.png" if alone else f"{name}.png")
    with whole_path(path) as beside:
        contact_sheet(sections).save(beside)
    return path


def _transform(name: str, recipe: Recipe) -> Recipe:
    """The transform as the experiment has it, else with its defaults."""
    (alone,) = parse_recipe([name], where="--transform")
    return tuple(each for each in recipe if type(each) is type(alone)) or (alone,)


def _as_seen(cached: Sequence[CachedScan], experiment: Experiment) -> tuple[np.ndarray, np.ndarray]:
    """(n, x, y, z, channel) float32 and (n, channel): a histogram standard is that of the scans which are shown."""
    images = np.stack([np.load(each.image) for each in cached]).astype(np.float32)
    backgrounds = np.array([each.background for each in cached], np.float32)
    standard = fit_preparation(experiment.image.preparation, cached).standard
    if standard is not None:
        for row, each in enumerate(cached):
            for channel, (own, to) in enumerate(zip(each.landmarks, standard, strict=True)):
                images[row, ..., channel] = map_to_standard(images[row, ..., channel], own, to)
                backgrounds[row, channel] = map_to_standard(backgrounds[row, channel, None], own, to)[0]
    return images, backgrounds


def _augmented(
    image: np.ndarray, background: np.ndarray, scan: str, recipe: Recipe, experiment: Experiment, draws: int
) -> np.ndarray:
    """(draws, x, y, z, channel) as the network sees `image` (1, x, y, z, channel) in as many epochs."""
    if not draws:
        return image[:0]
    load_tensorflow()
    from tfmri.augment.apply import make_augment
    from tfmri.training.devices import set_up

    set_up(None, experiment.training.threads, experiment.training.deterministic, experiment.seed)
    augment = make_augment(recipe, experiment.image.shape, experiment.image.spacing)
    seeds = np.concatenate([sample_seeds([scan], experiment.seed, epoch) for epoch in range(draws)])
    return augment(np.repeat(image, draws, axis=0), seeds, np.repeat(background, draws, axis=0)).numpy()


def _strengths(
    first: tuple[np.ndarray, np.ndarray, str], caption: str, alone: Recipe, name: str, experiment: Experiment
) -> Section:
    """A row a draw: the same draw at each strength."""
    by_strength = {
        word: _augmented(*first, tuple(weakened(each, share) for each in alone), experiment, DRAWS)
        for word, share in STRENGTHS.items()
    }
    by_strength = {"unchanged": np.repeat(first[0], DRAWS, axis=0)} | by_strength
    images = [by_strength[word][draw] for draw in range(DRAWS) for word in by_strength]
    captions = [f"draw {draw + 1}, {word}" for draw in range(DRAWS) for word in by_strength]
    title = f"{name} alone, of {caption}: the same draw at a third, two thirds and all of its ranges"
    return Section(title, _tiles(images), captions, len(by_strength))


def _tiles(images: Sequence[np.ndarray] | np.ndarray) -> list[np.ndarray]:
    from PIL import Image

    tiles = [montage(image[np.newaxis], planes="three") for image in images]
    enlarged = max(1, -(-TILE // tiles[0].shape[1]))
    size = (tiles[0].shape[1] * enlarged, tiles[0].shape[0] * enlarged)
    return [np.asarray(Image.fromarray(tile).resize(size, Image.Resampling.BICUBIC)) for tile in tiles]


def _caption(row: pd.Series, experiment: Experiment) -> str:
    value = row[experiment.target]
    shown = f"{value:.4g}" if isinstance(value, float) else str(value)
    site = f", {row['site']}" if row["site"] else ""
    return f"{row['scan']}: {experiment.target} {shown}{site}"
