"""Parameters of some samples as a file: what was drawn can be read, changed by hand, and applied again.

JSON: the recipe with every default, padding, shape and spacing, and one entry for each draw: whose scan, the seed, and
what each transform drew, as `sample_parameters` gives it. Numbers are written with the digits that float32 needs to be
read back to the same bits, and so give the same voxels. No TensorFlow here.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfmri.augment.recipe import Recipe, keys_of, recipe_to_config
from tfmri.augment.settings import AXES, PER_AXIS
from tfmri.augment.transform import Random, Transform, ranges_of
from tfmri.errors import InputError, Problem
from tfmri.files import write_text

Arrays = Mapping[str, Mapping[str, np.ndarray]]
Form = dict[str, tuple[str, tuple[int, ...]]]

_KINDS = {"bool": bool, "int": int, "float": int | float}


@dataclass(frozen=True)
class Draws:
    """What some samples drew.

    Args:
        scans: (n,) ids, of whose scan each is a draw.
        seeds: (n, 2) int32 that it was drawn from.
        parameters: ``{key: {name: array}}`` of n rows, as `sample_parameters` gives them.
    """

    scans: tuple[str, ...]
    seeds: np.ndarray
    parameters: Arrays


def write_draws(
    path: Path, draws: Draws, recipe: Recipe, shape: Sequence[int], spacing: Sequence[float], padding: str
) -> None:
    """Writes `draws` of `recipe` for images of `shape` voxels of `spacing` mm, whole or not at all."""
    entries = [
        {
            "scan": scan,
            "seed": draws.seeds[row].tolist(),
            **{
                key: {name: _plain(value[row]) for name, value in drawn.items()}
                for key, drawn in draws.parameters.items()
            },
        }
        for row, scan in enumerate(draws.scans)
    ]
    write_text(path, _json(_head(recipe, shape, spacing, padding) | {"draws": entries}) + "\n")


def read_draws(path: Path, recipe: Recipe, shape: Sequence[int], spacing: Sequence[float], padding: str) -> Draws:
    """The draws in a file of `write_draws`, to be applied by the same recipe to images of the same shape.

    Raises:
        InputError: no such file, no such JSON, another recipe, shape, spacing or padding, and values that are missing
            or of another kind.
    """
    where = str(path)
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(Problem(where, f"the file cannot be read ({error.strerror})", _WRITER)) from None
    except ValueError:
        raise InputError(Problem(where, "this is not JSON", _WRITER)) from None
    if not isinstance(written, dict) or not isinstance(written.get("draws"), list) or not written["draws"]:
        raise InputError(Problem(where, "the file holds no draws", _WRITER))
    problems = [
        Problem(where, f"drawn with {key} {written.get(key)}", f"{expected}, as the experiment has it")
        for key, expected in _head(recipe, shape, spacing, padding).items()
        if key != "recipe" and written.get(key) != expected
    ]
    problems += _other_recipe(where, written.get("recipe"), recipe_to_config(recipe))
    if problems:
        raise InputError(*problems)
    rows = [_read_draw(entry, recipe, f"{where}, draw {number}", problems)
            for number, entry in enumerate(written["draws"], start=1)]  # fmt: skip
    if problems:
        raise InputError(*problems)
    parameters = {key: {name: np.stack([row[key][name] for row in rows]) for name in form}
                  for key, form in _forms(recipe).items()}  # fmt: skip
    return Draws(
        scans=tuple(entry["scan"] for entry in written["draws"]),
        seeds=np.array([row[""]["seed"] for row in rows]),
        parameters=parameters,
    )


def in_words(recipe: Recipe, parameters: Arrays, row: int) -> str:
    """What one sample drew, for a caption: ``flip x, rotation 4 -2 7 deg, gamma 0.9``; `unchanged` where nothing.

    A transform is named by its only setting's number, or by each of its settings; what changes nothing is left out.
    """
    phrases = []
    for key, transform in zip(keys_of(recipe), recipe, strict=True):
        drawn = {name: value[row] for name, value in parameters[key].items()}
        if transform.separately:
            own = [axis in getattr(transform, "axes", AXES) for axis in AXES]
            drawn["drawn"] = drawn["drawn"] & own
        if np.any(drawn["drawn"]):
            phrases.append(_phrase(key, transform, drawn))
    return ", ".join(phrases) or "unchanged"


def _phrase(key: str, transform: Transform, drawn: Mapping[str, np.ndarray]) -> str:
    name = key.rpartition(":")[2]  # of one's own transform without the module
    axes = ""
    if transform.separately:
        axes = " " + "".join(axis for axis, happens in zip(AXES, drawn["drawn"], strict=True) if happens)
    elif "axis" in drawn:
        axes = f" {AXES[drawn['axis']]}"
    ranges = [each for each in ranges_of(transform) if np.any(drawn[each.name] != each.metadata["neutral"])]
    numbers = [(each.name, _numbers(drawn[each.name], each.metadata.get("unit", ""))) for each in ranges]
    if not numbers:
        return name + axes
    if len(ranges_of(transform)) == 1:
        return f"{name}{axes} {numbers[0][1]}"
    own = "" if name == "affine" else f"{name}{axes} "  # whose settings say what they do
    return own + ", ".join(f"{setting} {number}" for setting, number in numbers)


def _numbers(values: np.ndarray, unit: str) -> str:
    """`4 -2 7 deg`; one number where all axes have the same."""
    values = np.atleast_1d(values)
    distinct = values[:1] if (values == values[0]).all() else values
    return " ".join(
        [*(f"{value:.2g}" if abs(value) < 1 else f"{value:.3g}" for value in distinct), _SHORT.get(unit, unit)]
    ).rstrip()


_SHORT = {"degrees": "deg", "voxels": "vox"}
_WRITER = "a file that `tfmri preview` has written, NAME-parameters.json"


def _head(recipe: Recipe, shape: Sequence[int], spacing: Sequence[float], padding: str) -> dict[str, Any]:
    return {
        "shape": list(shape),
        "spacing": list(spacing),
        "padding": padding,
        "recipe": recipe_to_config(recipe),
    }


def _forms(recipe: Recipe) -> dict[str, Form]:
    """Of each number that a sample draws the kind and the shape, as `sample_parameters` has them."""
    kinds = {"axis": "int", "seed": "int", "uniform": "float", "normal": "float"}

    def of_random(random: Random) -> tuple[str, tuple[int, ...]]:
        return kinds[random.kind], (2,) if random.kind == "seed" else tuple(random.shape)

    forms = {}
    for key, transform in zip(keys_of(recipe), recipe, strict=True):
        sizes = {each.name: each.metadata["drawn"]["size"] for each in ranges_of(transform)}
        forms[key] = {
            "drawn": ("bool", (PER_AXIS,) if transform.separately else ()),
            **{name: ("float", (size,) if size > 1 else ()) for name, size in sizes.items()},
            **{name: of_random(random) for name, random in transform.randoms().items()},
        }
    return forms


def _read_draw(entry: Any, recipe: Recipe, where: str, problems: list[Problem]) -> dict[str, dict[str, np.ndarray]]:
    """One entry as arrays; what is wrong with it is added to `problems`."""
    if not isinstance(entry, dict) or not isinstance(entry.get("scan"), str):
        problems.append(Problem(where, "the entry names no scan", _WRITER))
        return {}
    forms: dict[str, Form] = {"": {"seed": ("int", (2,))}, **_forms(recipe)}
    read: dict[str, dict[str, np.ndarray]] = {}
    for key, form in forms.items():
        drawn = entry if not key else entry.get(key)
        read[key] = {}
        for name, (kind, shape) in form.items():
            value = drawn.get(name) if isinstance(drawn, dict) else None
            array = _array(value, kind, shape)
            if array is None:
                expected = (
                    f"{kind} numbers of shape {shape}" if shape else {"bool": "true or false"}.get(kind, "a number")
                )
                place = f"{where}, {key}.{name}" if key else f"{where}, {name}"
                problems.append(Problem(place, _short(value), expected))
            else:
                read[key][name] = array
    return read


def _array(value: Any, kind: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """`value` as an array of `shape`; None where it is no such thing."""
    numbers = list(_leaves(value))
    if not all(isinstance(each, _KINDS[kind]) and (kind == "bool" or not isinstance(each, bool)) for each in numbers):
        return None
    try:
        with np.errstate(over="ignore"):  # to infinity, which is refused
            array = np.array(value, {"bool": bool, "int": np.int32, "float": np.float32}[kind])
    except (ValueError, TypeError, OverflowError):
        return None
    return array if array.shape == shape and np.isfinite(array).all() else None


def _leaves(value: Any) -> Iterable[Any]:
    if not isinstance(value, list):
        return [value]
    return (leaf for each in value for leaf in _leaves(each))


def _other_recipe(where: str, written: Any, expected: list[dict[str, dict[str, Any]]]) -> list[Problem]:
    """The first difference between two recipes, if there is one."""
    if written == expected:
        return []
    sound = isinstance(written, list) and all(isinstance(each, dict) and len(each) == 1 for each in written)
    names = [next(iter(each)) for each in written] if sound else None
    wanted = [next(iter(each)) for each in expected]
    if names != wanted:
        found = f"drawn by the recipe [{', '.join(map(str, names))}]" if names is not None else "the file has no recipe"
        return [Problem(where, found, f"[{', '.join(wanted)}], as the experiment has it")]
    for mine, other in zip(expected, written, strict=True):
        [(name, settings)], values = mine.items(), other.get(next(iter(mine)))
        for key, value in settings.items():
            was = values.get(key) if isinstance(values, dict) else None
            if was != value:
                return [Problem(where, f"drawn with {name}.{key} {was}", f"{value}, as the experiment has it")]
    return [Problem(where, "drawn by another recipe", "the experiment's")]


def _plain(array: np.ndarray) -> Any:
    """Lists of numbers with as many digits as float32 needs to read back to the same bits."""
    return (array.astype(str).astype(float) if array.dtype == np.float32 else array).tolist()


def _json(value: Any, indent: str = "") -> str:
    """Mappings and what holds them with a line for each entry; lists of numbers on one line."""
    inner = indent + "  "
    if isinstance(value, dict) and value:
        lines = [f"{inner}{json.dumps(key)}: {_json(each, inner)}" for key, each in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(inner + _json(each, inner) for each in value) + f"\n{indent}]"
    return json.dumps(value, allow_nan=False)


def _short(value: Any) -> str:
    text = "missing" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
