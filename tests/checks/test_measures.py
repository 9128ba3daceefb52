import nibabel as nib
import numpy as np
import pytest

from tfmri.checks.measures import MEASURES, measure, normalised_before
from tfmri.images.head import find_head
from tfmri.images.read import Volume

MIDDLE = np.array([5.0, -7.0, 11.0])


def ball(radius=75.0, spacing=3.0, cut=None, noise=0.0, inside=100.0):
    """A ball around `MIDDLE`; `cut` is how many mm of it the field of view lacks, of each of its six sides."""
    room = np.array([[radius + 24, radius + 24]] * 3)
    for (axis, side), depth in (cut or {}).items():
        room[axis, side] = radius - depth
    shape = np.round(room.sum(axis=1) / spacing).astype(int)
    affine = nib.affines.from_matvec(np.eye(3) * spacing, MIDDLE - room[:, 0] + spacing / 2)
    mm = np.moveaxis(np.indices(shape), 0, -1) * spacing + affine[:3, 3] - MIDDLE
    data = np.where(np.linalg.norm(mm, axis=-1) < radius, inside, 0.0)
    data += noise * np.random.default_rng(0).standard_normal(data.shape)
    return Volume(data.astype(np.float32), affine)


def measures(volume):
    found = measure(volume, find_head(volume))
    assert list(found) == list(MEASURES) and all(isinstance(value, float) for value in found.values())
    return found


@pytest.mark.parametrize("spacing", [1.5, 2.0, 4.0])
def test_a_ball_has_the_size_of_a_ball(spacing):
    found = measures(ball(spacing=spacing))
    height = 100.0  # of the cap that counts, of a ball of radius 75
    assert found["head_volume_ml"] == pytest.approx(np.pi * height**2 * (75 - height / 3) / 1000, rel=0.08)
    for name in ("width", "length", "height"):
        assert found[f"head_{name}_mm"] == pytest.approx(150, abs=2 * 4)
    assert found["cut_top"] == found["cut_side"] == found["cut_bottom"] == 0


def upper_section(away: float) -> float:
    """Area of the section of a ball of radius 75 at `away` mm from its middle, where it is higher than -25 mm."""
    radius = np.sqrt(75**2 - away**2)
    low = min(25, radius)
    return radius**2 * (np.pi - np.arccos(low / radius)) + low * np.sqrt(radius**2 - low**2)


@pytest.mark.parametrize(
    ("side", "name"), [((2, 1), "cut_top"), ((0, 0), "cut_side"), ((1, 1), "cut_side"), ((2, 0), "cut_bottom")]
)
@pytest.mark.parametrize("depth", [12.0, 30.0])
def test_a_cut_is_the_section_of_the_ball(side, name, depth):
    found = measures(ball(cut={side: depth}))
    whole = 1 - ((75 - depth) / 75) ** 2  # pi (R² - (R - d)²) / (pi R²)
    expected = upper_section(75 - depth) / upper_section(0) if name == "cut_side" else whole
    assert found[name] == pytest.approx(expected, abs=0.07)
    assert sum(found[each] for each in ("cut_top", "cut_side", "cut_bottom")) == pytest.approx(found[name])


@pytest.mark.parametrize("sigma", [2.0, 5.0])
def test_noise_is_measured_where_there_is_tissue(sigma):
    assert measures(ball(noise=sigma))["snr"] == pytest.approx(100 / sigma, rel=0.1)


def test_a_ghost_beside_the_head_brightens_the_air():
    clean = ball(noise=1.0)
    ghost = Volume(clean.data + 0.2 * np.roll(clean.data, 40, axis=1), clean.affine)
    assert measures(clean)["air"] < 0.05
    assert measures(ghost)["air"] == pytest.approx(0.2, abs=0.08)


def test_intensities_are_told_above_the_air_and_relative_to_their_median():
    plain, shifted = ball(noise=3.0), ball(noise=3.0)
    shifted = Volume(7 * shifted.data + 1000, shifted.affine)
    one, other = measures(plain), measures(shifted)
    assert one["intensity_median"] == pytest.approx(100, rel=0.05)
    assert other["intensity_median"] == pytest.approx(700, rel=0.05)
    for name in ("intensity_spread", "contrast", "snr"):
        assert other[name] == pytest.approx(one[name], rel=0.02)


def test_what_was_normalised_in_a_mask_is_noticed():
    rng = np.random.default_rng(0)
    brain = ball(inside=1.0)
    masked = brain.data * rng.normal(0, 1, brain.data.shape)
    found = measures(Volume(masked.astype(np.float32), brain.affine))
    assert normalised_before(found) and np.isnan(found["skull"])
    for usual in (ball(), ball(noise=5.0), ball(inside=1000.0)):
        assert not normalised_before(measures(usual))
    darker = np.rint(ball(noise=1.0).data).clip(-2, None)  # whole numbers, so that the air has few values
    assert not normalised_before(measures(Volume(darker.astype(np.float32), ball().affine)))


@pytest.mark.parametrize("shape", [(4, 4, 4), (3, 40, 40), (9, 9, 9), (200, 5, 5)])
def test_images_of_any_shape_are_measured(shape):
    data = np.random.default_rng(0).gamma(2, 100, shape).astype(np.float32)
    volume = Volume(data, np.diag([2.0, 2, 2, 1]))
    measures(volume)
