"""What the headers of scans say, read without their voxels: a thousand files in a second or two.

Headers that reading refuses are refused here too, and so are files that are shorter than their headers say. A packed
file that was cut short or damaged further on shows only when its voxels are read.

Sizes and spacings are along the axes of the subject, x to the right, y to the front, z up, whatever order the file
stores them in; where a header has both, the sform counts, as it does for `images.read`.
"""

import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tfmri import archives
from tfmri.errors import InputError
from tfmri.images.geometry import obliqueness, spacing_of, to_world
from tfmri.images.read import GZIP, parse_header, refuse_cut_short
from tfmri.machine import processors

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

ENOUGH = 544  # bytes that hold the header of either version
PIECE = 4096  # bytes read at a time, packed or not
UNKNOWN = {  # column -> what it holds where the header cannot be read
    "problem": "",
    "axes": "",
    "dims": 0,
    "volumes": 0,
    **{f"{name}_{axis}": np.nan for name in ("size", "spacing", "field_of_view") for axis in "xyz"},
    "qform_code": -1,
    "sform_code": -1,
    "forms_differ_mm": np.nan,
    "forms_mirrored": False,
    "oblique_degrees": np.nan,
    "dtype": "",
    "bytes": 0,
    "shadowed": False,
}


def read_headers(paths: Sequence[Path]) -> pd.DataFrame:
    """What stands in the header of each scan, a row for each path, in their order.

    Args:
        paths: NIfTI files, packed or not, of their own or in zip archives.

    Returns:
        columns: problem (str, '' where the header can be read and the file is as long as it says, as far as one can
        tell); axes (str, 'RAS': where the axes of the file point); dims (int, axes of the array); volumes (int);
        size_x, y, z (voxels); spacing_x, y, z and field_of_view_x, y, z (mm); qform_code, sform_code (int);
        forms_differ_mm (largest distance between the places that qform and sform give to a corner; NaN unless both are
        set); forms_mirrored (bool, one of them swaps left and right); oblique_degrees (between the array's axes and the
        nearest of the world's); dtype (str); bytes (int, of the file as it is stored); shadowed
        (bool, there is a `.nii` beside its `.nii.gz`).
    """
    rows: list[dict[str, Any]] = [{} for _ in paths]
    alone: list[int] = []
    packed: dict[Path, list[tuple[int, str]]] = {}
    for i, path in enumerate(map(Path, paths)):
        inside = archives.split_archive(path)
        if inside is None:
            alone.append(i)
        else:
            packed.setdefault(inside[0], []).append((i, inside[1]))
    with ThreadPoolExecutor(4 * processors()) as pool:  # what takes time is the disk, perhaps at the end of a network
        for i, row in zip(alone, pool.map(_from_file, [str(paths[i]) for i in alone]), strict=True):
            rows[i] = row
        for found in pool.map(_from_archive, packed.keys(), packed.values()):
            for i, row in found:
                rows[i] = row
    table = pd.DataFrame([UNKNOWN | row for row in rows], columns=list(UNKNOWN))
    return table if len(table) else table.astype({name: type(value) for name, value in UNKNOWN.items()})


def _from_file(path: str) -> dict[str, Any]:
    # os.path: pathlib costs more than the calls, and this runs for every scan of a large cohort
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            size = os.fstat(file.fileno()).st_size
            row = _row(_pieces(file), size, Path(path)) | {"bytes": size}
    except FileNotFoundError:
        lost = os.path.islink(path)  # noqa: PTH114
        row = {"problem": "a link to what does not exist" if lost else "no such file"}
    except IsADirectoryError:
        row = {"problem": "a directory"}
    except OSError as error:
        row = {"problem": f"cannot be read ({error.strerror})"}
    other = _twin(path)
    return row | {"shadowed": other is not None and os.path.exists(other)}  # noqa: PTH110


def _from_archive(archive: Path, members: Sequence[tuple[int, str]]) -> list[tuple[int, dict[str, Any]]]:
    """The rows of the scans in one archive, which is opened once."""
    found = []
    try:
        with zipfile.ZipFile(archive) as opened:
            for i, name in members:
                try:
                    member = opened.getinfo(name)
                    with opened.open(member) as file:
                        row = _row(_pieces(file), member.file_size, archive / name) | {"bytes": member.compress_size}
                    row["shadowed"] = _twin(name) in opened.NameToInfo
                except KeyError:
                    row = {"problem": f"not in the archive {archive.name}"}
                except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
                    row = {"problem": f"the archive {archive.name} is damaged ({error})"}
                found.append((i, row))
    except (OSError, zipfile.BadZipFile) as error:
        return [(i, {"problem": f"the archive {archive.name} is damaged ({error})"}) for i, _ in members]
    return found


def _twin(path: str) -> str | None:
    """The other of `scan.nii` and `scan.nii.gz`."""
    if path.endswith(".nii.gz"):
        return path[:-3]
    return f"{path}.gz" if path.endswith(".nii") else None


def _pieces(file: Any) -> Iterator[bytes]:
    while piece := file.read(PIECE):
        yield piece


def _row(pieces: Iterator[bytes], size: int, path: Path) -> dict[str, Any]:
    """What the header at the begin of a file of `size` bytes says, in as many of its pieces as it takes."""
    first = next(pieces, b"")
    if not first:
        return {"problem": "an empty file"}
    packed = first.startswith(GZIP)
    if packed:
        unpacker, content = zlib.decompressobj(16 + zlib.MAX_WBITS), b""
        try:
            content = unpacker.decompress(first, ENOUGH)
            while len(content) < ENOUGH and (piece := next(pieces, b"")):
                content += unpacker.decompress(unpacker.unconsumed_tail + piece, ENOUGH - len(content))
        except zlib.error as error:
            return {"problem": f"a packed file that is damaged ({error})"}
        if len(content) < ENOUGH and not unpacker.eof:
            return {"problem": "a packed file that is cut short"}
        first = content
    try:
        header = parse_header(first, path)
        facts = _facts(header)
        refuse_cut_short(header, size, packed, path)
        return facts
    except InputError as error:
        return {"problem": error.problems[0].found}
    except Exception as error:  # nibabel has no common class for what can be wrong in a header
        return {"problem": f"a damaged NIfTI header ({error})"}


def _facts(header: "Nifti1Header") -> dict[str, Any]:
    from nibabel.orientations import aff2axcodes, io_orientation

    axes = int(header["dim"][0])
    lengths = [int(length) for length in header["dim"][1 : axes + 1]]
    if not 1 <= axes <= 7 or min(lengths) < 1:
        raise ValueError(f"dim is {header['dim'].tolist()}")
    shape = [*lengths, 1, 1][:3]
    codes = {f"{name}_code": int(header[f"{name}_code"]) for name in ("qform", "sform")}
    facts: dict[str, Any] = {"dims": axes, "volumes": int(np.prod(lengths[3:], dtype=np.int64)), **codes}
    facts["dtype"] = str(header.get_data_dtype())
    affine = header.get_best_affine()
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise ValueError("its affine places the voxels nowhere")
    turn = np.argsort(io_orientation(affine)[:, 0])
    spacing, size = spacing_of(affine)[turn], np.array(shape)[turn]
    for i, axis in enumerate("xyz"):
        facts[f"size_{axis}"], facts[f"spacing_{axis}"] = int(size[i]), float(spacing[i])
        facts[f"field_of_view_{axis}"] = float(size[i] * spacing[i])
    facts["axes"], facts["oblique_degrees"] = "".join(aff2axcodes(affine)), obliqueness(affine)
    if codes["qform_code"] > 0 and codes["sform_code"] > 0:
        corners = np.array(np.meshgrid(*[(0, length - 1) for length in shape])).reshape(3, -1).T
        qform, sform = header.get_qform(), header.get_sform()
        facts["forms_differ_mm"] = float(
            np.linalg.norm(to_world(qform, corners) - to_world(sform, corners), axis=1).max()
        )
        facts["forms_mirrored"] = bool(np.linalg.det(qform[:3, :3]) * np.linalg.det(sform[:3, :3]) < 0)
    return facts
