import numpy as np

from tfmri.images.prepare import Preparation, prepare
from tfmri.images.read import Volume
from tfmri.inference.likeness import measures_of, unlike


def head(width: float = 70.0, bone: bool = True, spacing: float = 3.0) -> Volume:
    """A ball in air: brain, skull if there is `bone`, scalp; mm."""
    size = int(260 / spacing)
    x, y, z = (np.indices((size,) * 3) + 0.5) * spacing - 130
    radius = np.sqrt(x**2 + (y / 1.15) ** 2 + z**2)
    image = np.random.default_rng(0).normal(100, 4, x.shape) * (radius < width)
    if bone:
        image = np.where((radius > width - 16) & (radius < width - 7), 8.0, image)
    affine = np.diag([spacing] * 3 + [1.0])
    affine[:3, 3] = -130 + spacing / 2
    return Volume((image + 1).astype(np.float32), affine)


def measured(volume: Volume) -> dict[str, float]:
    prepared = prepare(volume, Preparation((4, 4, 4), (48, 48, 48)))
    return measures_of(prepared.done, prepared.affine, lambda: prepared.image)


def test_a_head_among_heads_is_as_usual_and_one_that_differs_is_said_to():
    heads, brains = (
        {name: (value, value) for name, value in measured(head(bone=bone)).items()} for bone in (True, False)
    )
    assert unlike(measured(head(72.0)), heads) == [] and unlike(measured(head(68.0, bone=False)), brains) == []
    for odd, usual, word in (
        (head(bone=False), heads, "skull"),
        (head(), brains, "skull"),
        (head(50.0, bone=False), brains, "mm wide"),
        (head(spacing=5.0), heads, "voxels of 5 mm"),
    ):
        said = unlike(measured(odd), usual)
        assert any(word in each for each in said), (word, said)


def test_half_a_head_is_said_to_lie_outside():
    whole = head()
    half = Volume(np.ascontiguousarray(whole.data[:, : whole.data.shape[1] // 2]), whole.affine)
    usual = {name: (value, value) for name, value in measured(whole).items()}
    assert any("outside of the field of view" in each for each in unlike(measured(half), usual))
    halves = {name: (value, value) for name, value in measured(half).items()}
    assert not any("outside" in each for each in unlike(measured(whole), halves))  # to see more of a head is no fault


def test_what_was_not_measured_is_not_compared():
    assert unlike({"width_mm": 900.0, "skull": float("nan")}, {"skull": (1.0, 1.0)}) == []
