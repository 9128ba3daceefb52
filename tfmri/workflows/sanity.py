"""`tfmri explain --sanity`: the maps of a run beside those of networks that have learnt nothing, or nothing true."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tfmri.errors import InputError, Problem
from tfmri.experiment.load import load_experiment
from tfmri.experiment.schema import Experiment
from tfmri.explain.networks import Network, Question, load_network, maps_by_method
from tfmri.explain.sanity import draw_cascade, mean_similarity, randomised_from_the_top, verdict
from tfmri.runs.directory import Run, find_run
from tfmri.runs.provenance import begin_command
from tfmri.workflows.predictions import trained_fits, trusted_module

CHECKED = 4  # scans
POINTS = 16  # of the integral of integrated gradients: ranks need no more
SHUFFLED = "-shuffled"  # what the name of a run on shuffled labels adds to that of the run it is for


def shuffled_run(run: Run, experiment: Experiment, name: str | None) -> Run | None:
    """The run on shuffled labels that is compared with: the one called `name`, or the one called as advised, if any.

    Raises:
        InputError: it is not of shuffled labels, or differs from `run` in more than that, or has not ended.
    """
    found = find_run(name) if name else Run(run.path.with_name(f"{run.path.name}{SHUFFLED}"))
    if not found.experiment.is_file():
        return None
    other = load_experiment(found.experiment)
    if not other.data.shuffle_labels:
        advice = f"Train one: {_advised(run)}"
        raise InputError(Problem("--sanity-run", f"{found.label} was trained on its true labels", advice=advice))
    parts = {
        "model": (experiment.model, other.model),
        "image": (experiment.image, other.image),
        "targets": (experiment.targets, other.targets),
    }
    if different := [name for name, (one, two) in parts.items() if one != two]:
        expected = f"a run like {run.label} but for data.shuffle_labels"
        raise InputError(Problem("--sanity-run", f"{found.label} has another {', '.join(different)}", expected))
    trained_fits(found, other)
    return found


def check_sanity(
    folder: Path,
    run: Run,
    networks: Sequence[Network],
    question: Question,
    maps: Mapping[str, np.ndarray],
    heads: Sequence[np.ndarray],
    shuffled: Run | None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both tests of Adebayo et al. (`explain.sanity`) on the first `CHECKED` scans; draws `folder`/sanity.png and .pdf.

    Weights are drawn anew in one network, of several the one that is asked of most of the scans.

    Returns:
        For summary.json: similarities, and sentences with what they mean; and the figure's entry.
    """
    network = max(networks, key=lambda each: len(each.places))
    places = network.places[:CHECKED]
    few = replace(
        question,
        scans=[question.scans[place] for place in places],
        explained=[question.explained[place] for place in places],
        options=replace(question.options, points=(POINTS,)),
    )
    inside, everywhere = [heads[place] for place in places], np.arange(len(places))
    steps, cascade = _cascade(replace(network, places=everywhere), few, inside)
    learnt = {}
    if shuffled is not None:
        others = maps_by_method(_networks_of(shuffled, everywhere), few)[0]
        learnt = {name: mean_similarity(maps[name][places], each, inside) for name, each in others.items()}
    sentences = [verdict(method, each[-1], "all weights drawn anew") for method, each in cascade.items()]
    sentences += [verdict(method, each, "trained on shuffled labels") for method, each in learnt.items()]
    if shuffled is None:
        sentences.append("No network trained on shuffled labels is there to compare the maps with.")
    draw_cascade(steps, cascade, learnt, folder / "sanity")
    caption = (
        f"Sanity of the maps ({len(places)} scans): how like they are to those of the trained network when its layers "
        "are drawn anew from the output down"
        + (", and to those of a network trained on shuffled labels" if learnt else "")
        + ". Maps that explain what was learnt fall towards 0."
    )
    found = {
        "scans": len(places),
        "steps": steps,
        "weights_drawn_anew": cascade,
        "shuffled_labels": {"run": shuffled.label, "similarity": learnt} if shuffled else None,
        "sentences": sentences,
        "command": None if shuffled else _advised(run),  # apart: it may hold paths, which no sentence of a report does
    }
    return found, {"file": "sanity.png", "caption": caption, "heads": False}


def _cascade(
    network: Network, question: Question, inside: Sequence[np.ndarray]
) -> tuple[list[str], dict[str, list[dict[str, float | None]]]]:
    """The lowest layer of each step; and by method, what the maps of each step have in common with the first ones."""
    trained = maps_by_method([network], question)[0]
    steps: list[str] = []
    found: dict[str, list[dict[str, float | None]]] = {method: [] for method in trained}
    for step, model in randomised_from_the_top(network.model, question.options.seed):
        steps.append(step)
        for method, each in maps_by_method([replace(network, model=model)], question)[0].items():
            found[method].append(mean_similarity(trained[method], each, inside))
    return steps, found


def _networks_of(run: Run, places: np.ndarray) -> list[Network]:
    experiment = load_experiment(run.experiment)
    module = trusted_module(experiment)
    return [load_network(plan.name, fit, module, places) for plan, fit in trained_fits(run, experiment).items()]


def _advised(run: Run) -> str:
    return f"{begin_command(run, 'data.shuffle_labels=true')} --run {run.path.name}{SHUFFLED}"
