"""A picture of captioned tiles on dark ground, for a person to look through: previews and checks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

GROUND, INK, HEAD = 24, 205, 255  # greys of the ground, of captions and of titles
GAP = 12  # pixels between tiles
LETTERS = 15  # pixels, size of a caption; titles are larger by a third
LINES = 3


@dataclass(frozen=True)
class Section:
    """Tiles under one title.

    Args:
        title: a line above them.
        tiles: (height, width) uint8 each, all of one size.
        captions: under each tile, broken into lines of its width, `LINES` at most.
        columns: tiles in a row.
    """

    title: str
    tiles: Sequence[np.ndarray]
    captions: Sequence[str]
    columns: int


def contact_sheet(sections: Sequence[Section]) -> "Image":
    """All sections, one below the other."""
    from PIL import Image

    pictures = [_section(section) for section in sections]
    width = max(picture.width for picture in pictures)
    sheet = Image.new("L", (width, sum(picture.height for picture in pictures)), GROUND)
    top = 0
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height
    return sheet


def _section(section: Section) -> "Image":
    from PIL import Image, ImageDraw, ImageFont

    title_font, font = (ImageFont.load_default(size=size) for size in (LETTERS * 4 // 3, LETTERS))
    height, width = section.tiles[0].shape
    captions = [_lines(caption, font, width) for caption in section.captions]
    head, below = 2 * LETTERS + GAP, max(map(len, captions)) * (LETTERS + 6)
    columns = min(section.columns, len(section.tiles))
    rows = -(-len(section.tiles) // columns)
    left = int(max(GAP + columns * (width + GAP), 2 * GAP + title_font.getlength(section.title)))
    picture = Image.new("L", (left, head + rows * (height + below + GAP)), GROUND)
    draw = ImageDraw.Draw(picture)
    draw.text((GAP, GAP), section.title, fill=HEAD, font=title_font)
    for number, (tile, caption) in enumerate(zip(section.tiles, captions, strict=True)):
        row, column = divmod(number, columns)
        x, y = GAP + column * (width + GAP), head + row * (height + below + GAP)
        picture.paste(Image.fromarray(tile), (x, y))
        for line, text in enumerate(caption):
            draw.text((x, y + height + 2 + line * (LETTERS + 6)), text, fill=INK, font=font)
    return picture


def _lines(text: str, font, width: int) -> list[str]:
    """`text` in lines of at most `width` pixels, broken between words; the last one ends in dots where more follows."""
    lines, words = [""], text.split(" ")
    for number, word in enumerate(words):
        longer = f"{lines[-1]} {word}".lstrip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        elif len(lines) < LINES:
            lines.append(word)
        else:
            lines[-1] = " ".join([lines[-1], *words[number:]])
            break
    return [_fitting(line, font, width) for line in lines]


def _fitting(text: str, font, width: int) -> str:
    """`text`, cut with dots where it is longer than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
