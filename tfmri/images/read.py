"""NIfTI files, read whole into RAS+ volumes; a scan that cannot be used is refused in one sentence.

A file is read once, as bytes, and told by its content: the name decides nothing, and no other file beside it is looked
at (SimpleITK reads `scan.nii.gz` as zeros where a broken `scan.nii` lies beside it). What a header promises is compared
with what the file can hold before any memory is taken, and a packed file is unpacked piece by piece, no further than
its header goes. Reaching its end verifies its checksum, so that a file cut short or damaged on its way is noticed.

nibabel reads the headers; NumPy alone reads the voxels, which is several times faster.
"""

import logging
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from zlib_ng import zlib_ng

from tfmri import archives
from tfmri.errors import InputError, Problem
from tfmri.images.geometry import spacing_of

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

COPY_AGAIN = "Copy or download it again."
EXPECTED = "a NIfTI file, .nii or .nii.gz"
GZIP = b"\x1f\x8b"
DENSEST = 1032  # bytes that one byte of a packed file can stand for: the limit of deflate
STEP = 1 << 15  # bytes unpacked at once: what they become stays in the processor's cache
LARGEST = 1024**3  # voxels
SURPLUS = 4096  # bytes after the last voxel; some programs fill the last block
FARTHEST = 1e5  # mm from the origin of the world
SILENT = logging.Logger("headers", logging.CRITICAL + 1)


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

    Args:
        path: the file; it may lie in a zip archive, as `archives` says.

    Raises:
        InputError: no such file, a directory, cut short or damaged, not NIfTI, not one 3D volume of real numbers, too
            large, voxels that are NaN or infinite, all voxels equal, an affine that places the voxels nowhere.
    """
    path = Path(path)
    return parse_volume(read_file(path), path)


def read_file(path: Path) -> bytes:
    """The bytes of the file at `path`, as they are.

    Raises:
        InputError: no such file, a directory, an empty file, no permission, or larger than the memory.
    """
    try:
        content = archives.read_bytes(path)
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
    except MemoryError as error:
        raise _refusal(path, "a file larger than the memory", EXPECTED, "Is it one scan?") from error
    if not content:
        raise _refusal(path, "an empty file", EXPECTED, COPY_AGAIN)
    return content


def parse_volume(content: bytes, path: Path) -> Volume:
    """The scan in `content`, the bytes of the file at `path`. Raises as `read_volume` does."""
    from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

    header = parse_header(_first_bytes(content, path), path)
    shape, stored = header.get_data_shape(), header.get_data_dtype()
    _refuse_other_pictures(shape, stored, path)
    start, needed = refuse_cut_short(header, len(content), content.startswith(GZIP), path)
    affine = _affine(header, shape, path)
    try:
        data = _scaled(_bytes_between(start, needed, content, path).view(stored), header)
    except MemoryError as error:
        advice = "Give the job more memory, or fewer workers."
        raise _refusal(path, f"{shape} voxels are too many for the memory", advice=advice) from error
    lowest, highest = data.min(), data.max()
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        found = f"{np.count_nonzero(~np.isfinite(data))} of {data.size} voxels are NaN or infinite"
        raise _refusal(path, found, "numbers", "Replace them, with 0 where they are background.")
    if lowest == highest:
        raise _refusal(path, f"all voxels are {lowest:g}", "an image", "Leave this scan out, or make it again.")
    data, orientation = data.reshape(shape[:3], order="F"), io_orientation(affine)
    return Volume(apply_orientation(data, orientation), affine @ inv_ornt_aff(orientation, shape[:3]), path)


def _first_bytes(content: bytes, path: Path) -> bytes:
    """Of what the file holds, unpacked: enough for a header, where there is as much."""
    if not content.startswith(GZIP):
        return content[:1024]
    first = b""
    for piece in _unpacked(content, path):
        first += piece[:1024]
        if len(first) >= 1024:
            break
    return first


def _unpacked(content: bytes, path: Path) -> Iterator[bytes]:
    """What a gzip file holds, all its members in turn, in pieces of at most ``STEP * DENSEST`` bytes.

    The end of each member verifies its checksum. What follows the last is ignored, as gzip does.
    """
    at, source = 0, memoryview(content)
    while content.startswith(GZIP, at):
        unpacker = zlib_ng.decompressobj(16 + zlib_ng.MAX_WBITS)
        while not unpacker.eof:
            if at >= len(content):
                raise _refusal(path, "a packed file that is cut short", EXPECTED, COPY_AGAIN)
            try:
                yield unpacker.decompress(source[at : at + STEP])
            except zlib_ng.error as error:  # type: ignore[misc]  # its stub says `error: Exception`, an instance
                raise _refusal(path, f"a packed file that is damaged ({error})", EXPECTED, COPY_AGAIN) from error
            at = min(at + STEP, len(content))
        at -= len(unpacker.unused_data)


def _bytes_between(start: int, end: int, content: bytes, path: Path) -> np.ndarray:
    """(end - start,) uint8, those bytes of what the file holds, unpacked."""
    wanted = np.empty(end - start, np.uint8)
    at = -start
    for piece in _unpacked(content, path) if content.startswith(GZIP) else [content]:
        part = np.frombuffer(piece, np.uint8)[max(0, -at) : max(0, len(wanted) - at)]
        wanted[max(0, at) : max(0, at) + len(part)] = part
        at += len(piece)
        if at > len(wanted) + SURPLUS:
            found = f"more bytes than the {end} that its header accounts for"
            advice = "Its dimensions are damaged, or it holds several volumes: copy it again, or convert it anew."
            raise _refusal(path, found, EXPECTED, advice)
    if at < len(wanted):
        raise _refusal(path, f"cut short, {len(wanted) - at} bytes are missing", EXPECTED, COPY_AGAIN)
    return wanted


def _scaled(voxels: np.ndarray, header: "Nifti1Header") -> np.ndarray:
    """`voxels` as float32, times the header's slope, plus its intercept."""
    slope, intercept = header.get_slope_inter()  # None where the header has none, or one that means nothing
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows becomes infinite, and is refused later
        if slope is None or (slope, intercept) == (1, 0):
            return voxels.astype(np.float32, copy=False)
        narrow = voxels.itemsize <= 2 or voxels.dtype.newbyteorder("=") == np.float32
        scaled = voxels.astype(np.float32 if narrow else np.float64) * slope + intercept
        return scaled.astype(np.float32, copy=False)


def parse_header(first: bytes, path: Path) -> "Nifti1Header":
    """The header of either version at the begin of a NIfTI file.

    Args:
        first: what the file at `path` begins with, unpacked: 540 bytes, or more, where there are as many.
        path: for messages.

    Raises:
        InputError: not NIfTI, or a header that contradicts itself.
    """
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    kind: type[Nifti1Header]
    if first[344:348] == b"n+1\0":  # ni1: half of a pair
        kind = Nifti1Header
    elif first[4:8] == b"n+2\0" and len(first) >= Nifti2Header.sizeof_hdr:
        kind = Nifti2Header
    else:
        raise _refusal(path, "not a NIfTI file", EXPECTED, "Convert it, with dcm2niix, mri_convert or nib-convert say.")
    try:
        order = next((order for order in "<>" if struct.unpack(f"{order}i", first[:4])[0] == kind.sizeof_hdr), None)
        if order is None:
            raise ValueError(f"its first number is not {kind.sizeof_hdr}")
        header = kind(first[: kind.sizeof_hdr], order, check=False)
        _refuse_contradictions(header)
        bits = int(header["bitpix"])
        header.check_fix(SILENT)  # small slips of other programs are put right, as nibabel does
        if bits not in (0, 8 * header.get_data_dtype().itemsize):
            raise ValueError(f"{bits} bits a voxel do not fit datatype {header['datatype']}")
    except Exception as error:  # nibabel has no common class for what can be wrong in a header
        raise _refusal(path, f"a damaged NIfTI header ({error})", EXPECTED, COPY_AGAIN) from error
    return header


def read_header(path: Path) -> "Nifti1Header":
    """The header of the NIfTI file at `path`, which may be packed or lie in an archive, as `read_volume` takes it.

    Raises:
        InputError: as `read_file` and `parse_header`.
    """
    path = Path(path)
    return parse_header(_first_bytes(read_file(path), path), path)


def refuse_cut_short(header: "Nifti1Header", size: int, packed: bool, path: Path) -> tuple[int, int]:
    """Where the voxels begin and where they end, in bytes of the unpacked file.

    Args:
        header: of the file at `path`.
        size: its bytes.
        packed: whether they are packed. What they hold is then not known, only how much they can hold at most.
        path: for messages.

    Raises:
        InputError: the file cannot hold as much as its header says.
    """
    start = header.get_data_offset() or header.single_vox_offset
    end = start + math.prod(header.get_data_shape()) * header.get_data_dtype().itemsize
    missing = end - size * (DENSEST if packed else 1)
    if missing > 0:
        least = "at least " if packed else ""
        raise _refusal(path, f"cut short, {least}{missing} bytes are missing", EXPECTED, COPY_AGAIN)
    return start, end


def _refuse_contradictions(header: "Nifti1Header") -> None:
    """Raises ValueError for what nibabel would put right by a guess, or read as something else."""
    axes, offset = int(header["dim"][0]), float(header["vox_offset"])
    if not 1 <= axes <= 7 or (header["dim"][1 : axes + 1] < 0).any():
        raise ValueError(f"dim is {header['dim'].tolist()}")
    if offset != 0 and not (offset >= header.single_vox_offset and offset % 1 == 0):
        raise ValueError(f"vox_offset is {offset:g}")
    if not (0 <= header["sform_code"] <= 5 and 0 <= header["qform_code"] <= 5):
        raise ValueError(f"qform_code is {header['qform_code']}, sform_code {header['sform_code']}")
    if header["sform_code"] == 0 and not (header["pixdim"][1:4] > 0).all():
        raise ValueError(f"pixdim is {header['pixdim'].tolist()}")
    header.get_slope_inter()  # refuses a slope whose intercept is no number


def _refuse_other_pictures(shape: tuple[int, ...], stored: np.dtype, path: Path) -> None:
    if len(shape) < 3 or min(shape[:3]) < 2:
        raise _refusal(path, f"a picture of {len(shape)} axes, {shape}", "one 3D volume", "Give the whole scan.")
    if any(length != 1 for length in shape[3:]):
        found = f"{len(shape)} axes, {shape}"
        raise _refusal(path, found, "one 3D volume", "Write one of its volumes, or their mean, to a file of its own.")
    if math.prod(shape) > LARGEST:
        raise _refusal(path, f"{shape} voxels", f"{LARGEST} at most", "Copy it again, or resample it to larger voxels.")
    if stored.kind not in "iuf":
        raise _refusal(path, f"voxels of type {stored}", "real numbers", "Convert it to a grey-valued image.")


def _affine(header: "Nifti1Header", shape: tuple[int, ...], path: Path) -> np.ndarray:
    """(4, 4) float64 from voxels to mm: by sform, else qform, else the voxels' size alone, as nibabel chooses."""
    try:
        affine = np.asarray(header.get_best_affine(), np.float64)
    except Exception as error:  # as in parse_header
        raise _refusal(path, f"a damaged NIfTI header ({error})", EXPECTED, COPY_AGAIN) from error
    expected, advice = "one that gives each voxel its place in mm", "Mend sform and qform; fslhd or nib-ls show them."
    with np.errstate(all="ignore"):
        volume, distance = np.prod(spacing_of(affine)), np.abs(affine[:3]).max(axis=0) @ [*shape[:3], 1]
        sound = np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > max(1e-9, 1e-3 * volume)  # mm³
    if distance > FARTHEST:
        raise _refusal(path, f"an affine that places voxels {distance:.3g} mm away", expected, advice)
    if not sound:
        raise _refusal(path, f"a singular affine, {np.round(affine[:3], 3).tolist()}", expected, advice)
    return affine


def _refusal(path: Path, found: str, expected: str = "", advice: str = "") -> InputError:
    return InputError(Problem(str(path), found, expected, advice))
