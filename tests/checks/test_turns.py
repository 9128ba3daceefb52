import numpy as np
import pytest
from drawn_heads import AFFINE, draw_head
from nibabel.orientations import apply_orientation, axcodes2ornt, ornt_transform

from tfmri.checks.turns import GAIN, cube, find_turns
from tfmri.checks.voxels import SMALL
from tfmri.images.prepare import prepare
from tfmri.images.read import Volume

WORDS = {"L": "right to left", "P": "front to back", "I": "top to bottom"}
WORDS |= {"R": "left to right", "A": "back to front", "S": "bottom to top"}


def small(data: np.ndarray) -> np.ndarray:
    return prepare(Volume(np.ascontiguousarray(data), AFFINE), SMALL).image[..., 0]


@pytest.fixture(scope="module", params=[True, False], ids=["head", "brain"])
def kind(request):
    heads = [draw_head(seed, request.param) for seed in range(4)]
    return heads[0], np.median([cube(small(head)) for head in heads[1:]], axis=0)


def test_a_head_that_lies_right_gains_nothing_by_turning(kind):
    head, reference = kind
    assert find_turns([cube(small(head))], reference)[0].gain < 0 < GAIN
    assert find_turns([cube(small(head[::-1]))], reference)[0].gain < GAIN  # left and right cannot be told


@pytest.mark.parametrize("codes", ["RSP", "RPI", "LPS", "ARI", "SRA", "PSL", "LAI"])
def test_a_head_whose_header_is_wrong_gains_by_the_turn_that_mends_it(kind, codes):
    """The voxels stand as in `codes`, the header says RAS."""
    head, reference = kind
    turned = apply_orientation(head, ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes)))
    turn = find_turns([cube(small(turned))], reference)[0]
    assert turn.gain > GAIN
    for own, code in zip("RAS", codes, strict=True):
        if code != own and not (own == "R" and code == "L"):
            words = WORDS[code]
            assert f"what its header calls {WORDS[own]} were {words}" in str(turn)


def test_a_picture_of_nothing_lies_somehow():
    flat = cube(np.zeros(SMALL.shape, np.float16))
    assert np.isfinite(flat).all() and find_turns([flat], flat)[0].gain == 0
