"""A model card and a draft of the methods, in Markdown: what the run knows is filled in, the rest marked."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tfmri.evaluation.summary import in_figures
from tfmri.report.facts import Facts, commands, limits, worst
from tfmri.report.people import flow
from tfmri.report.table_one import table_one
from tfmri.report.words import metric_in_words, preparation_in_words, split_in_words, training_in_words

OPEN = "*to be written*"
# After CLAIM 2024 (Tejani et al. 2024, Radiology: Artificial Intelligence 6), in our own words: item -> section here,
# where the run has what is told there
CLAIM = {
    "1 Title and abstract name the kind of model": "",
    "2 Structured abstract": "",
    "3 Background and intended use": "",
    "4 Aims and hypotheses": "",
    "5 Prospective or retrospective": "",
    "6 Goal of the study": "",
    "7 Sources of the data": "",
    "8 Who was included and excluded": "Data",
    "9 Preprocessing": "Preparation",
    "10 Selection of parts of the data": "Data",
    "11 De-identification": "",
    "12 Missing data": "Data",
    "13 Acquisition": "",
    "14 Definition of the reference standard": "",
    "15 Reason for choosing it": "",
    "16 Who set it": "",
    "17 Annotation of the test set": "",
    "18 Agreement between raters": "",
    "19 How data were assigned to partitions": "Split",
    "20 Level at which partitions are disjoint": "Split",
    "21 Sample size, and how it was determined": "",
    "22 Description of the model": "Training",
    "23 Software": "Software",
    "24 Initial parameters": "Training",
    "25 Training": "Training",
    "26 How the final model was chosen": "Training",
    "27 Ensembling": "Training",
    "28 Metrics": "Evaluation",
    "29 Significance and uncertainty": "Evaluation",
    "30 Robustness": "Robustness",
    "31 Explanation of what the model uses": "Explanation",
    "32 Evaluation on internal data": "Evaluation",
    "33 Testing on external data": "External evaluation",
    "34 Registration of a trial": "",
    "35 Flow of participants": "Data",
    "36 Demographics of each partition": "Data",
    "37 Performance on each partition, with uncertainty": "Evaluation",
    "38 Estimates of performance and their precision": "Evaluation",
    "39 Failure analysis": "Failure analysis",
    "40 Limitations": "Limitations",
    "41 Implications for practice": "",
    "42 Protocol": "",
    "43 Availability of software, model and data": "",
    "44 Funding": "",
}


def methods(facts: Facts) -> str:
    """methods.md: paragraphs that a paper may begin with, and the checklist."""
    sections = {
        "Data": _data(facts),
        "Preparation": preparation_in_words(facts.experiment),
        "Split": split_in_words(facts.experiment),
        "Training": training_in_words(facts.experiment),
        "Evaluation": _evaluation(facts),
        "External evaluation": _external(facts),
        "Robustness": _robustness(facts),
        "Explanation": _explanation(facts),
        "Failure analysis": _failures(facts),
        "Limitations": "\n".join(f"- {_plain(each)}" for each in limits(facts)),
        "Software": _software(facts),
    }
    sections = {name: text for name, text in sections.items() if text}
    written = "\n\n".join(f"## {name}\n\n{text}" for name, text in sections.items())
    listed = "\n".join(
        f"| {item} | {'see ' + section if section in sections else OPEN} |" for item, section in CLAIM.items()
    )
    return (
        "# Methods (draft)\n\nFilled in by the program from the run; read every sentence before using it. "
        "An item that is filled in here may need more than the run knows.\n\n"
        f"{written}"
        f"\n\n## Checklist\n\nItems after CLAIM 2024, in short; see Tejani et al. 2024 for their full text.\n\n"
        f"| item | where |\n| --- | --- |\n{listed}\n"
    )


def model_card(facts: Facts) -> str:
    """model_card.md: what the model is, for what, on whom it was tested, and where it ends."""
    name, words, entry = facts.headline()
    trivial = "" if entry["trivial"] is None else f" (trivial predictor: {entry['trivial']:.2f})"
    best = facts.best.get(facts.target, {}).get(name)
    trivial += "" if best is None else f" (nobody can better {best:.2f} on these made scans)"
    people = _markdown(table_one(facts.table, facts.target, facts.classes))
    warned = "\n".join(f"- {_plain(each)}" for each in facts.warnings()) or "- none"
    classes = f": {', '.join(map(_plain, facts.classes))}" if facts.classes else ""
    counts = f"{entry['n']} scans of {entry['subjects']} people"
    return f"""# {_plain(facts.target)} from MRI: {_plain(facts.name)}

- **Predicts** {_plain(facts.target)}{classes}
- **Input** {preparation_in_words(facts.experiment)}
- **Network** {_plain(facts.experiment.model.name)}
- **Result** ({_plain(facts.place)}): {words} {in_figures(entry)}{trivial}; {counts}
- **Intended use** {OPEN}
- **Licence and contact** {OPEN}

## People

{people}

## Known weaknesses

{warned}
- Results hold for people like these, scanned like these. It is no medical device.

## Again

```
{chr(10).join(commands(facts)).replace("`", "")}
```
"""


def _data(facts: Facts) -> str:
    table = facts.table
    sides = [f"{side} {int((table['split'] == side).sum())}" for side in ("train", "validation", "test")]
    said = [
        f"{len(table)} scans of {table['subject'].nunique()} people were used ({', '.join(sides)} scans).",
        "Rows of the labels file without the target were left out; scans that could not be read were not tolerated.",
    ]
    if facts.experiment.data.where:
        said.append(f"Rows were kept where `{facts.experiment.data.where}`.")
    return "\n\n".join(
        [
            " ".join(said),
            f"Flow of participants ({_plain(facts.place)}):",
            _markdown(flow(facts)),
            "Demographics of each partition:",
            _markdown(table_one(table, facts.target, facts.classes)),
        ]
    )


def _evaluation(facts: Facts) -> str:
    """Of all splits of the run that were evaluated; empty without any."""
    said = []
    for split in ("test", "validation", "train"):
        path = facts.run.evaluation(split) / "metrics.json"
        found = facts.metrics if split == facts.place else None
        if found is None and path.exists():
            found = json.loads(path.read_text()).get(facts.target)
        if found:
            said.append(f"On {split}, {_plain(facts.target)}: {_numbers(facts, found)}.")
    return " ".join([*said, _uncertainty(facts)]) if said else ""


def _external(facts: Facts) -> str:
    if not facts.others:
        return ""
    entry = facts.headline()[2]
    return (
        f"On {entry['n']} scans of {entry['subjects']} other people ({_plain(facts.place)}), {_plain(facts.target)}: "
        f"{_numbers(facts, facts.metrics)}. {_uncertainty(facts)}"
    )


def _numbers(facts: Facts, metrics: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{_plain(metric_in_words(name, facts.target))} {in_figures(entry)}" for name, entry in metrics.items()
    )


def _uncertainty(facts: Facts) -> str:
    return (
        f"Intervals are 95 % percentile bootstrap intervals from {facts.experiment.evaluation.resamples} resamples of "
        "subjects. Each metric was compared with that of a trivial predictor that knows the training targets only."
    )


def _robustness(facts: Facts) -> str:
    name, words, _ = facts.headline()
    said = []
    for column, groups in facts.summary["groups"].get(facts.target, {}).items():
        found = [
            f"{_plain(group)} {in_figures(metrics[name])} (n = {metrics[name]['n']})"
            for group, metrics in groups.items()
            if metrics[name]["value"] is not None
        ]
        if found:
            said.append(f"By {column.replace('_', ' ')}, the {words} was {', '.join(found)}.")
    return " ".join(said)


def _explanation(facts: Facts) -> str:
    known = facts.folder / "explain" / "summary.json"
    if not known.exists():
        return ""
    shares = json.loads(known.read_text())["outside_head"]
    found = ", ".join(f"{_plain(name)} {share:.0%}" for name, share in shares.items())
    return f"Attribution maps were made; of the attribution, there lay outside of the head: {found}."


def _failures(facts: Facts) -> str:
    rows = worst(facts)
    if rows.empty:
        return ""
    if not facts.classes:
        errors = ", ".join(f"{error:.1f}" for error in rows["how_wrong"])
        return f"The largest absolute errors were {errors}; the report shows these scans."
    known = facts.predictions.dropna(subset=["truth", "prediction"])
    wrong = known[known["truth"] != known["prediction"]]
    pairs = Counter(zip(wrong["truth"], wrong["prediction"], strict=True))
    listed = "; ".join(f"{count} of {_plain(true)} as {_plain(said)}" for (true, said), count in pairs.most_common())
    told = f" ({listed})" if listed else ""
    return f"{len(wrong)} of {len(known)} scans were misclassified{told}; the report shows those that are most wrong."


def _software(facts: Facts) -> str:
    versions = facts.provenance()["versions"]
    return ", ".join(f"{name} {version}" for name, version in versions.items() if version) + "."


def _markdown(rows: list[list[str]]) -> str:
    heading, *others = rows
    return "\n".join(_row(row) for row in [heading, ["---"] * len(heading), *others])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(_plain(cell) if cell != '---' else cell for cell in cells)} |"


def _plain(text: str) -> str:
    """Text from labels, in which nothing is Markdown or HTML."""
    marked = str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")
    return "".join(f"\\{letter}" if letter in "\\`*_[]|#" else letter for letter in marked)
