"""report.html: one page that needs nothing but itself, on a screen and on paper.

Pictures stand in it as data, there is no script, and its own policy forbids a browser to load anything. Whatever comes
from labels and files is escaped.
"""

import json
from collections.abc import Callable, Mapping
from html import escape

import numpy as np
import pandas as pd

from tfmri import __version__
from tfmri.images.montage import montage
from tfmri.report.facts import Facts, commands, limits, worst
from tfmri.report.markup import STYLE, as_figure, as_grid, as_table, jpeg, png
from tfmri.report.people import cohort, risks
from tfmri.report.results import adjustments, classical, groups, results
from tfmri.report.words import preparation_in_words, question_in_words, training_in_words
from tfmri.runs.directory import Fit

Load = Callable[[str], np.ndarray | None]  # scan -> its prepared image (x, y, z, channel), None where it is not there
SHOWN_FIRST = 8  # scans of the montage


def page(facts: Facts, load: Load) -> str:
    """The whole page.

    Args:
        facts: of a run and its results.
        load: gives prepared images, for the pictures of heads.
    """
    sections = {
        "Cohort": cohort(facts),
        "Confounds and leaks": risks(facts),
        "Preparation": _preparation(facts, load),
        "Training": _training(facts),
        "Results": results(facts),
        "Classical models": classical(facts),
        "Calibration and uncertainty": adjustments(facts),
        "Groups": groups(facts),
        "Worst cases": _worst(facts, load),
        "What the network looks at": _explained(facts),
        "Limits": _limits(facts),
        "Again": _again(facts),
    }
    shown = {name: body for name, body in sections.items() if body}
    title = f"{facts.target} by {facts.experiment.model.name}: {facts.name}, {facts.place}"
    links = "".join(f'<a href="#{_anchor(name)}">{escape(name)}</a>' for name in shown)
    warnings = "".join(f"<li>{escape(each)}</li>" for each in facts.warnings())
    privacy = (
        "Heads, ids and paths are left out of this page."
        if facts.anonymous
        else "This page shows heads and ids of people: keep it where the scans are kept (--anonymous leaves them out)."
    )
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta http-equiv="Content-Security-Policy"',
            " content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">",
            f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>",
            f"<header><h1>{escape(facts.sentences()[0])}</h1>",
            f'<p class="result">{escape(" ".join(facts.sentences()[1:]))}</p>',
            f"<p>{escape(question_in_words(facts.experiment, facts.table))}</p>",
            f'<p class="dim">{escape(title)}</p><p class="private">{privacy}</p><nav>{links}</nav></header>',
            f'<section class="warnings"><b>Before you believe it</b><ul>{warnings}</ul></section>' if warnings else "",
            *(f'<section id="{_anchor(name)}"><h2>{escape(name)}</h2>{body}</section>' for name, body in shown.items()),
            f'<footer><p class="dim">Written by tfmri {escape(__version__)}.</p></footer>\n</body>\n</html>\n',
        ]
    )


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")


def _preparation(facts: Facts, load: Load) -> str:
    said = f"<p>{escape(preparation_in_words(facts.experiment))}</p>"
    if facts.anonymous:
        return said
    names = [str(name) for name in facts.predictions["scan"].head(SHOWN_FIRST)]
    images = [image for name in names if (image := load(name)) is not None]
    if not images:
        return said + '<p class="dim">The prepared scans are no longer in the cache: there is no picture of them.</p>'
    shown = montage(np.stack(images)[..., :1], planes="three")
    note = "Prepared scans as the network sees them; the subject's right is on the right."
    return said + as_figure(jpeg(shown), note, "heads")


def _training(facts: Facts) -> str:
    pictures = [
        as_figure(
            png(fit.learning_curves), "Learning curves" + (f" of {fit.path.name}." if len(facts.fits) > 1 else ".")
        )
        for fit in facts.fits
        if fit.learning_curves.exists()
    ]
    return f"<p>{escape(training_in_words(facts.experiment))}</p>{as_grid(pictures)}"


def _worst(facts: Facts, load: Load) -> str:
    rows = worst(facts)
    if rows.empty:
        return ""
    if facts.anonymous:
        cells = [["", "truth", "prediction"]]
        cells += [[str(place), *_said(row)] for place, (_, row) in enumerate(rows.iterrows(), 1)]
        return as_table(cells)
    figures = []
    for _, row in rows.iterrows():
        image = load(str(row["scan"]))
        true, said = _said(row)
        caption = (
            f"{row['scan']}{', ' + str(row['site']) if row['site'] == row['site'] else ''}: {said}, in truth {true}"
        )
        picture = "" if image is None else jpeg(montage(image[None, ..., :1], planes="three"))
        figures.append(as_figure(picture, caption, "heads"))
    return f"<p>The scans that are most wrong: look whether something is the matter with them.</p>{as_grid(figures)}"


def _said(row: pd.Series) -> tuple[str, str]:
    if isinstance(row["prediction"], str):
        return str(row["truth"]), f"{row['prediction']} (p = {row['p_' + row['prediction']]:.2f})"
    return f"{row['truth']:.1f}", f"{row['prediction']:.1f}"


def _explained(facts: Facts) -> str:
    """The pictures that `tfmri explain` left, or how to have them."""
    known = facts.folder / "explain" / "summary.json"
    if not known.exists():
        return f"<p>Not asked yet: <code>{escape(f'tfmri explain {facts.name}')}</code>, then evaluate again.</p>"
    summary = json.loads(known.read_text())
    rows = [["of the attribution, outside of the head", ""]]
    rows += [[name, f"{share:.0%}"] for name, share in summary["outside_head"].items()]
    notes = [*summary.get("notes", ()), *summary.get("sanity", {}).get("sentences", ())]
    said = "<ul>" + "".join(f"<li>{escape(each)}</li>" for each in notes) + "</ul>" if notes else ""
    figures = [
        as_figure(png(known.parent / each["file"]), each["caption"], "heads" if each.get("heads", True) else "")
        for each in summary["figures"]
        if not (facts.anonymous and each.get("heads", True)) and (known.parent / each["file"]).exists()
    ]
    return as_table(rows) + said + as_grid(figures)


def _limits(facts: Facts) -> str:
    return "<ul>" + "".join(f"<li>{escape(each)}</li>" for each in limits(facts)) + "</ul>"


def _trained(fit: Fit) -> str:
    """When and on what a fit was trained; empty where nobody wrote it down."""
    if not fit.provenance.exists():
        return ""
    known = json.loads(fit.provenance.read_text())
    again = f", gone on {len(known['restarts'])} times" if known.get("restarts") else ""
    ended = f" to {known['ended']}" if "ended" in known else ""
    return f"{known.get('started', '')}{ended}, on {', '.join(known.get('devices', ()))}{again}"


def _again(facts: Facts) -> str:
    known = facts.provenance()
    versions = [[name, str(version)] for name, version in known["versions"].items() if version]
    git = known.get("git") or {}
    commit = str(git.get("commit", "")) if isinstance(git, Mapping) else str(git)
    if isinstance(git, Mapping) and git.get("dirty"):
        commit += ", with changes that stand in uncommitted.diff"
    rows = [["python", str(known["python"])], *versions, *([["commit", commit]] if commit else [])]
    rows += [[f"trained {fit.path.name}", said] for fit in facts.fits if (said := _trained(fit))]
    rows += [["seeds", ", ".join(f"{name} {value}" for name, value in known["seeds"].items())]]
    rows += [["labels, SHA-256", str(known["labels"]["sha256"])]]
    if not facts.anonymous:
        rows += [["machine", f"{known['host']}, {known['system']}"], ["labels", str(known["labels"]["path"])]]
    rows += [["all versions", "requirements.txt, in the run's folder"]]
    typed = "\n".join(commands(facts))
    return f"<pre>{escape(typed)}</pre>{as_table([['', ''], *rows])}"
