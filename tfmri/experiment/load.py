"""Reading an experiment file: find it, apply `--set key=value`, validate, and write it back with every default."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from tfmri.errors import InputError, Problem, did_you_mean
from tfmri.experiment.schema import Experiment, Section
from tfmri.project import in_project

Settings = TypeVar("Settings", bound=Section)

# The settings that a run may change after its beginning, and why. All others belong to the question that it answers,
# or to a state that its checkpoints hold: changed, they would make another run of it.
CHANGEABLE = {
    "training.epochs": "more of the same; a schedule that depends on them takes another course from there on",
    "training.patience": "early stopping looks at the history alone",
    "training.checkpoint_minutes": "when the state is saved changes nothing in it",
    "training.profile_steps": "to watch steps changes nothing in them",
    "training.devices": "another machine has others; the batch is shared by all of them together",
    "training.threads": "another machine has more or fewer",
    "training.reduction": "how devices sum, not what",
    "training.memory_growth": "how memory is taken, not what it holds",
    "training.xla": "the same step, compiled or not",
    "evaluation": "training does not depend on it",
    "tune": "the settings of one trial are among the others",
    "cluster": "training does not depend on it; a stopped job may need more to go on",
}

# A section that may be written as one value, and the key that the value stands for.
SHORT_FORMS = {"augment": "recipe"}


def find_experiment(name: str) -> Path:
    """The file of an experiment: a path, or a name in `experiments/` (`in_project`).

    Raises:
        InputError: if there is no such file; names the nearest.
    """
    path = Path(name).expanduser()
    if path.suffix in (".yaml", ".yml"):
        if path.is_file():
            return path
        raise InputError(Problem(str(path), "there is no such file", "an experiment file"))
    path = in_project(f"experiments/{name}.yaml")
    if path.is_file():
        return path
    known = [file.stem for file in all_experiments()]
    raise InputError(
        Problem(
            f"experiment '{name}'",
            "no file of that name in experiments/ here or in a folder above",
            f"a path ending in .yaml, or one of {', '.join(known)}" if known else "a path ending in .yaml",
            did_you_mean(name, known),
        )
    )


def all_experiments() -> list[Path]:
    """Every experiment file in `experiments/` (`in_project`)."""
    return sorted(in_project("experiments").glob("*.yaml"))


def load_experiment(path: Path, overrides: Iterable[str] = ()) -> Experiment:
    """Reads and validates an experiment file.

    Args:
        path: a YAML file.
        overrides: `section.key=value`, applied in order. Values are read as YAML; those of the keys in `data` are text
            as it stands, since queries and paths may hold what YAML takes for its own (`null` still stands for none).

    Raises:
        InputError: all problems of the file at once, each with its key.
    """
    settings = read_settings(path)
    for override in overrides:
        _set(settings, override)
    return validate(settings, str(path))


def read_settings(path: Path) -> dict[str, Any]:
    """The plain settings of a YAML file.

    Raises:
        InputError: it is no YAML, or holds no keys.
    """
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        said = str(getattr(error, "problem", error))
        advice = f"{said}: indent with spaces, not with tabs" if "'\\t'" in said else said
        raise InputError(Problem(where, "this is not YAML", advice=advice)) from None
    except UnicodeDecodeError:
        raise InputError(Problem(str(path), "this is not text in UTF-8", "a file of settings")) from None
    if not isinstance(settings, dict):
        raise InputError(Problem(str(path), "the file holds no settings", "keys and their values"))
    return settings


def validate(settings: Mapping[str, Any], where: str) -> Experiment:
    """Turns plain settings into an `Experiment`; `where` names their source in messages.

    Raises:
        InputError: all problems at once.
    """
    return validate_as(Experiment, settings, where)


def validate_as(kind: type[Settings], settings: Mapping[str, Any], where: str) -> Settings:
    """Turns plain settings into those of a `kind`; `where` names their source in messages.

    Raises:
        InputError: all problems at once.
    """
    try:
        return kind.model_validate(settings)
    except InputError as error:
        raise InputError(*(replace(problem, where=f"{where}, {problem.where}") for problem in error.problems)) from None
    except ValidationError as error:
        raise InputError(*(_problem(details, where, kind) for details in error.errors())) from None


def dump(experiment: Experiment) -> str:
    """The experiment as YAML, every default written out; `load_experiment` reads it back to the same."""
    return yaml.safe_dump(experiment.model_dump(mode="json"), sort_keys=False, width=120)


@dataclass(frozen=True)
class Change:
    """A setting in which two experiments differ; as text `training.epochs: 12 -> 3`."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {self.old} -> {self.new}"

    @property
    def allowed(self) -> bool:
        """Whether a run that exists may change it."""
        return self.key in CHANGEABLE or self.key.partition(".")[0] in CHANGEABLE


def difference(old: Experiment, new: Experiment) -> list[Change]:
    """What differs between two experiments, a change for each key."""
    before, after = (_flat(experiment.model_dump(mode="json")) for experiment in (old, new))
    keys = [*before, *(key for key in after if key not in before)]
    changes = [Change(key, before.get(key, "(not set)"), after.get(key, "(not set)")) for key in keys]
    return [each for each in changes if each.old != each.new]


def _flat(settings: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(settings, dict) or not settings:
        return {prefix: settings}
    return {
        key: value
        for name, inner in settings.items()
        for key, value in _flat(inner, f"{prefix}.{name}" if prefix else name).items()
    }


def _set(settings: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key.strip():
        raise InputError(Problem(f"--set {override}", "no `key=value`", "such as --set training.epochs=3"))
    *sections, last = key.strip().split(".")
    if sections[:1] == ["data"] and last != "columns":
        parsed = None if value.strip() in ("", "null", "~") else value.strip()
    else:
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError(Problem(f"--set {override}", f"the value '{value}' is not YAML")) from None
    inner = settings
    for section in sections:
        if not isinstance(inner.get(section), dict):
            short = section in SHORT_FORMS and section in inner
            inner[section] = {SHORT_FORMS[section]: inner[section]} if short else {}
        inner = inner[section]
    inner[last] = parsed


def _problem(details: Any, where: str, kind: type[Section]) -> Problem:
    """One of pydantic's findings in our four facts."""
    key = ".".join(str(part) for part in details["loc"]) or "the file"
    match details["type"]:
        case "extra_forbidden":
            known = _keys_beside(details["loc"], kind)
            advice = did_you_mean(str(details["loc"][-1]), known)
            return Problem(f"{where}, {key}", "there is no such key", _one_of(known), advice)
        case "missing":
            return Problem(f"{where}, {key}", "the key is missing", advice="It has no default")
        case "value_error":
            return Problem(f"{where}, {key}", str(details["ctx"]["error"]))
    expected = details["ctx"]["expected"] if details["type"] == "literal_error" else details["msg"]
    return Problem(f"{where}, {key}", _short(details["input"]), expected.removeprefix("Input should be "))


def _keys_beside(location: tuple[Any, ...], kind: type[Section]) -> list[str]:
    """The keys that may stand where an unknown one was found."""
    section: Any = kind
    for part in location[:-1]:
        section = section.model_fields[part].annotation
    return list(section.model_fields)


def _one_of(names: list[str]) -> str:
    return f"one of {', '.join(names)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
