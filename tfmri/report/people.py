"""Who is in a run: the flow of subjects, table one, and what about them could make a result untrue."""

from html import escape

from tfmri.checks.confounds import FEWEST
from tfmri.checks.finding import Harm
from tfmri.report.facts import Facts, told
from tfmri.report.markup import as_table
from tfmri.report.table_one import table_one
from tfmri.report.words import split_in_words

HARMS = {Harm.SPOILS: "spoils a result", Harm.DOUBTFUL: "doubtful", Harm.NOTE: "worth knowing"}


def cohort(facts: Facts) -> str:
    """Subjects in and out, and table one."""
    parts = [as_table(flow(facts)), f"<p>{escape(split_in_words(facts.experiment))}</p>"]
    if facts.asked is not None:
        here = table_one(facts.asked.assign(split=""), facts.target, facts.classes)
        parts.append(f"<h3>People here ({escape(facts.place)})</h3>{as_table(here)}")
    title = "Table one" if facts.asked is None else "People of the run"
    parts.append(f"<h3>{title}</h3>{as_table(table_one(facts.table, facts.target, facts.classes))}")
    return "".join(parts)


def flow(facts: Facts) -> list[list[str]]:
    """A heading, and what is left after each step, with what it left out."""
    rows = [["", "scans", "subjects", "left out"]]
    before: tuple[int, int] | None = None
    for step in facts.flow:
        left = step["rows"], step["subjects"]
        rows.append([step["name"], str(left[0]), str(left[1]), "" if before is None else _left_out(before, left)])
        before = left
    people = facts.table if facts.asked is None else facts.asked
    used = len(people), people["subject"].nunique()
    rows.append(["used", *map(str, used), "" if before is None else _left_out(before, used)])
    predicted = facts.predictions.dropna(subset=["prediction"])
    asked = facts.predictions
    if facts.asked is None:
        for side in ("train", "validation", "test"):
            of = people[people["split"] == side]
            if len(of):
                name = "train and validation, by folds" if facts.experiment.split.folds and side == "train" else side
                rows.append([f"of these, {name}", str(len(of)), str(of["subject"].nunique()), ""])
    counts = [(len(each), each["subject"].nunique()) for each in (asked, predicted)]
    rows.append([f"predicted here ({facts.place})", *map(str, counts[1]), _left_out(*counts)])
    return rows


def _left_out(before: tuple[int, int], after: tuple[int, int]) -> str:
    scans, subjects = before[0] - after[0], before[1] - after[1]
    if not scans:
        return "nobody"
    return f"{scans} scan{'s' * (scans > 1)}, {subjects} subject{'s' * (subjects != 1)}"


def risks(facts: Facts) -> str:
    """Confounds and leaks that are known of, and what was looked for."""
    people = facts.table["subject"].nunique()
    if people < FEWEST:
        said = f"{people} subjects are too few to tell what goes with {facts.target} from chance."
    else:
        tried = ["the site", "the spacing", "the scanner's grid", "the order of rows or of ids", "age", "sex"]
        tried = [each for each in tried if each not in (facts.target, f"the {facts.target}")]
        said = (
            f"It was tested in {people} subjects whether {', '.join(tried[:-1])} or {tried[-1]} tells {facts.target}."
        )
    asked = "Whether one person stands under two ids, and whether a skull tells,"
    unread = (
        f"{asked} was looked for in the voxels by tfmri check."
        if facts.examined
        else f"{asked} is seen in the voxels only: it is not known until tfmri check {facts.run.path.parent.name} has "
        "looked at this cohort; then evaluate again."
    )
    same = "Identical images were looked for among the prepared scans."
    blocks = [
        f'<div class="finding {finding.harm.name.lower()}"><b>{escape(finding.check.replace("_", " "))}</b> '
        f'<span class="dim">{HARMS[finding.harm]}</span>'
        f"<p>{escape(told(finding, True) if facts.anonymous and finding.scans else finding.found)}</p>"
        f'<p class="dim">{escape(finding.advice)}</p></div>'
        for finding in facts.findings
    ]
    return f"<p>{escape(' '.join([said, same, unread]))}</p>" + ("".join(blocks) or "<p>Nothing was found.</p>")
