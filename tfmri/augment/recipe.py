"""Recipes: which transforms a batch goes through, how often, and in what ranges. Plain data; no TensorFlow here.

A recipe is a tuple of transforms, in the order in which they happen to a scan. Spatial ones come first, whatever their
place in the list: they are composed into one resampling (coordinates.py). `probability` is decided per sample. Lengths
are in mm, angles in degrees, intensities in shares of the scan's own range (its maximum minus its minimum), so that a
recipe means the same whatever the resolution and the normalisation.

In an experiment file::

    augment: standard
    augment: [flip, {affine: {rotation: 5, scale: [0.95, 1.05]}}, {noise: {probability: 1, sd: 0.05}}]

The named recipes are the files of `recipes/`, written in the same way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

from tfmri.augment.settings import RefusedError
from tfmri.augment.transform import IntensityTransform, SpatialTransform, Transform, ranges_of, settings_of
from tfmri.augment.transforms import acquisition, intensity, spatial
from tfmri.errors import InputError, Problem, did_you_mean
from tfmri.options import load_named

Recipe = tuple[Transform, ...]

# The names key the random draws (sampling.py): renaming a transform changes what it draws.
TRANSFORMS: dict[str, type[Transform]] = {
    "flip": spatial.Flip,
    "affine": spatial.Affine,
    "elastic": spatial.Elastic,
    "diffeomorphic": spatial.Diffeomorphic,
    "zoom": spatial.Zoom,
    "shift": spatial.Shift,
    "gamma": intensity.Gamma,
    "brightness": intensity.Brightness,
    "contrast": intensity.Contrast,
    "histogram_shift": intensity.HistogramShift,
    "remap": intensity.Remap,
    "window": intensity.Window,
    "bias_field": intensity.BiasField,
    "polynomial_bias": intensity.PolynomialBias,
    "blur": intensity.Blur,
    "sharpen": intensity.Sharpen,
    "noise": intensity.Noise,
    "rician_noise": intensity.RicianNoise,
    "low_resolution": acquisition.LowResolution,
    "gibbs": acquisition.Gibbs,
    "ghosting": acquisition.Ghosting,
    "motion": acquisition.Motion,
    "spike": acquisition.Spike,
    "cutout": acquisition.Cutout,
}
RECIPES = ("none", "light", "standard", "heavy", "sfcn", "nnunet", "synthseg_like")
_OWN = ":"  # is in the path of a transform of one's own, `module:Class`


def parse_recipe(setting: Any, where: str = "augment") -> Recipe:
    """The recipe that an experiment file asks for.

    Args:
        setting: the name of a recipe, or a list whose items are names of transforms (with their defaults) or
            mappings of one name to its settings: ``["flip", {"affine": {"rotation": 5}}]``. A transform of one's own
            has its path for a name, `module:Class`.
        where: what a message shall name as the place of the mistake.

    Raises:
        InputError: with every mistake in `setting`: unknown names and keys, values out of range.
    """
    if isinstance(setting, str):
        if setting not in RECIPES:
            raise InputError(_unknown(where, "recipe", setting, RECIPES))
        return _named(setting)
    if not isinstance(setting, Sequence):
        expected = f"the name of a recipe ({', '.join(RECIPES)}) or a list of transforms"
        raise InputError(Problem(where, _shown(setting), expected, "A list is written [flip, {noise: {sd: 0.05}}]."))

    problems: list[Problem] = []
    recipe: list[Transform] = []
    for number, item in enumerate(setting, start=1):
        place = f"{where}, transform {number}"
        values: Any = {}
        if isinstance(item, str):
            name = item
        elif isinstance(item, Mapping) and len(item) == 1:
            [(name, values)] = item.items()
        else:
            expected = "a name, or one name with its settings"
            problems.append(Problem(place, _shown(item), expected, "For example {affine: {rotation: 5}}."))
            continue
        try:
            kind = _kind(name, place)
            recipe.append(_transform(kind, values, f"{where}, {name}", problems))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(*problems)
    return tuple(recipe)


def recipe_to_config(recipe: Recipe) -> list[dict[str, dict[str, Any]]]:
    """`recipe` as plain lists, mappings, numbers and strings, every default written out; `parse_recipe` reads it."""
    return [
        {
            name_of(each): {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in asdict(each).items()
                if key in settings_of(each)
            }
        }
        for each in recipe
    ]


def name_of(transform: Transform) -> str:
    """Its name in a recipe."""
    kind = type(transform)
    return _NAMES.get(kind, f"{kind.__module__}:{kind.__qualname__}")


def keys_of(recipe: Recipe) -> list[str]:
    """A key for each transform: its name, and from the second of a name on with a number, `gamma/2`."""
    names = [name_of(each) for each in recipe]
    counts = [names[: i + 1].count(name) for i, name in enumerate(names)]
    return [name if count == 1 else f"{name}/{count}" for name, count in zip(names, counts, strict=True)]


def weakened(transform: Transform, share: float) -> Transform:
    """`transform` on every sample, its ranges drawn together to `share` (0 to 1) of their way from no change.

    The same seeds then draw the same change, in that share of its strength (of gamma: nearly so).
    """
    values: dict[str, Any] = {"probability": 1.0}
    for setting in ranges_of(transform):
        neutral = setting.metadata["neutral"]
        if neutral is None:
            continue
        values[setting.name] = tuple(neutral + share * (end - neutral) for end in getattr(transform, setting.name))
    return replace(transform, **values)


@cache
def _named(name: str) -> Recipe:
    import yaml

    path = Path(__file__).with_name("recipes") / f"{name}.yaml"
    return parse_recipe(yaml.safe_load(path.read_text(encoding="utf-8")), f"recipe {name}")


def _kind(name: Any, where: str) -> type[Transform]:
    if name in TRANSFORMS:
        return TRANSFORMS[name]
    if not isinstance(name, str) or _OWN not in name:
        raise InputError(_unknown(where, "transform", name, TRANSFORMS))
    kind = load_named(name, {}, where)
    if not isinstance(kind, type) or not issubclass(kind, SpatialTransform | IntensityTransform):
        expected = "a subclass of SpatialTransform or IntensityTransform of tfmri.augment.transform"
        raise InputError(Problem(where, _shown(name), expected))
    return kind


def _transform(kind: type[Transform], values: Any, where: str, problems: list[Problem]) -> Transform:
    """A transform of `kind` with `values`; what is wrong with them is added to `problems`."""
    settings = settings_of(kind)
    if values is None:
        values = {}
    if not isinstance(values, Mapping):
        problems.append(Problem(where, _shown(values), f"settings: {', '.join(settings)}"))
        values = {}
    sound = {}
    for key, value in values.items():
        if key not in settings:
            problems.append(_unknown(where, "setting", key, settings))
            continue
        try:
            sound[key] = settings[key].metadata["check"](value)
        except RefusedError as refused:
            default = settings[key].default
            advice = f"The default is {_shown(list(default) if isinstance(default, tuple) else default)}."
            problems.append(Problem(f"{where}.{key}", _shown(value), str(refused), advice))
    return kind(**sound)


def _unknown(where: str, what: str, name: Any, known: Sequence[str] | Mapping[str, Any]) -> Problem:
    return Problem(
        where, f"no {what} is called {_shown(name)}", f"one of {', '.join(known)}", did_you_mean(str(name), list(known))
    )


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str) else str(value)


_NAMES: dict[type, str] = {kind: name for name, kind in TRANSFORMS.items()}
