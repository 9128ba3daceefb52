"""All that the report tells, gathered from the files of a run: no model is loaded, no scan is prepared."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tfmri.baselines.beside import Classical
from tfmri.checks.finding import Finding, Harm
from tfmri.evaluation.metrics import LOWER_IS_BETTER
from tfmri.evaluation.summary import HEADLINES, IN_WORDS, UNITS, all_warnings, in_figures
from tfmri.experiment.schema import Experiment
from tfmri.runs.directory import Fit, Run

FEW = 30  # people, in whom a result is hardly known
TOO_GOOD = {"balanced_accuracy": 0.99, "roc_auc": 0.995, "r2": 0.97}  # rarely honest, on scans of people


@dataclass(frozen=True)
class Facts:
    """A run and its results on one split.

    Args:
        run: its folder.
        place: the split, or the name of other people's results.
        experiment: its settings.
        table: the scans of the run with `split` and `fold`.
        predictions: of the split, a row a scan.
        summary: metrics.json.
        best: target -> metric -> best reachable; empty where nobody knows it.
        command: what to type for these results.
        asked: other people than the run's, who were predicted; None for a split of the run.
        flow: of the labels file of those who were predicted, from all its rows to the cohort: name, rows, subjects.
        findings: confounds, leaks and how the target is spread, of the run's cohort; the most harmful first.
        examined: whether `tfmri check` read the voxels of this very cohort, and its findings are among them.
        classical: models on the same split, beside the network.
        anonymous: whether ids, paths and pictures of people are left out.
    """

    run: Run
    place: str
    experiment: Experiment
    table: pd.DataFrame
    predictions: pd.DataFrame
    summary: Mapping[str, Any]
    best: Mapping[str, Mapping[str, float]]
    command: str
    asked: pd.DataFrame | None = None
    flow: Sequence[Mapping[str, Any]] = ()
    findings: Sequence[Finding] = ()
    examined: bool = False
    classical: Sequence[Classical] = ()
    anonymous: bool = False

    @property
    def target(self) -> str:
        """What is predicted."""
        return self.experiment.target

    @property
    def classes(self) -> list[str]:
        """In the order of the outputs; empty for a number."""
        return list(self.experiment.targets[self.target].classes or ())

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Metric -> its value, interval, trivial value and counts."""
        return self.summary[self.target]

    @property
    def folder(self) -> Path:
        """Of the results."""
        return self.run.evaluation(self.place)

    @property
    def fits(self) -> list[Fit]:
        """All of the run."""
        return [self.run.fit(plan.name) for plan in self.experiment.fits]

    @property
    def name(self) -> str:
        """What the run is called here."""
        return name_of(self.run, self.anonymous)

    @property
    def others(self) -> bool:
        """Whether the results are of other people than the run's."""
        return self.asked is not None

    def provenance(self) -> dict[str, Any]:
        """Command, versions, machine."""
        return json.loads(self.run.provenance.read_text())

    def headline(self) -> tuple[str, str, Mapping[str, Any]]:
        """The first metric of the target: its name, in words with its unit, and its numbers."""
        name = next(name for name in HEADLINES if name in self.metrics)
        unit = f" ({UNITS[self.target]})" if self.target in UNITS and name == "mae" else ""
        return name, IN_WORDS[name] + unit, self.metrics[name]

    def sentences(self) -> list[str]:
        """The result in plain words."""
        name, words, entry = self.headline()
        who = {"test": "people whom the models have never seen", "train": "the very people the models were trained on"}
        who["validation"] = "people by whom the best epoch was chosen"
        people = who.get(self.place, f"other people ({self.place})")
        target = f"{self.target[0].upper()}{self.target[1:]}"
        if entry["value"] is None:
            return [f"{target}: there is no {words}, {entry.get('note', 'no scan has a prediction')}."]
        said = [f"{target}: {words} {in_figures(entry)} on {entry['n']} scans of {entry['subjects']} {people}."]
        if views := self.summary.get("views"):
            said.append(f"Taken together: {views}.")
        if entry["trivial"] is not None:
            guess = "always giving the mean" if name == "mae" else "guessing"
            said.append(f"For comparison, {guess} gives {entry['trivial']:.2f}.")
        best = self.best.get(self.target, {}).get(name)
        if best is not None:
            said.append(f"The cohort is made: nobody can do better than {best:.2f} on it in the long run.")
        if entry["lower"] is not None:
            said.append("The interval, of 95 %, says how far another such group of people might come out.")
        return said

    def warnings(self) -> list[str]:
        """What a reader has to know before believing the numbers, in plain words."""
        found = list(all_warnings(self.summary, self.best))
        name, words, entry = self.headline()
        if entry["lower"] is None:
            found.append(f"there is no interval for the {words}: {entry.get('note', 'too few people')}")
        elif entry["trivial"] is not None:
            reached = (
                entry["upper"] < entry["trivial"] if name in LOWER_IS_BETTER else entry["lower"] > entry["trivial"]
            )
            if not reached:
                found.append(f"the interval of the {words} holds what guessing gives: nothing is shown to be learnt")
        if entry["subjects"] < FEW:
            found.append(f"{entry['subjects']} people are few: another such group may come out quite differently")
        for metric, limit in TOO_GOOD.items():
            value = self.metrics.get(metric, {}).get("value")
            if value is not None and value > limit and self.place != "train":
                found.append(
                    f"{metric.replace('_', ' ')} {value:.3f} is better than honest results usually are: look for a "
                    f"leak or a confound first (tfmri check)"
                )
        if missing := [name for name in self.classes if not (self.predictions["truth"] == name).any()]:
            found.append(f"nobody here is {' or '.join(missing)}: nothing is known of how they are recognised")
        found += [
            told(finding, self.anonymous)
            for finding in self.findings
            if finding.harm < Harm.NOTE and finding.check != "class_absent_in_split"
        ]
        found += [each.verdict.sentence for each in self.classical if each.verdict.classical_wins]
        if self.experiment.data.shuffle_labels:
            found.append("labels were shuffled for this run: its results have to be chance")
        if not self.anonymous and self.run.warnings.exists():
            found += [line for line in self.run.warnings.read_text().splitlines() if line]
        return list(dict.fromkeys(found))


def name_of(run: Run, anonymous: bool) -> str:
    """What a run is called in a report; without the path of one that lies elsewhere, where ids are left out."""
    return f"{run.path.parent.name}/{run.path.name}" if anonymous else run.label


def told(finding: Finding, anonymous: bool) -> str:
    """What was found in one sentence; without the scans that it names, where ids are left out."""
    if anonymous and finding.scans:
        return f"{finding.check.replace('_', ' ')}: {finding.where}"
    return finding.found.split(". ")[0]


def commands(facts: Facts) -> list[str]:
    """What to type to have all of this again."""
    train = facts.provenance()["command"] if not facts.anonymous else f"tfmri train {facts.run.path.parent.name}"
    return [train, facts.command]


def worst(facts: Facts, most: int = 6) -> pd.DataFrame:
    """The rows of predictions.csv that are most wrong, the worst first, with `how_wrong`."""
    rows = facts.predictions.dropna(subset=["truth", "prediction"])
    if facts.classes:
        of_truth = rows.apply(lambda row: row[f"p_{row['truth']}"], axis=1) if len(rows) else pd.Series(dtype=float)
        return rows.assign(how_wrong=1 - of_truth).nlargest(most, "how_wrong")
    return rows.assign(how_wrong=(rows["prediction"] - rows["truth"]).abs()).nlargest(most, "how_wrong")


def limits(facts: Facts) -> list[str]:
    """How far the results reach."""
    table = facts.table
    people, sites = table["subject"].nunique(), table["site"].nunique()
    of = "whose site nobody noted" if not (table["site"] != "").any() else f"of {sites} site{'s' * (sites > 1)}"
    return [
        f"The run knows {people} people {of}. Results hold for people like these, scanned like these: another scanner, "
        "sequence or age range needs a test of its own (tfmri evaluate RUN --labels FILE --name NAME).",
        "A network takes whatever tells the answer, also site, motion or head size. Agreement by site, sex and age "
        "is a sign, not a proof, that it does not.",
        "This is research software. It is no medical device, and says nothing that a patient may be treated by.",
    ]
