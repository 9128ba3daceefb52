import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from tfmri.errors import InputError
from tfmri.images.head import find_head
from tfmri.images.mask import block_means, head_mask, magnified, read_mask, tool_mask
from tfmri.images.read import Volume, read_volume

SHAPE = (60, 70, 64)


@pytest.fixture
def volume(head, grid):
    """A head of three shells: bright scalp, black skull, brain; with noise, and an oblique grid."""
    affine = grid((3, 3, 3), SHAPE, (8, -5, 12))
    world = np.moveaxis(np.indices(SHAPE), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    distance = np.sqrt((((world - head.centre) / head.semi_axes) ** 2).sum(axis=-1))
    data = np.select([distance < 0.8, distance < 0.9, distance < 1], [100, 3, 150], 0)
    noise = np.random.default_rng(0).rayleigh(4, SHAPE)
    return Volume((data + noise).astype(np.float32), affine), distance < 1


def dice(first, second):
    return 2 * (first & second).sum() / (first.sum() + second.sum())


def save(path, data, affine):
    nib.save(nib.Nifti1Image(np.asarray(data), affine), path)
    return path


def test_the_head_mask_is_the_head_with_its_cavities_and_without_noise(volume):
    scan, truth = volume
    mask = head_mask(scan, find_head(scan))
    assert mask.dtype == bool
    assert mask.shape == SHAPE
    assert dice(mask, truth) > 0.96
    assert mask[ndimage.binary_erosion(truth, iterations=2)].all()
    assert not mask[~ndimage.binary_dilation(truth, iterations=3)].any()


def test_blocks_interpolated_back_follow_a_plane():
    plane = np.add.outer(np.add.outer(np.arange(20.0), 2 * np.arange(15.0)), -np.arange(11.0))
    factors = np.array([4, 2, 3])
    back = magnified(block_means(plane, factors), factors, np.zeros(3), plane.shape)
    # beyond the outermost blocks' middles they go on, and the last of z holds only two voxels
    np.testing.assert_allclose(back[2:-2, 1:-2, 1:-3], plane[2:-2, 1:-2, 1:-3], atol=1e-4)


@pytest.mark.parametrize("high", [1, 255, 0.9])
def test_a_mask_file_on_the_same_grid_is_taken_as_it_is(tmp_path, volume, high):
    scan, truth = volume
    path = save(tmp_path / "mask.nii.gz", (truth * high).astype(np.float32), scan.affine)
    np.testing.assert_array_equal(read_mask(path, scan), truth)


def test_a_mask_file_in_another_orientation_and_spacing_lies_where_it_should(tmp_path, head, grid, volume):
    scan, truth = volume
    affine = grid((1.5, 2, 2.5), (110, 100, 70), (0, 0, -20)) @ np.diag([-1, 1, 1, 1])
    affine[:3, 3] = head.centre - affine[:3, :3] @ (np.array([110, 100, 70]) - 1) / 2
    world = np.moveaxis(np.indices((110, 100, 70)), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    inside = (((world - head.centre) / head.semi_axes) ** 2).sum(axis=-1) < 1
    mask = read_mask(save(tmp_path / "mask.nii", inside.astype(np.uint8), affine), scan)

    # independently, voxel by voxel: SciPy's nearest neighbour through the two affines
    turned = read_volume(tmp_path / "mask.nii")
    steps = np.linalg.inv(turned.affine) @ scan.affine
    expected = ndimage.affine_transform(turned.data, steps[:3, :3], steps[:3, 3], SHAPE, order=0) > 0.5
    assert dice(mask, expected) > 0.9999
    assert dice(mask, truth) > 0.97


def test_masks_that_are_no_masks_of_this_scan_are_refused(tmp_path, volume):
    scan, truth = volume
    far = scan.affine.copy()
    far[:3, 3] += 100
    with pytest.raises(InputError, match="lies outside"):
        read_mask(save(tmp_path / "far.nii", truth.astype(np.uint8), far), scan)
    faint = truth.astype(np.float32) * 0.3
    with pytest.raises(InputError, match="empty mask"):
        read_mask(save(tmp_path / "faint.nii", faint, scan.affine), scan)
    with pytest.raises(InputError, match="all voxels are 0"):
        read_mask(save(tmp_path / "zero.nii", np.zeros(SHAPE, np.uint8), scan.affine), scan)
    with pytest.raises(InputError, match="no such file"):
        read_mask(tmp_path / "none.nii", scan)


def program(tmp_path, body):
    """A command that runs `body` with `scan` and `mask` as paths, in a folder whose name has a blank."""
    script = tmp_path / "a tool.py"
    script.write_text(f"import sys\nimport nibabel as nib, numpy as np\nscan, mask = sys.argv[1:]\n{body}\n")
    return f'"{Path(sys.executable)}" "{script}" {{scan}} {{mask}}'


def test_a_program_is_given_the_scan_and_its_mask_is_read(tmp_path, volume):
    scan, _ = volume
    body = "image = nib.load(scan)\n"
    body += "nib.save(nib.Nifti1Image((image.get_fdata() > 50).astype('uint8'), image.affine), mask)"
    np.testing.assert_array_equal(tool_mask(program(tmp_path, body), scan), scan.data > 50)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("sys.exit('out of memory on the GPU')", "exit code 1 and said: out of memory on the GPU"),
        ("print('done nothing')", "wrote no mask; it said: done nothing"),
        ("open(mask, 'w').write('hello')", "damaged|not a NIfTI"),
    ],
)
def test_a_program_that_fails_is_quoted(tmp_path, volume, body, sentence):
    with pytest.raises(InputError, match=sentence):
        tool_mask(program(tmp_path, body), volume[0])


def test_a_program_that_is_not_there_and_a_command_that_is_none_are_said(volume):
    with pytest.raises(InputError, match=r"mri_synthstrip is not installed here\. It comes with FreeSurfer"):
        tool_mask("mri_synthstrip -i {scan} -m {mask}", volume[0])
    for command in ("mri_synthstrip", "tool {scan}", "", "tool '{scan} {mask}"):
        with pytest.raises(InputError, match=r"\{scan\} and \{mask\}"):
            tool_mask(command, volume[0])
