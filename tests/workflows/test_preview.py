"""The pictures of `tfmri preview`."""

import json
from pathlib import Path

import numpy as np
from cohort_of_balls import SIZE
from PIL import Image

from tfmri.images.contact_sheet import GAP, LETTERS

SIDE = SIZE * 8  # pixels of a plane: three of 24 voxels have to fill 520 at least


def test_the_picture_shows_every_scan_and_as_many_augmented(cohort, tfmri):
    code, said = tfmri("preview", "small.yaml", "--scans", "3", "--set", "augment=[{flip: {probability: 1}}]")
    assert code == 0 and "preview/small.png" in said
    picture = np.asarray(Image.open("preview/small.png"))
    prepared, augmented = np.array_split(picture.astype(float), 2)
    tiles = [[_axial(half, column) for column in range(3)] for half in (prepared, augmented)]
    for tile in (*tiles[0], *tiles[1]):
        assert tile.std() > 20  # a head on dark ground
    np.testing.assert_array_equal(tiles[1][0], tiles[0][0])  # the scan as it was prepared
    for flipped in tiles[1][1:]:
        assert np.abs(flipped - tiles[0][0][:, ::-1]).mean() < 0.2 * np.abs(flipped - tiles[0][0]).mean()


MOVED = "augment=[{flip: {probability: 1}}, {affine: {probability: 1, scale: [1, 1]}}, {noise: {probability: 1}}]"


def test_what_was_drawn_is_written_beside_the_picture_and_drawn_again_from_there(cohort, tfmri):
    code, said = tfmri("preview", "small.yaml", "--scans", "3", "--set", MOVED)
    assert code == 0 and "preview/small.png\npreview/small-parameters.json\n" in said
    first = Path("preview/small.png").read_bytes()
    written = json.loads(Path("preview/small-parameters.json").read_text())
    assert [draw["scan"] for draw in written["draws"]] == ["s00", "s00"]
    Path("preview/small-parameters.json").rename("kept.json")
    # the seed of the experiment does not count: nothing is drawn
    code, said = tfmri("preview", "small.yaml", "--set", MOVED, "--set", "seed=7", "--replay", "kept.json")
    assert code == 0 and "preview/small.png\n" in said and "parameters.json" not in said
    assert Path("preview/small.png").read_bytes() == first
    assert not Path("preview/small-parameters.json").exists()
    for arguments, words in (
        (["--set", MOVED, "--set", "image.shape=[24,24,20]"], "drawn with shape [24, 24, 24]; expected [24, 24, 20]"),
        (["--set", "augment=[flip]"], "drawn by the recipe [flip, affine, noise]; expected [flip]"),
        (["--set", MOVED, "--set", "data.where=subject != 's00'"], "drawn for s00; expected s01, the first scan"),
        (["--transform", "flip"], "not together with --transform"),
    ):
        code, said = tfmri("preview", "small.yaml", "--replay", "kept.json", *arguments)
        assert code == 2 and words in said


def test_costly_transforms_and_such_of_ones_own_are_shown_in_three_strengths(cohort, tfmri):
    Path("my_lab").mkdir()
    Path("my_lab/transforms.py").write_text(OWN)
    for name in ("ghosting", "my_lab.transforms:Brighter"):
        code, said = tfmri("preview", "small.yaml", "--transform", name)
        picture = Path(f"preview/small-{name.split(':')[-1]}.png")
        assert code == 0 and f"{picture}\n" in said, said
        assert np.asarray(Image.open(picture)).std() > 20


OWN = """
from dataclasses import dataclass

from tfmri.augment.settings import Interval, chance, up_to
from tfmri.augment.transform import IntensityTransform


@dataclass(frozen=True)
class Brighter(IntensityTransform):
    probability: float = chance(0.2)
    strength: Interval = up_to(0.5, most=1)

    def apply(self, images, drawn, scan):
        return scan.background + (images - scan.background) * (1 + drawn["strength"])
"""


def _axial(half: np.ndarray, column: int) -> np.ndarray:
    """The axial plane of a tile in the first row of a section: 24 voxels of 8 pixels a side."""
    left, top = GAP + column * (3 * SIDE + GAP), 2 * LETTERS + GAP
    return half[top : top + SIDE, left : left + SIDE]


def test_a_transform_is_shown_by_itself_in_three_strengths(cohort, tfmri):
    code, said = tfmri("preview", "small.yaml", "--transform", "noise")
    assert code == 0 and "preview/small-noise.png" in said
    picture = np.asarray(Image.open("preview/small-noise.png")).astype(float)
    rows = np.array_split(picture[60:], 4)  # below the title, a row a draw
    for row in rows:
        tiles = [row[: 3 * SIDE // 4, GAP + k * (3 * SIDE + GAP) :][:, : 3 * SIDE] for k in range(4)]
        change = [np.abs(tile - tiles[0]).mean() for tile in tiles]
        assert 0 == change[0] < change[1] < change[2] < change[3]  # unchanged, low, middle, high


def test_a_transform_that_is_none_is_named_with_the_nearest_and_nothing_is_drawn(cohort, tfmri):
    code, said = tfmri("preview", "small.yaml", "--transform", "nois")
    assert code == 2 and "Did you mean 'noise'?" in said
    assert not (cohort / "preview").exists()
