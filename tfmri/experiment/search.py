"""Whether all that a search (`tune`) might try can be."""

from collections.abc import Sequence
from pathlib import Path

from tfmri.errors import InputError, Problem
from tfmri.experiment.load import load_experiment
from tfmri.experiment.schema import Experiment
from tfmri.tuning.space import tried


def check_search(path: Path, experiment: Experiment, overrides: Sequence[str]) -> None:
    """Refuses a space that is empty, or has a setting or a value that the experiment cannot have.

    Args:
        path: of the experiment's file.
        experiment: what it says, with the overrides.
        overrides: `key=value`.

    Raises:
        InputError: of each setting that cannot be, the first value.
    """
    if not experiment.tune.space:
        advice = "experiments/template.yaml shows some; docs/tuning.md says more"
        raise InputError(Problem(f"{path}, tune.space", "it is empty", "settings with the values to try", advice))
    problems: dict[str, Problem] = {}
    for key, value in tried(experiment.tune.space):
        try:
            load_experiment(path, [*overrides, f"{key}={value}"])
        except InputError as error:
            found = "; ".join(str(each).removeprefix(f"{path}, ") for each in error.problems)
            problems.setdefault(key, Problem(f"{path}, tune.space.{key}, {value}", found))
    if problems:
        raise InputError(*problems.values())
