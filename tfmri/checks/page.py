"""A report as one HTML page that a person looks through: findings, the cohort by split, and every scan, worst first.

The page needs nothing but itself: pictures stand in it as data, there is no script, and its own policy forbids a
browser to load anything. Whatever comes from labels and files is escaped.
"""

import base64
import io
import itertools
from collections.abc import Sequence
from html import escape

import numpy as np
import pandas as pd

from tfmri import __version__
from tfmri.checks.finding import Finding, Harm
from tfmri.checks.report import Report, counted, heading, place, rows_told

PICTURES = 18_000_000  # bytes of all pictures together, as text; the page stays well below 25 MB
SIZES = ((1.0, 80), (1.0, 60), (0.75, 60), (0.75, 45), (0.5, 45), (0.5, 25))  # scale and JPEG quality, the best first
WIDEST_PICTURE = 400  # pixels
MOST = 2000  # scans in the montage
LISTED = 12  # links to scans of a finding
TAGS = 4  # findings told below a picture
BINS = 14
WIDTH, HEIGHT = 220, 46  # of a histogram, CSS pixels
WIDEST = 60  # of a bar
SIDES = ("train", "validation", "test")
HARMS = {Harm.SPOILS: "spoils", Harm.DOUBTFUL: "doubtful", Harm.NOTE: "note"}

STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --dim: #5b6470; --page: #fff; --card: #f5f6f8; --line: #d5d9df;
  --spoils: #b3261e; --doubtful: #8a5a00; --note: #3a6ea5; --bar: #4f7cac; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e8eb; --dim: #a3abb5; --page: #14171a; --card: #1e2226; --line: #363c43;
    --spoils: #ff8a80; --doubtful: #f0b95c; --note: #8ab8e6; --bar: #6f9fd0; }
}
* { box-sizing: border-box; }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--text); background: var(--page);
  margin: 0 auto; max-width: 1500px; padding: 1.2rem 1.5rem 4rem; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
p { margin: .3rem 0; }
a { color: inherit; }
dd a { white-space: nowrap; }
.dim, dt { color: var(--dim); }
.private { border: 1px solid var(--line); border-radius: 6px; padding: .4rem .8rem; margin: .8rem 0;
  display: inline-block; }
.spoils { --own: var(--spoils); }
.doubtful { --own: var(--doubtful); }
.note { --own: var(--note); }
.count { display: inline-block; margin-right: 1.2rem; font-weight: 600; color: var(--own); }
.finding { background: var(--card); border-left: 5px solid var(--own); border-radius: 4px; max-width: 1050px;
  padding: .5rem .9rem .6rem; margin: .6rem 0; break-inside: avoid; }
.finding h3 { font-size: 1rem; margin: 0; }
.finding h3 b { color: var(--own); }
.finding h3 span { font-weight: 400; color: var(--dim); overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: 5.5rem 1fr; gap: .1rem .6rem; margin: .3rem 0 0; }
dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; }
th, td { text-align: left; vertical-align: middle; padding: .35rem 1.3rem .35rem 0;
  border-bottom: 1px solid var(--line); }
th { color: var(--dim); font-weight: 500; }
td.n { font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
svg { display: block; }
svg rect { fill: var(--bar); }
svg text { fill: var(--dim); font-size: 11px; }
svg line { stroke: var(--line); }
.scans { display: grid; grid-template-columns: repeat(auto-fill, minmax(330px, 1fr)); gap: .8rem; }
figure { margin: 0; background: var(--card); border-radius: 6px; border-top: 4px solid var(--own, var(--line));
  overflow: hidden; break-inside: avoid; content-visibility: auto; contain-intrinsic-size: auto 230px; }
figure:target { outline: 3px solid var(--note); }
figure img { display: block; width: 100%; height: auto; background: #000; }
.none { display: grid; place-items: center; height: 120px; color: var(--dim); background: #8882; }
figcaption { padding: .4rem .7rem .55rem; font-size: .87rem; overflow-wrap: anywhere; }
figcaption ul { margin: .25rem 0 0; padding: 0; list-style: none; }
figcaption li { color: var(--own); }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  .scans { grid-template-columns: repeat(3, 1fr); }
  figure { content-visibility: visible; }
  h2 { break-after: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


def page(report: Report) -> str:
    """The whole page."""
    counts = [
        f'<a class="count {HARMS[harm]}" href="#{HARMS[harm]}">{heading(harm, len(report.of(harm)))}</a>'
        for harm in Harm
        if report.of(harm)
    ]
    title = f"Check of {escape(report.name)}"
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta http-equiv="Content-Security-Policy"',
            " content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">",
            f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>",
            f"<p>{escape(report.summary())}</p>",
            '<p class="private">This page shows heads and ids of people: keep it where the scans are kept.</p>',
            f"<p>{''.join(counts) or 'There is nothing to tell.'}</p>\n</header>",
            *(_findings(report, harm) for harm in Harm if report.of(harm)),
            _cohort(report) if len(report.table) else "",
            _scans(report) if len(report.table) else "",
            f'<footer><p class="dim">Written by tfmri {escape(__version__)}, <code>tfmri check</code>.</p></footer>',
            "</body>\n</html>\n",
        ]
    )


def _findings(report: Report, harm: Harm) -> str:
    findings = report.of(harm)
    anchors = _anchors(report)
    cards = [_card(report, finding, anchors) for finding in findings]
    title = f'<h2 id="{HARMS[harm]}">{heading(harm, len(findings))[0].upper()}{heading(harm, len(findings))[1:]}</h2>'
    return "\n".join([f'<section class="{HARMS[harm]}">', title, *cards, "</section>"])


def _card(report: Report, finding: Finding, anchors: dict[str, str]) -> str:
    facts = [("found", escape(finding.found)), ("expected", escape(finding.expected)), ("do", escape(finding.advice))]
    facts.append(("scans", _links(report, finding, anchors)))
    facts.append(("numbers", escape(", ".join(f"{name} {value:.3g}" for name, value in finding.numbers.items()))))
    listed = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in facts if text)
    title = f"<b>{escape(_words(finding.check))}</b> <span>{escape(place(report, finding))}</span>"
    return f'<article class="finding"><h3>{title}</h3><dl>{listed}</dl></article>'


def _links(report: Report, finding: Finding, anchors: dict[str, str]) -> str:
    """The first scans of a finding, each leading to its picture."""
    if not finding.scans:
        return ""
    links = [
        f'<a href="#{anchors[scan]}">{escape(scan)}</a>' if scan in anchors else escape(scan)
        for scan in finding.scans[:LISTED]
    ]
    more = f" and {len(finding.scans) - LISTED} more" if len(finding.scans) > LISTED else ""
    return ", ".join(links) + more + rows_told(report, finding)


def _anchors(report: Report) -> dict[str, str]:
    """Scan -> the name of its place on the page, of those in the montage."""
    return {report.table["scan"].iloc[position]: f"scan-{position}" for position in report.order[:MOST]}


# The cohort


def _cohort(report: Report) -> str:
    target = report.target
    table = report.table.assign(site=report.table["site"].replace("", "none"))
    sides = [side for side in SIDES if (table["split"] == side).any()]
    sites = sorted(table["site"].unique())
    heads = ["", "scans", "subjects", *(["sites"] if len(sites) > 1 else []), target, "distribution, in subjects"]
    rows = [(side, table[table["split"] == side]) for side in sides] + [("all", table)]
    lines = []
    for name, part in rows:
        people = part.drop_duplicates("subject")[target]
        cells = [f"<th>{name}</th>", f'<td class="n">{len(part)}</td>', f'<td class="n">{len(people)}</td>']
        if len(sites) > 1:
            cells.append(f"<td>{escape(_counts(part['site'], sites))}</td>")
        cells.append(f"<td>{escape(_summary(people, report.classes))}</td>")
        cells.append(f"<td>{_histogram(people, table[target], report.classes)}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    header = "".join(f"<th>{escape(each)}</th>" for each in heads)
    return (
        '<section>\n<h2 id="cohort">The cohort</h2>\n<div class="scroll"><table>'
        f"<thead><tr>{header}</tr></thead>\n<tbody>" + "\n".join(lines) + "</tbody></table></div>\n</section>"
    )


def _summary(values: pd.Series, classes: Sequence[str]) -> str:
    if classes:
        return _counts(values, classes)
    return f"mean {values.mean():.1f}, SD {np.std(values):.1f}, {values.min():g} to {values.max():g}"


def _counts(values: pd.Series, labels: Sequence[str]) -> str:
    return ", ".join(f"{(values == label).sum()}\N{NO-BREAK SPACE}{label}" for label in labels if label in set(values))


def _histogram(values: pd.Series, everybody: pd.Series, classes: Sequence[str]) -> str:
    """Bars of the shares of `values`, over the classes or, where there are none, the range of everybody."""
    if classes:
        names = labels = list(classes)
        counts = np.array([(values == label).sum() for label in labels])
    else:
        edges = np.histogram_bin_edges(everybody, BINS)
        counts = np.histogram(values, edges)[0]
        labels = [f"{edges[0]:g}", *[""] * (len(counts) - 2), f"{edges[-1]:g}"]
        names = [f"{low:.3g} to {high:.3g}" for low, high in itertools.pairwise(edges)]
    step = min(WIDTH / len(counts), WIDEST)
    bars = [
        f'<rect x="{step * i + 1:.1f}" y="{HEIGHT - (bar := HEIGHT * count / max(counts.max(), 1)):.1f}"'
        f' width="{step - 2:.1f}" height="{bar:.1f}"><title>{escape(names[i])}: {count}</title></rect>'
        for i, count in enumerate(counts)
    ]
    texts = [_label(text, i, len(labels), step, not classes) for i, text in enumerate(labels) if text]
    told = escape(", ".join(f"{name}: {count}" for name, count in zip(names, counts, strict=True)))
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT + 15}" role="img" aria-label="{told}">{"".join(bars)}'
        f'<line x1="0" x2="{step * len(counts):.1f}" y1="{HEIGHT}" y2="{HEIGHT}"/>{"".join(texts)}</svg>'
    )


def _label(text: str, place: int, count: int, step: float, numeric: bool) -> str:
    """The text below a bar; of numbers only the ends of the axis are told."""
    x, anchor = step * (place + 0.5), "middle"
    if numeric:
        x, anchor = (0, "start") if place == 0 else (step * count, "end")
    return f'<text x="{x:.1f}" y="{HEIGHT + 12}" text-anchor="{anchor}">{escape(text)}</text>'


# The scans


def _scans(report: Report) -> str:
    shown = report.order[:MOST]
    told = [f"{counted(len(report.table), 'scan')}, those first that need a look."]
    if len(shown) < len(report.table):
        told.append(f"Only the first {len(shown)} are shown.")
    if any(plane is not None for plane in report.planes):
        told.append(
            "As seen from behind and above: the subject's right is on the right; in the last plane the front is. "
            "Dark grey lies outside of the field of view."
        )
    pictures = _pictures([report.planes[position] if len(report.planes) else None for position in shown])
    findings = _by_scan(report)
    figures = [
        _figure(report, int(position), picture, findings.get(report.table["scan"].iloc[position], []))
        for position, picture in zip(shown, pictures, strict=True)
    ]
    head = f'<section>\n<h2 id="scans">The scans</h2>\n<p class="dim">{" ".join(told)}</p>\n<div class="scans">'
    return "\n".join([head, *figures, "</div>\n</section>"])


def _by_scan(report: Report) -> dict[str, list[Finding]]:
    """What is told of each scan; what is told of more than half of them is left to the findings above."""
    result: dict[str, list[Finding]] = {}
    for finding in report.findings:
        if 2 * len(finding.scans) <= len(report.table):
            for scan in finding.scans:
                result.setdefault(scan, []).append(finding)
    return result


def _figure(report: Report, position: int, picture: str, findings: Sequence[Finding]) -> str:
    row = report.table.iloc[position]
    value = f"{row[report.target]:g}" if report.numeric else str(row[report.target])
    facts = [f"{report.target} {value}", row["site"], row["split"], f"row {report.rows[position]}"]
    caption = f"<b>{escape(row['scan'])}</b> · {escape(' · '.join(fact for fact in facts if fact))}"
    tags = [
        f'<li class="{HARMS[each.harm]}" title="{escape(each.found)}">{escape(_words(each.check))}</li>'
        for each in findings[:TAGS]
    ]
    if len(findings) > TAGS:
        tags.append(f"<li>and {len(findings) - TAGS} more</li>")
    harm = f' class="{HARMS[findings[0].harm]}"' if findings and findings[0].harm < Harm.NOTE else ""
    listed = f"<ul>{''.join(tags)}</ul>" if tags else ""
    return f'<figure id="scan-{position}"{harm}>{picture}<figcaption>{caption}{listed}</figcaption></figure>'


def _pictures(planes: Sequence[np.ndarray | None]) -> list[str]:
    """An <img> for each scan, as fine as fits into the page."""
    from PIL import Image

    def encode(plane: np.ndarray | None, scale: float, quality: int) -> str:
        if plane is None:
            return '<div class="none">no picture</div>'
        picture = Image.fromarray(plane)
        scale *= min(1.0, WIDEST_PICTURE / picture.width)  # what cannot be prepared may have any size
        size = (max(1, round(scale * picture.width)), max(1, round(scale * picture.height)))
        with io.BytesIO() as file:
            picture.resize(size, Image.Resampling.LANCZOS).save(file, "JPEG", quality=quality, optimize=True)
            data = base64.b64encode(file.getvalue()).decode()
        source = f'src="data:image/jpeg;base64,{data}" width="{size[0]}" height="{size[1]}"'
        return f'<img {source} loading="lazy" decoding="async" alt="axial, coronal and sagittal slice">'

    pictures: list[str] = []
    for scale, quality in SIZES:
        pictures = [encode(plane, scale, quality) for plane in planes]
        if sum(map(len, pictures)) <= PICTURES:
            break
    return pictures


def _words(check: str) -> str:
    return check.replace("_", " ")
