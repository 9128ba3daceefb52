"""`tfmri preview`: prepared scans with their labels, and one of them as augmentation shows it to the network."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tfmri.augment.parameters import Draws, in_words, read_draws, write_draws
from tfmri.augment.recipe import Recipe, parse_recipe, weakened
from tfmri.errors import InputError, Problem
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
SCANS = 9


def preview(
    experiment: Experiment,
    name: str,
    folder: Path,
    scans: int | None,
    transform: str | None,
    replay: Path | None = None,
) -> list[Path]:
    """Draws the first `scans` subjects as they are prepared, and the first of them augmented as many times.

    Args:
        experiment: its settings.
        name: of the picture.
        folder: for the picture.
        scans: how many; None for nine, or with `replay` as many as there were.
        transform: a transform to be shown by itself, at low, middle and high strength of its ranges; None for scans
            augmented with the experiment's recipe.
        replay: a file of parameters that an earlier call has written, to be applied again.

    Returns:
        The picture, `NAME.png` or `NAME-TRANSFORM.png`, and where it shows new draws those: `NAME-parameters.json`.

    Raises:
        InputError: no such transform; parameters of another recipe, shape or scan.
    """
    if transform and replay:
        raise InputError(Problem("--replay", "not together with --transform", advice="A file holds whole recipes."))
    recipe = experiment.augment.transforms
    alone = _transform(transform, recipe) if transform else None
    grid = experiment.image.shape, experiment.image.spacing, experiment.augment.padding
    kept = read_draws(replay, recipe, *grid) if replay else None
    if scans is None:
        scans = len(kept.scans) + 1 if kept else SCANS
    cohort, _ = load_cohort(experiment)
    table = cohort.table.drop_duplicates("subject").head(scans if alone is None else 1)
    scan = str(table["scan"].iloc[0])
    if kept and set(kept.scans) != {scan}:
        found = f"drawn for {', '.join(sorted(set(kept.scans)))}"
        raise InputError(Problem(str(replay), found, f"{scan}, the first scan of {experiment.data.labels}"))
    cached = prepare(table, experiment)
    images, backgrounds = _as_seen(cached, experiment)
    captions = [_caption(row, experiment) for _, row in table.iterrows()]
    first = images[:1], backgrounds[:1]
    if alone or scans > 1:
        _set_up(experiment)
    if alone:
        path = folder / f"{name}-{str(transform).rpartition(':')[2]}.png"
        _draw(path, [_strengths(*first, scan, captions[0], alone, str(transform), experiment)])
        return [path]
    draws = kept or _draws(recipe, scan, scans - 1, experiment)
    shown = _applied(*first, draws, recipe, experiment)
    words = [in_words(recipe, draws.parameters, row) for row in range(len(draws.scans))]
    path = folder / f"{name}.png"
    sections = [
        Section(f"{name}: prepared scans", _tiles(images), captions, COLUMNS),
        Section("one of them, augmented", _tiles([images[0], *shown]), [captions[0], *words], COLUMNS),
    ]
    _draw(path, sections)
    if kept or not draws.scans:
        return [path]
    drawn = folder / f"{name}-parameters.json"
    write_draws(drawn, draws, recipe, *grid)
    return [path, drawn]


def _draw(path: Path, sections: Sequence[Section]) -> None:
    with whole_path(path) as beside:
        contact_sheet(sections).save(beside)


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


def _draws(recipe: Recipe, scan: str, count: int, experiment: Experiment) -> Draws:
    """What `scan` draws in the first `count` epochs."""
    seeds = [sample_seeds([scan], experiment.seed, epoch)[0] for epoch in range(count)]
    if not count:
        return Draws((), np.zeros((0, 2), np.int32), {})
    from tfmri.augment.apply import make_sampler

    drawn = make_sampler(recipe, experiment.image.spacing)(np.stack(seeds))
    parameters = {key: {name: value.numpy() for name, value in values.items()} for key, values in drawn.items()}
    return Draws((scan,) * count, np.stack(seeds), parameters)


def _applied(
    image: np.ndarray, background: np.ndarray, draws: Draws, recipe: Recipe, experiment: Experiment
) -> np.ndarray:
    """(n, x, y, z, channel) float32, what becomes of `image` (1, x, y, z, channel) with each of n draws."""
    count = len(draws.scans)
    if not count:
        return image[:0]
    from tfmri.augment.apply import make_applier

    apply = make_applier(recipe, experiment.image.shape, experiment.image.spacing, experiment.augment.padding)
    return apply(np.repeat(image, count, axis=0), draws.parameters, np.repeat(background, count, axis=0)).numpy()


def _set_up(experiment: Experiment) -> None:
    load_tensorflow()
    from tfmri.training.devices import set_up

    set_up(None, experiment.training.threads, experiment.training.deterministic, experiment.seed)


def _strengths(
    image: np.ndarray,
    background: np.ndarray,
    scan: str,
    caption: str,
    alone: Recipe,
    name: str,
    experiment: Experiment,
) -> Section:
    """A row a draw: the same draw at each strength."""
    images, captions = [np.repeat(image, DRAWS, axis=0)], [[f"draw {row + 1}, unchanged" for row in range(DRAWS)]]
    for word, share in STRENGTHS.items():
        recipe = tuple(weakened(each, share) for each in alone)
        draws = _draws(recipe, scan, DRAWS, experiment)
        images.append(_applied(image, background, draws, recipe, experiment))
        captions.append([f"{word}: {in_words(recipe, draws.parameters, row)}" for row in range(DRAWS)])
    title = f"{name} alone, of {caption}: the same draw at a third, two thirds and all of its ranges"
    tiles = [column[row] for row in range(DRAWS) for column in images]
    return Section(title, _tiles(tiles), [column[row] for row in range(DRAWS) for column in captions], len(images))


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
