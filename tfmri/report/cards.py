"""A model card and a draft of the methods, in Markdown: what the run knows is filled in, the rest marked."""

from tfmri.evaluation.summary import in_figures
from tfmri.report.facts import Facts, commands
from tfmri.report.table_one import table_one
from tfmri.report.words import preparation_in_words, split_in_words, training_in_words

OPEN = "*to be written*"
# After CLAIM 2024 (Tejani et al. 2024, Radiology: Artificial Intelligence 6), in our own words: item -> section here
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
    "30 Robustness": "",
    "31 Explanation of what the model uses": "",
    "32 Evaluation on internal data": "Evaluation",
    "33 Testing on external data": "",
    "34 Registration of a trial": "",
    "35 Flow of participants": "Data",
    "36 Demographics of each partition": "Data",
    "37 Performance on each partition, with uncertainty": "Evaluation",
    "38 Estimates of performance and their precision": "Evaluation",
    "39 Failure analysis": "",
    "40 Limitations": "",
    "41 Implications for practice": "",
    "42 Protocol": "",
    "43 Availability of software, model and data": "",
    "44 Funding": "",
}


def methods(facts: Facts) -> str:
    """methods.md: paragraphs that a paper may begin with, and the checklist."""
    data = [_sentence_of_data(facts)]
    if facts.experiment.data.where:
        data.append(f"Rows were kept where `{facts.experiment.data.where}`.")
    data.append("Rows without the target were left out.")
    sections = {
        "Data": " ".join(data),
        "Preparation": preparation_in_words(facts.experiment),
        "Split": split_in_words(facts.experiment),
        "Training": training_in_words(facts.experiment),
        "Evaluation": _evaluation(facts),
        "Software": _software(facts),
    }
    written = "\n\n".join(f"## {name}\n\n{text}" for name, text in sections.items())
    listed = "\n".join(f"| {item} | {'see ' + section if section else OPEN} |" for item, section in CLAIM.items())
    return (
        "# Methods (draft)\n\nFilled in by the program from the run; read every sentence before using it.\n\n"
        f"{written}"
        f"\n\n## Checklist\n\nItems after CLAIM 2024, in short; see Tejani et al. 2024 for their full text.\n\n"
        f"| item | where |\n| --- | --- |\n{listed}\n"
    )


def model_card(facts: Facts) -> str:
    """model_card.md: what the model is, for what, on whom it was tested, and where it ends."""
    _, words, entry = facts.headline()
    trivial = "" if entry["trivial"] is None else f" (trivial predictor: {entry['trivial']:.2f})"
    heading, *rows = table_one(facts.table, facts.target)
    people = "\n".join(_row(row) for row in [heading, ["---"] * len(heading), *rows])
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


def _sentence_of_data(facts: Facts) -> str:
    table = facts.table
    sides = [f"{side} {int((table['split'] == side).sum())}" for side in ("train", "validation", "test")]
    return (
        f"{len(table)} scans of {table['subject'].nunique()} people were used ({', '.join(sides)} scans). "
        f"Demographics of each partition stand in the report."
    )


def _evaluation(facts: Facts) -> str:
    numbers = [f"{name.replace('_', ' ')} {in_figures(entry)}" for name, entry in facts.metrics.items()]
    return (
        f"On {facts.place}, {_plain(facts.target)}: {'; '.join(map(_plain, numbers))}. Intervals are 95 % percentile "
        f"bootstrap intervals from {facts.experiment.evaluation.resamples} resamples of subjects. Each metric was "
        "compared with that of a trivial predictor that knows the training targets only."
    )


def _software(facts: Facts) -> str:
    versions = facts.provenance()["versions"]
    return ", ".join(f"{name} {version}" for name, version in versions.items() if version) + "."


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(_plain(cell) if cell != '---' else cell for cell in cells)} |"


def _plain(text: str) -> str:
    """Text from labels, in which nothing is Markdown or HTML."""
    marked = str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")
    return "".join(f"\\{letter}" if letter in "\\`*_[]|#" else letter for letter in marked)
