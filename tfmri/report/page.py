"""report.html: one page that needs nothing but itself, on a screen and on paper.

Pictures stand in it as data, there is no script, and its own policy forbids a browser to load anything. Whatever comes
from labels and files is escaped.
"""

import base64
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfmri import __version__
from tfmri.evaluation.summary import in_figures
from tfmri.images.montage import montage
from tfmri.report.facts import Facts, commands, worst
from tfmri.report.table_one import table_one
from tfmri.report.words import preparation_in_words, split_in_words, training_in_words

Load = Callable[[str], np.ndarray | None]  # scan -> its prepared image (x, y, z, channel), None where it is not there
CAPTIONS = {  # figures in the order in which they are shown -> what they are
    "roc": "ROC curve; the band is a 95 % interval over subjects.",
    "confusion_matrix": "Counts and percentages of each true class.",
    "reliability": "How often the model is right, beside how sure it is.",
    "predicted_vs_true": "Prediction against truth, with the line of identity.",
    "gap_vs_age": "Gap (prediction minus age) against age: models guess towards the mean.",
    "bland_altman": "Bland-Altman: difference against mean, with limits of agreement.",
    "histogram_by_split": "The target by split.",
}
SHOWN_FIRST = 8  # scans of the montage
STYLE = """
:root { color-scheme: light; --text: #1b1f24; --dim: #5b6470; --card: #f5f6f8; --line: #d5d9df; --warn: #8a5a00;
  --blue: #0072b2; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: #fff; margin: 0 auto; max-width: 1080px;
  padding: 1.4rem 1.6rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .5rem; border-bottom: 1px solid var(--line); padding-bottom: .2rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; }
p { margin: .4rem 0; max-width: 50rem; }
.dim, figcaption { color: var(--dim); }
.result { font-size: 1.1rem; }
.private { border: 1px solid var(--line); border-radius: 6px; padding: .4rem .8rem; display: inline-block; }
.warnings { background: #fff8ea; border-left: 5px solid var(--warn); border-radius: 4px; padding: .5rem .9rem; }
.warnings ul { margin: .2rem 0; padding-left: 1.2rem; }
nav { display: flex; flex-wrap: wrap; gap: 0 1rem; }
nav a { color: var(--blue); white-space: nowrap; }
table { border-collapse: collapse; margin: .4rem 0; }
th, td { text-align: left; padding: .3rem 1.2rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--dim); font-weight: 500; }
td { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
td:first-child { color: var(--dim); }
td, th { min-width: 2.5rem; }
td:not(:last-child), th { overflow-wrap: normal; white-space: nowrap; }
.scroll { overflow-x: auto; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(330px, 1fr)); gap: 1rem; align-items: start; }
figure { margin: 0; break-inside: avoid; }
figure img { display: block; width: 100%; height: auto; }
figure.heads img { background: #000; border-radius: 4px; }
figcaption { font-size: .88rem; padding: .3rem 0; overflow-wrap: anywhere; }
pre { background: var(--card); border-radius: 4px; padding: .6rem .9rem; white-space: pre-wrap;
  overflow-wrap: anywhere; }
@page { margin: 15mm; }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  .figures { grid-template-columns: repeat(2, 1fr); }
  h2, h3 { break-after: avoid; }
  tr, pre { break-inside: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


def page(facts: Facts, load: Load) -> str:
    """The whole page.

    Args:
        facts: of a run and its results.
        load: gives prepared images, for the pictures of heads.
    """
    sections = {
        "Cohort": _cohort(facts),
        "Preparation": _preparation(facts, load),
        "Training": _training(facts),
        "Results": _results(facts),
        "Calibration and uncertainty": _adjustments(facts),
        "Groups": _groups(facts),
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
        else "This page shows heads and ids of people: keep it where the scans are kept (--anonymize leaves them out)."
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
            f'<p class="dim">{escape(title)}</p><p class="private">{privacy}</p><nav>{links}</nav></header>',
            f'<section class="warnings"><b>Before you believe it</b><ul>{warnings}</ul></section>' if warnings else "",
            *(f'<section id="{_anchor(name)}"><h2>{escape(name)}</h2>{body}</section>' for name, body in shown.items()),
            f'<footer><p class="dim">Written by tfmri {escape(__version__)}.</p></footer>\n</body>\n</html>\n',
        ]
    )


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")


def _cohort(facts: Facts) -> str:
    table = facts.table
    flow = [["in the labels file and usable", str(len(table)), str(table["subject"].nunique())]]
    for side in ("train", "validation", "test"):
        of = table[table["split"] == side]
        if len(of):
            name = "train and validation, by folds" if facts.experiment.split.folds and side == "train" else side
            flow.append([name, str(len(of)), str(of["subject"].nunique())])
    predicted = facts.predictions.dropna(subset=["prediction"])
    flow.append([f"predicted here ({facts.place})", str(len(predicted)), str(predicted["subject"].nunique())])
    where = facts.experiment.data.where
    said = f" Rows were kept where <code>{escape(where)}</code>." if where else ""
    return (
        _table([["", "scans", "subjects"], *flow])
        + f"<p>{escape(split_in_words(facts.experiment))}{said} What was left out stands among the warnings.</p>"
        + "<h3>Table one</h3>"
        + _table(table_one(table, facts.target))
    )


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
    return said + _figure(_jpeg(shown), note, "heads")


def _training(facts: Facts) -> str:
    pictures = [
        _figure(
            _png(fit.learning_curves), "Learning curves" + (f" of {fit.path.name}." if len(facts.fits) > 1 else ".")
        )
        for fit in facts.fits
        if fit.learning_curves.exists()
    ]
    return f"<p>{escape(training_in_words(facts.experiment))}</p>{_grid(pictures)}"


def _results(facts: Facts) -> str:
    best = facts.best.get(facts.target, {})
    rows = [["", "value [95 % interval]", "trivial", *(["best reachable"] if best else []), "n", ""]]
    for name, entry in facts.metrics.items():
        reachable = [f"{best[name]:.2f}" if name in best else ""] if best else []
        rows.append([_words(name), *_numbers(entry), *reachable, str(entry["n"]), entry.get("note", "")])
    figures = [
        _figure(_png(path), caption)
        for name, caption in CAPTIONS.items()
        if (path := facts.folder / "figures" / f"{name}.png").exists()
    ]
    fits = facts.summary.get("fits", {}).get(facts.target, {})
    apart = ""
    if fits:
        spread = [["", "mean over fits", "SD", "lowest", "highest", "fits"]]
        for name, each in fits.items():
            sd = "-" if each["sd"] is None else f"{each['sd']:.3f}"
            ends = [f"{each[key]:.3f}" for key in ("lowest", "highest")]
            spread.append([_words(name), f"{each['mean']:.3f}", sd, *ends, str(each["fits"])])
        apart = "<h3>Each fit by itself</h3><p>How much depends on seed and fold, which intervals do not tell.</p>"
        apart += _table(spread)
    note = "Intervals resample subjects. Trivial is the most frequent class, or the mean, of the training people."
    return f"<p>{note}</p>{_table(rows)}{_grid(figures)}{apart}"


def _adjustments(facts: Facts) -> str:
    found = facts.summary.get("adjustments", {}).get(facts.target, {})
    if not found:
        return ""
    counts = f"{found['n']} scans of {found['subjects']} people"
    parts = [f"<p>Learnt on validation ({counts}), none of it changes the headline.</p>"]
    if "value" in found.get("temperature", {}):
        each = found["temperature"]
        rows = [["", "as the model says", f"with temperature {each['value']:.2f}"]]
        rows += [
            [_words(name), in_figures(each["before"][name]), in_figures(each["after"][name])] for name in each["before"]
        ]
        parts.append("<h3>Calibration</h3>" + _table(rows))
    if "value" in found.get("threshold", {}):
        each = found["threshold"]
        rows = [["", f"{each['of']} ≥ {each['value']:.2f}", "at 0.50"]]
        rows += [
            [_words(name), in_figures(entry), in_figures(facts.metrics[name])]
            for name, entry in each["metrics"].items()
        ]
        parts.append("<h3>Threshold</h3>" + _table(rows))
    if "coverage" in found.get("conformal", {}):
        each = found["conformal"]
        if "half_width" in each:
            size = f"Intervals reach {each['half_width']:.1f} to either side of the prediction"
        else:
            size = f"Sets hold {each['mean_size']['value']:.2f} classes on average"
        parts.append(
            f"<h3>Conformal prediction</h3><p>{size}; they are to hold the truth for {each['level']:.0%} of people, "
            f"and did for {in_figures(each['coverage'])} of the scans here.</p>"
        )
    if "slope" in found.get("age_bias", {}):
        each = found["age_bias"]
        rows = [["", "corrected", "as predicted"]]
        rows += [
            [_words(name), in_figures(entry), in_figures(facts.metrics[name])]
            for name, entry in each["corrected"].items()
        ]
        line = f"gap = {each['slope']:+.3f} × age {each['intercept']:+.1f}"
        parts.append(
            f"<h3>Bias with age</h3><p>{line}, fitted on validation ({escape(each['who'])}). Corrected gaps use the "
            f"true age: they are for relating the gap to other things, and no better predictions.</p>" + _table(rows)
        )
    parts += [
        f'<p class="dim">No {escape(_words(name))}: {escape(each["note"])}.</p>'
        for name, each in found.items()
        if isinstance(each, Mapping) and "note" in each
    ]
    return "".join(parts)


def _groups(facts: Facts) -> str:
    name, words, _ = facts.headline()
    parts = []
    for column, groups in facts.summary["groups"].get(facts.target, {}).items():
        rows = [[column.replace("_", " "), words, "trivial", "n", ""]]
        for group, metrics in groups.items():
            entry = metrics[name]
            rows.append([group, *_numbers(entry), str(entry["n"]), entry.get("note", "")])
        parts.append(_table(rows))
    return "".join(parts)


def _worst(facts: Facts, load: Load) -> str:
    rows = worst(facts)
    if rows.empty:
        return ""
    if facts.anonymous:
        cells = [["", "truth", "prediction"]]
        cells += [[str(place), *_said(row)] for place, (_, row) in enumerate(rows.iterrows(), 1)]
        return _table(cells)
    figures = []
    for _, row in rows.iterrows():
        image = load(str(row["scan"]))
        true, said = _said(row)
        caption = (
            f"{row['scan']}{', ' + str(row['site']) if row['site'] == row['site'] else ''}: {said}, in truth {true}"
        )
        picture = "" if image is None else _jpeg(montage(image[None, ..., :1], planes="three"))
        figures.append(_figure(picture, caption, "heads"))
    return f"<p>The scans that are most wrong: look whether something is the matter with them.</p>{_grid(figures)}"


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
        _figure(_png(known.parent / each["file"]), each["caption"], "heads" if each.get("heads", True) else "")
        for each in summary["figures"]
        if not (facts.anonymous and each.get("heads", True)) and (known.parent / each["file"]).exists()
    ]
    return _table(rows) + said + _grid(figures)


def _limits(facts: Facts) -> str:
    said = [
        "Results hold for people like these, scanned like these: another scanner, sequence or age range needs a test "
        "of its own (tfmri evaluate RUN --labels FILE --name NAME).",
        "A network takes whatever tells the answer, also site, motion or head size. Agreement by site, sex and age "
        "above is a sign, not a proof, that it does not.",
        "This is research software. It is no medical device, and says nothing that a patient may be treated by.",
    ]
    return "<ul>" + "".join(f"<li>{escape(each)}</li>" for each in said) + "</ul>"


def _again(facts: Facts) -> str:
    known = facts.provenance()
    versions = [[name, str(version)] for name, version in known["versions"].items() if version]
    git = known.get("git") or {}
    commit = str(git.get("commit", "")) if isinstance(git, Mapping) else str(git)
    rows = [["python", str(known["python"])], *versions, *([["commit", commit]] if commit else [])]
    rows += [["seeds", ", ".join(f"{name} {value}" for name, value in known["seeds"].items())]]
    rows += [["labels, SHA-256", str(known["labels"]["sha256"])]]
    if not facts.anonymous:
        rows += [["machine", f"{known['host']}, {known['system']}"], ["labels", str(known["labels"]["path"])]]
    typed = "\n".join(commands(facts))
    return f"<pre>{escape(typed)}</pre>{_table([['', ''], *rows])}"


def _numbers(entry: Mapping[str, Any]) -> list[str]:
    return [in_figures(entry), "-" if entry["trivial"] is None else f"{entry['trivial']:.2f}"]


def _words(name: str) -> str:
    return name.replace("_", " ")


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Cells as text; the first row is the heading."""
    kept = [place for place in range(len(rows[0])) if any(row[place] for row in rows)]

    def line(row: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(row[place])}</{tag}>" for place in kept) + "</tr>"

    body = "".join(line(row, "td") for row in rows[1:])
    return f'<div class="scroll"><table><thead>{line(rows[0], "th")}</thead><tbody>{body}</tbody></table></div>'


def _grid(figures: Iterable[str]) -> str:
    return f'<div class="figures">{"".join(figures)}</div>'


def _figure(source: str, caption: str, kind: str = "") -> str:
    picture = f'<img src="{source}" alt="{escape(caption)}">' if source else ""
    return f'<figure class="{kind}">{picture}<figcaption>{escape(caption)}</figcaption></figure>'


def _png(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _jpeg(plane: np.ndarray) -> str:
    from PIL import Image

    picture = Image.fromarray(plane)
    scale = max(1, round(600 / picture.width))
    with io.BytesIO() as file:
        larger = picture.resize((scale * picture.width, scale * picture.height), Image.Resampling.BICUBIC)
        larger.save(file, "JPEG", quality=80, optimize=True)
        return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
