"""Recipes: which transforms a batch goes through, how often, and in what ranges. Plain data; no TensorFlow here.

A recipe is a tuple of the dataclasses below, each kind at most once. They are applied in the order of `TRANSFORMS`,
whatever the order in the experiment file; the three spatial ones are composed into one resampling (spatial.py).
`probability` is decided per sample (of `flip`: per sample and axis). The defaults of the dataclasses are the recipe
`standard`. Lengths are in mm, angles in degrees, intensities in shares of the scan's own range (its maximum minus its
minimum), so that a recipe means the same whatever the resolution and the normalisation.

In an experiment file::

    augment: standard
    augment: [flip, {affine: {rotation: 5, scale: [0.95, 1.05]}}, {noise: {probability: 1, sd: 0.05}}]
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any

from tfmri.errors import InputError, Problem

AXES = ("x", "y", "z")


class _Refused(ValueError):
    """A value that does not fit; the message says what would."""


def _setting(default: Any, check: Callable[[Any], Any], neutral: float | None = None) -> Any:
    """A field with what it may be and, where it is a range, the value that changes nothing."""
    return field(default=default, metadata={"check": check, "neutral": neutral})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(low: float, high: float, unit: str = "") -> Callable[[Any], float]:
    def check(value: Any) -> float:
        if not _is_number(value) or not low <= value <= high:
            raise _Refused(f"a number from {low:g} to {high:g} {unit}".rstrip())
        return float(value)

    return check


def _interval(low: float, high: float) -> Callable[[Any], tuple[float, float]]:
    def check(value: Any) -> tuple[float, float]:
        sound = isinstance(value, Sequence) and len(value) == 2 and all(_is_number(end) for end in value)
        if not sound or not low <= value[0] <= value[1] <= high:
            raise _Refused(f"[lowest, highest], both from {low:g} to {high:g}")
        return float(value[0]), float(value[1])

    return check


def _count(low: int, high: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise _Refused(f"a whole number from {low} to {high}")
        return value

    return check


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Refused("true or false")
    return value


def _axes(value: Any) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, Sequence) or not names or any(name not in AXES for name in names):
        raise _Refused("a list of some of x, y, z")
    return tuple(axis for axis in AXES if axis in names)


_probability = _number(0, 1)


@dataclass(frozen=True)
class Flip:
    """Mirrors the image. In RAS+ x is left-right, the only axis along which a mirrored brain is still a brain."""

    probability: float = _setting(0.5, _probability)  # of each axis, independently
    axes: tuple[str, ...] = _setting(("x",), _axes)


@dataclass(frozen=True)
class Affine:
    """Scales, rotates and moves the head about the centre of the image.

    Each axis draws its own angle and shift, uniformly from ± the number given; the scale (1.1 makes the head 10 %
    larger) is drawn uniformly from its interval, one for all axes, or with `isotropic: false` one for each.
    """

    probability: float = _setting(0.75, _probability)
    scale: tuple[float, float] = _setting((0.9, 1.1), _interval(0.5, 2), neutral=1)
    isotropic: bool = _setting(True, _switch)
    rotation: float = _setting(10.0, _number(0, 180, "degrees"), neutral=0)
    translation: float = _setting(5.0, _number(0, 100, "mm"), neutral=0)


@dataclass(frozen=True)
class Elastic:
    """Deforms smoothly: cubic B-splines on a coarse grid that spans the image.

    Every coordinate of every control point is displaced uniformly from ± `displacement`. No voxel moves further
    than that along an axis; the usual voxel moves a fifth of it.
    Source: Rueckert et al. 1999, IEEE Transactions on Medical Imaging 18(8), equation 3.
    """

    probability: float = _setting(0.5, _probability)
    displacement: float = _setting(8.0, _number(0, 50, "mm"), neutral=0)
    control_points: int = _setting(7, _count(4, 32))  # along each axis


@dataclass(frozen=True)
class Gamma:
    """Bends the contrast: the scan's own range is mapped to 0..1, raised to an exponent, and mapped back.

    The exponent is drawn so that its logarithm is uniform in the interval: 0.5 is as likely as 2.
    """

    probability: float = _setting(0.3, _probability)
    exponent: tuple[float, float] = _setting((0.75, 1.33), _interval(0.1, 10), neutral=1)


@dataclass(frozen=True)
class BiasField:
    """Multiplies intensity above the background with a smooth positive field, as a receive coil does.

    `strength` is the highest standard deviation, over the image, of the field's logarithm (0.2: some ±20 %);
    each sample draws its own, uniformly from 0. The field's geometric mean over the image is 1.
    Source: the exponentiated coarse Gaussian field of Billot et al. 2023 (SynthSeg), Medical Image Analysis 86.
    """

    probability: float = _setting(0.5, _probability)
    strength: float = _setting(0.2, _number(0, 2), neutral=0)
    control_points: int = _setting(5, _count(4, 32))  # along each axis


@dataclass(frozen=True)
class Noise:
    """Adds white Gaussian noise; its standard deviation is drawn uniformly from 0 to `sd`, a share of the range."""

    probability: float = _setting(0.3, _probability)
    sd: float = _setting(0.03, _number(0, 1), neutral=0)


Transform = Flip | Affine | Elastic | Gamma | BiasField | Noise
Recipe = tuple[Transform, ...]

# In the order of application. The names key the random draws (sampling.py): renaming one changes what it draws.
TRANSFORMS: dict[str, type[Transform]] = {
    "flip": Flip,
    "affine": Affine,
    "elastic": Elastic,
    "gamma": Gamma,
    "bias_field": BiasField,
    "noise": Noise,
}
RECIPES: dict[str, Recipe] = {
    "none": (),
    "standard": tuple(kind() for kind in TRANSFORMS.values()),
}
_NAMES: dict[type, str] = {kind: name for name, kind in TRANSFORMS.items()}


def parse_recipe(setting: Any, where: str = "augment") -> Recipe:
    """The recipe that an experiment file asks for.

    Args:
        setting: the name of a recipe, or a list whose items are names of transforms (with their defaults) or
            mappings of one name to its settings: ``["flip", {"affine": {"rotation": 5}}]``.
        where: what a message shall name as the place of the mistake.

    Returns:
        The transforms in the order of application.

    Raises:
        InputError: with every mistake in `setting`: unknown names and keys, values out of range, repetitions.
    """
    if isinstance(setting, str):
        if setting not in RECIPES:
            raise InputError(_unknown(where, "recipe", setting, RECIPES))
        return RECIPES[setting]
    if not isinstance(setting, Sequence):
        expected = f"the name of a recipe ({', '.join(RECIPES)}) or a list of transforms"
        raise InputError(Problem(where, _shown(setting), expected, "A list is written [flip, {noise: {sd: 0.05}}]."))

    problems: list[Problem] = []
    chosen: dict[str, Transform] = {}
    values: Any
    for number, item in enumerate(setting, start=1):
        place = f"{where}, transform {number}"
        if isinstance(item, str):
            name, values = item, {}
        elif isinstance(item, Mapping) and len(item) == 1:
            [(name, values)] = item.items()
        else:
            expected = "a name, or one name with its settings"
            problems.append(Problem(place, _shown(item), expected, "For example {affine: {rotation: 5}}."))
            continue
        if name not in TRANSFORMS:
            problems.append(_unknown(place, "transform", name, TRANSFORMS))
        elif name in chosen:
            problems.append(Problem(place, f"{name} for a second time", "each transform at most once"))
        else:
            chosen[name] = _transform(TRANSFORMS[name], values, f"{where}, {name}", problems)
    if problems:
        raise InputError(*problems)
    return tuple(chosen[name] for name in TRANSFORMS if name in chosen)


def recipe_to_config(recipe: Recipe) -> list[dict[str, dict[str, Any]]]:
    """`recipe` as plain lists, mappings, numbers and strings, every default written out; `parse_recipe` reads it."""
    return [
        {_NAMES[type(transform)]: {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(transform).items()}}
        for transform in recipe
    ]


def weakened(transform: Transform, share: float) -> Transform:
    """`transform` on every sample, its ranges drawn together to `share` (0 to 1) of their way from no change.

    The same seeds then draw the same change, in that share of its strength (of gamma: nearly so).
    """
    ranges = {each.name: each.metadata["neutral"] for each in fields(transform)}
    values: dict[str, Any] = {"probability": 1.0}
    for name, neutral in ranges.items():
        value = getattr(transform, name)
        if neutral is not None:
            ends = value if isinstance(value, tuple) else (value,)
            moved = tuple(neutral + share * (end - neutral) for end in ends)
            values[name] = moved if isinstance(value, tuple) else moved[0]
    return replace(transform, **values)


def _transform(kind: type[Transform], values: Any, where: str, problems: list[Problem]) -> Transform:
    """A transform of `kind` with `values`; what is wrong with them is added to `problems`."""
    settings = {setting.name: setting for setting in fields(kind)}
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
        except _Refused as refused:
            default = settings[key].default
            assert default is not MISSING
            advice = f"The default is {_shown(list(default) if isinstance(default, tuple) else default)}."
            problems.append(Problem(f"{where}.{key}", _shown(value), str(refused), advice))
    return kind(**sound)


def _unknown(where: str, what: str, name: Any, known: Mapping[str, Any]) -> Problem:
    nearest = get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    advice = f"Did you mean {nearest[0]}?" if nearest else ""
    return Problem(where, f"no {what} is called {_shown(name)}", f"one of {', '.join(known)}", advice)


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str) else str(value)
