"""Names and options that a person writes in a file of settings, checked against the function that takes them."""

import importlib
import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from tfmri.errors import InputError, Problem, did_you_mean


def nearest(name: str, known: Iterable[str]) -> str:
    """The sentence that helps someone who mistyped: the known name closest to `name`, or all of them."""
    known = sorted(known)
    return did_you_mean(name, known) or f"Known: {', '.join(known) or 'none'}."


def load_named(name: str, known: Mapping[str, str], where: str) -> Any:
    """The object that `name` stands for: a key of `known`, whose values are 'module:object', or such a path itself.

    A path may name a module in the current folder.

    Raises:
        InputError: unknown name, a module that cannot be imported, or that lacks the object.
    """
    if name not in known and ":" not in name:
        advice = nearest(name, known) + " An object of your own is written 'module:function'."
        raise InputError(Problem(where, f"unknown name '{name}'", advice=advice))
    module, _, attribute = known.get(name, name).partition(":")
    folder = str(Path.cwd())
    if name not in known and folder not in sys.path:
        sys.path.append(folder)  # at the end: a file that lies there must not hide an installed package
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        advice = "Is the module installed, or in the current folder?"
        raise InputError(Problem(where, f"'{module}' cannot be imported ({error})", advice=advice)) from error
    except AttributeError as error:
        if not hasattr(sys.modules.get(module), "__file__") or hasattr(sys.modules[module], attribute):
            raise
        advice = nearest(attribute, (key for key in vars(sys.modules[module]) if not key.startswith("_")))
        raise InputError(Problem(where, f"module '{module}' has no '{attribute}'", advice=advice)) from error


def check_options(
    function: Callable[..., Any], options: Mapping[str, Any], where: str, reserved: Collection[str] = ()
) -> dict[str, Any]:
    """`options` as `function` takes them, every one checked against its keyword-only parameters and their annotations.

    Args:
        function: its keyword-only parameters are the options there are; one without a default is required.
        options: name to value as YAML or JSON give them; a list becomes a tuple where the annotation says tuple.
            Infinity and NaN are refused.
        where: what to call the place in messages, 'model' say; an option is then 'model.dropout'.
        reserved: parameters that the program sets, which are no options.
    Returns:
        Every option, converted to the annotated type; those not given with the default of `function`.

    Raises:
        InputError: with one problem for each unknown, missing or wrong option.
    """
    from pydantic import ConfigDict, ValidationError, create_model

    parameters = {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and name not in reserved
    }
    problems = [
        Problem(f"{where}.{name}", "unknown option", advice=nearest(name, parameters))
        for name in options
        if name not in parameters
    ]
    fields: dict[str, Any] = {
        name: (
            _annotation(parameter, function),
            ... if parameter.default is inspect.Parameter.empty else parameter.default,
        )
        for name, parameter in parameters.items()
    }
    form = create_model("Options", __config__=ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False), **fields)
    checked: dict[str, Any] = {}
    try:
        filled = form.model_validate(dict(options))
        checked = {name: getattr(filled, name) for name in parameters}
        problems += [  # pydantic takes true for 1
            Problem(f"{where}.{name}", f"{str(given).lower()} is no number")
            for name, given in options.items()
            if isinstance(given, bool) and not isinstance(checked.get(name, given), bool)
        ]
    except ValidationError as error:
        for detail in error.errors():
            key = ".".join(str(part) for part in (where, *detail["loc"]))
            missing = detail["type"] == "missing"
            found = "missing" if missing else f"found {detail['input']!r}"
            problems.append(Problem(key, found, advice="" if missing else f"{detail['msg']}."))
    if problems:
        raise InputError(*problems)
    return checked


def _annotation(parameter: inspect.Parameter, function: Callable[..., Any]) -> Any:
    """The type of a parameter, also where it is text, as `from __future__ import annotations` leaves it.

    Text is looked up for each parameter by itself (`inspect.signature(eval_str=True)` fails for all when the annotation
    of one, or of what is returned, names something imported for type checkers only). What cannot be found may be `Any`.
    """
    if parameter.annotation is inspect.Parameter.empty:
        return Any
    if not isinstance(parameter.annotation, str):
        return parameter.annotation
    try:
        return eval(parameter.annotation, getattr(inspect.unwrap(function), "__globals__", {}))
    except Exception:  # whatever Python raises on the text
        return Any
