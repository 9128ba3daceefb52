"""NIfTI files, read whole into RAS+ volumes; a scan that cannot be used is refused in one sentence.

A file is read once, as bytes, and told by its content: the name decides nothing, and no other file beside it is looked
at (SimpleITK reads `scan.nii.gz` as zeros where a broken `scan.nii` lies beside it). Unpacking all of a `.nii.gz`
verifies its checksum, so that a file cut short or damaged on its way is noticed.
"""

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfmri.errors import InputError, Problem

COPY_AGAIN = "Copy or download it again."
EXPECTED = "a NIfTI file, .nii or .nii.gz"


@dataclass(frozen=True)
class Volume:
    """One scan in memory.

    Args:
        data: (x, y, z) float32 in the scanner's own intensities, axes RAS+ to the nearest (oblique scans stay oblique).
        affine: (4, 4) float64, voxel indices to mm.
        path: the file it came from, for messages.
    """

    data: np.ndarray
    affine: np.ndarray
    path: Path | None = None


def read_volume(path: Path) -> Volume:
    """The scan in a NIfTI-1 or NIfTI-2 file, packed or not; axes of length 1 after the third are dropped.

    Raises:
        InputError: no such file, a directory, cut short or damaged, not NIfTI, not one 3D volume of real numbers,
            voxels that are NaN or infinite, all voxels equal, an affine that places the voxels nowhere.
    """
    path = Path(path)
    return parse_volume(read_file(path), path)


def read_file(path: Path) -> bytes:
    """The bytes of the file at `path`, as they are.

    Raises:
        InputError: no such file, a directory, an empty file, or no permission.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        if path.is_symlink():
            found = f"a link to {path.readlink()}, which does not exist"
            raise _refusal(path, found, EXPECTED, "Fetch the data (`datalad get`), or mend the link.") from error
        raise _refusal(path, "no such file", EXPECTED, "Check the path.") from error
    except IsADirectoryError as error:
        raise _refusal(path, "a directory", EXPECTED, "Give the path of the scan inside it.") from error
    except OSError as error:
        found = f"cannot be read ({error.strerror})"
        raise _refusal(path, found, advice="Check the path and its permissions.") from error
    if not content:
        raise _refusal(path, "an empty file", EXPECTED, COPY_AGAIN)
    return content


def parse_volume(content: bytes, path: Path) -> Volume:
    """The scan in `content`, the bytes of the file at `path`. Raises as `read_volume` does."""
    import nibabel as nib
    from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

    if content.startswith(b"\x1f\x8b"):
        try:
            content = gzip.decompress(content)
        except EOFError as error:
            raise _refusal(path, "a packed file that is cut short", EXPECTED, COPY_AGAIN) from error
        except (OSError, zlib.error) as error:
            raise _refusal(path, f"a packed file that is damaged ({error})", EXPECTED, COPY_AGAIN) from error
    kinds = [(nib.Nifti1Image, nib.Nifti1Header), (nib.Nifti2Image, nib.Nifti2Header)]
    kind = next((image for image, header in kinds if header.may_contain_header(content)), None)
    if kind is None or content[344:347] == b"ni1" or content[4:7] == b"ni2":  # ni: half of a pair
        raise _refusal(path, "not a NIfTI file", EXPECTED, "Convert it, with dcm2niix, mri_convert or nib-convert say.")
    try:
        image = kind.from_bytes(content)
        shape, stored, start = image.shape, image.get_data_dtype(), image.dataobj.offset
    except Exception as error:  # nibabel has no common class for what can be wrong in a header
        raise _refusal(path, f"a damaged NIfTI header ({error})", EXPECTED, COPY_AGAIN) from error

    if len(shape) < 3 or min(shape[:3]) < 2:
        raise _refusal(path, f"a picture of {len(shape)} axes, {shape}", "one 3D volume", "Give the whole scan.")
    if any(length != 1 for length in shape[3:]):
        found = f"{len(shape)} axes, {shape}"
        raise _refusal(path, found, "one 3D volume", "Write one of its volumes, or their mean, to a file of its own.")
    if stored.kind not in "iuf":
        raise _refusal(path, f"voxels of type {stored}", "real numbers", "Convert it to a grey-valued image.")
    missing = start + int(np.prod(shape, dtype=np.int64)) * stored.itemsize - len(content)
    if missing > 0:
        raise _refusal(path, f"cut short, {missing} bytes are missing", EXPECTED, COPY_AGAIN)
    affine = np.asarray(image.affine, np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        found = f"a singular affine, {np.round(affine[:3], 3).tolist()}"
        advice = "Mend sform and qform in its header; fslhd or nib-ls show them."
        raise _refusal(path, found, "one that gives each voxel its place in mm", advice)

    with np.errstate(over="ignore", invalid="ignore"):  # what overflows becomes infinite, and is refused below
        data = image.get_fdata(dtype=np.float32, caching="unchanged").reshape(shape[:3])
    lowest, highest = data.min(), data.max()
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        found = f"{np.count_nonzero(~np.isfinite(data))} of {data.size} voxels are NaN or infinite"
        raise _refusal(path, found, "numbers", "Replace them, with 0 where they are background.")
    if lowest == highest:
        raise _refusal(path, f"all voxels are {lowest:g}", "an image", "Leave this scan out, or make it again.")

    orientation = io_orientation(affine)
    return Volume(apply_orientation(data, orientation), affine @ inv_ornt_aff(orientation, shape[:3]), path)


def _refusal(path: Path, found: str, expected: str = "", advice: str = "") -> InputError:
    return InputError(Problem(str(path), found, expected, advice))
