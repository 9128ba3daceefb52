"""The pieces of a page: style, tables, figures. Whatever stands in a cell or a caption is escaped."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from tfmri.evaluation.summary import in_figures

LONG = 28  # characters, beyond which a cell is wrapped
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
.warnings { background: #fff8ea; border-left: 5px solid var(--warn); border-radius: 4px; padding: .5rem .9rem;
  margin-top: .9rem; }
.finding { background: var(--card); border-left: 5px solid var(--line); border-radius: 4px; padding: .4rem .9rem;
  margin: .6rem 0; max-width: 52rem; break-inside: avoid; }
.finding.spoils { border-color: var(--warn); }
.warnings ul { margin: .2rem 0; padding-left: 1.2rem; }
nav { display: flex; flex-wrap: wrap; gap: 0 1rem; }
nav a { color: var(--blue); white-space: nowrap; }
table { border-collapse: collapse; margin: .4rem 0; }
th, td { text-align: left; padding: .3rem 1.2rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--dim); font-weight: 500; }
td { font-variant-numeric: tabular-nums; }
td:first-child { color: var(--dim); }
td, th { min-width: 2.5rem; }
td, th { white-space: nowrap; }
td.long { white-space: normal; overflow-wrap: anywhere; min-width: 13rem; }
.scroll { overflow-x: auto; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(420px, 100%), 1fr));
  gap: 1rem 1.6rem; align-items: start; }
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
  .scroll { overflow: visible; }
  table { font-size: 9pt; }
  td, th { white-space: normal; padding-right: .7rem; }
  h2, h3 { break-after: avoid; }
  tr, pre { break-inside: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


def as_table(rows: Sequence[Sequence[str]]) -> str:
    """Cells as text; the first row is the heading. Columns without any text are left out, long ones are wrapped."""
    kept = [place for place in range(len(rows[0])) if any(row[place] for row in rows)]
    wrapped = {place for place in kept if any(len(row[place]) > LONG for row in rows[1:])}

    def line(row: Sequence[str], tag: str) -> str:
        long = ' class="long"' if tag == "td" else ""
        cells = (f"<{tag}{long if place in wrapped else ''}>{escape(row[place])}</{tag}>" for place in kept)
        return f"<tr>{''.join(cells)}</tr>"

    body = "".join(line(row, "td") for row in rows[1:])
    return f'<div class="scroll"><table><thead>{line(rows[0], "th")}</thead><tbody>{body}</tbody></table></div>'


def as_grid(figures: Iterable[str]) -> str:
    """Figures side by side, as many as there is room for."""
    return f'<div class="figures">{"".join(figures)}</div>'


def as_figure(source: str, caption: str, kind: str = "") -> str:
    """A picture, where there is a `source`, above its caption; `kind` is a class of the style."""
    picture = f'<img src="{source}" alt="{escape(caption)}">' if source else ""
    return f'<figure class="{kind}">{picture}<figcaption>{escape(caption)}</figcaption></figure>'


def png(path: Path) -> str:
    """A PNG file as the source of a picture."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def jpeg(plane: np.ndarray) -> str:
    """(height, width) uint8 as the source of a picture, enlarged to some 600 pixels."""
    from PIL import Image

    picture = Image.fromarray(plane)
    scale = max(1, round(600 / picture.width))
    with io.BytesIO() as file:
        larger = picture.resize((scale * picture.width, scale * picture.height), Image.Resampling.BICUBIC)
        larger.save(file, "JPEG", quality=80, optimize=True)
        return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def numbers(entry: Mapping[str, Any]) -> list[str]:
    """Value with interval, and the trivial predictor's value."""
    return [in_figures(entry), in_figures({"value": entry["trivial"], "lower": None})]


def words(name: str) -> str:
    """A name without underscores."""
    return name.replace("_", " ")
