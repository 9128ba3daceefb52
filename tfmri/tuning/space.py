"""A search space as a person writes it: settings of an experiment, each with the values that may be tried.

    training.optimizer.learning_rate: {low: 1e-4, high: 1e-2, log: true}     any number between, even in its logarithm
    training.batch_size: {low: 4, high: 16, step: 4}                         a whole number, since both ends are
    augment: [light, standard]                                               one of these

A value is always handed on as a word, which stands behind `--set KEY=`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from tfmri.errors import InputError, Problem, did_you_mean
from tfmri.options import check_options

SEARCHED = ("image", "augment", "model", "training", "targets")  # sections: others say who is compared, not how
NOT_SEARCHED = {"training.monitor": "trials are compared by it", "training.warm_start.run": "it says who was seen"}
IN_THE_LOSS = ("targets", "model.l2")  # what validation_loss holds of itself: its values cannot be compared then


def interval(*, low: float, high: float, log: bool = False, step: float | None = None) -> None:
    """The numbers from `low` to `high`, of a raster from `low` on if `step` is given.

    Raises:
        ValueError: no interval, or one that cannot be divided so.
    """
    if not low < high:
        raise ValueError(f"low {low:g} is not below high {high:g}")
    if log and low <= 0:
        raise ValueError(f"low is {low:g}, and log: true needs numbers above 0")
    if log and step is not None:
        raise ValueError("log and step are both given; expected one of them")
    if step is not None and not 0 < step <= high - low:
        raise ValueError(f"step {step:g} does not lead from {low:g} to {high:g}")


def check_space(space: Any, where: str) -> dict[str, list[Any] | dict[str, Any]]:
    """A space as it was written, with every option of its intervals.

    Whether a setting exists and may have a value is for those who know the experiment to say.

    Raises:
        InputError: all that is wrong with it, each with its key.
    """
    if not isinstance(space, Mapping):
        raise InputError(Problem(where, repr(space), "settings with their values, such as model.dropout: [0.0, 0.5]"))
    found: dict[str, list[Any] | dict[str, Any]] = {}
    problems: list[Problem] = []
    for key, values in space.items():
        try:
            found[str(key)] = _checked(str(key), values, f"{where}.{key}", [str(each) for each in space])
        except InputError as error:
            problems += error.problems
        except ValueError as error:
            problems.append(Problem(f"{where}.{key}", str(error)))
    if problems:
        raise InputError(*problems)
    return found


def _checked(key: str, values: Any, where: str, keys: list[str]) -> list[Any] | dict[str, Any]:
    section = key.split(".")[0]
    if section not in SEARCHED:
        advice = did_you_mean(section, SEARCHED) or "Trials with others could not be compared"
        raise InputError(Problem(where, "this is not searched over", f"a setting of {', '.join(SEARCHED)}", advice))
    if key in NOT_SEARCHED:
        raise InputError(Problem(where, f"this is not searched over: {NOT_SEARCHED[key]}"))
    if (above := next((each for each in keys if key.startswith(f"{each}.")), None)) is not None:
        raise InputError(Problem(where, f"{above} is searched over too, and holds it", "one of them"))
    if isinstance(values, Mapping):
        options = check_options(interval, values, where)
        interval(**options)
        return _in_whole_numbers(options) if _whole(values) else options
    if not isinstance(values, list):
        raise InputError(Problem(where, repr(values), "a list of values, or {low: 1e-4, high: 1e-2, log: true}"))
    if len({word(each) for each in values}) < max(len(values), 2):
        raise InputError(Problem(where, repr(values), "two values or more, each once"))
    return values


def _whole(values: Mapping) -> bool:
    return isinstance(values["low"], int) and isinstance(values["high"], int)


def _in_whole_numbers(options: dict[str, Any]) -> dict[str, Any]:
    step = options["step"]
    if step is not None and step != int(step):
        raise ValueError(f"step is {step:g}, between whole numbers; for others write {options['low']:.1f}")
    steps = None if step is None else int(step)
    return options | {"low": int(options["low"]), "high": int(options["high"]), "step": steps}


def word(value: Any) -> str:
    """A value as `--set KEY=` takes it: YAML on one line."""
    return yaml.safe_dump([value], default_flow_style=True, width=2**20, sort_keys=False)[1:-2]


def tried(space: Mapping[str, list[Any] | dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Every choice, and both ends of every interval, as (key, word)."""
    for key, values in space.items():
        for each in values if isinstance(values, list) else (values["low"], values["high"]):
            yield key, word(each)


def distributions(space: Mapping[str, list[Any] | dict[str, Any]]) -> dict[str, Any]:
    """The same as Optuna's distributions; choices are those among words."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, Any] = {}
    for key, values in space.items():
        if isinstance(values, list):
            found[key] = CategoricalDistribution([word(each) for each in values])
        elif _whole(values):
            found[key] = IntDistribution(values["low"], values["high"], values["log"], values["step"] or 1)
        else:
            found[key] = FloatDistribution(values["low"], values["high"], values["log"], values["step"])
    return found


def words(parameters: Mapping[str, Any], space: Mapping[str, list[Any] | dict[str, Any]]) -> dict[str, str]:
    """Parameters of a trial, as Optuna gives them, in the order of the space, each as the word of its value."""
    return {
        key: parameters[key] if isinstance(values, list) else word(parameters[key]) for key, values in space.items()
    }
