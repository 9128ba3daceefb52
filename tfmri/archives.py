"""Files inside zip archives, named as though the archive were a folder: `1000012_20252_2_0.zip/T1/T1.nii.gz`.

UK Biobank hands out scans like this. Whatever finds, identifies or reads scans goes through these functions, so that a
path may lead into an archive wherever it may lead to a file.
"""

import errno
import os
import zipfile
import zlib
from pathlib import Path

SUFFIX = ".zip"


def split_archive(path: Path) -> tuple[Path, str] | None:
    """The archive that `path` leads into, and the member's name in it; None for a path of ordinary folders."""
    if SUFFIX not in str(path).casefold():
        return None
    for parent in path.parents:
        if parent.suffix.casefold() == SUFFIX and parent.is_file():
            return parent, path.relative_to(parent).as_posix()
    return None


def is_file(path: Path) -> bool:
    """Whether there is such a file, or such a member of an archive."""
    inside = split_archive(path)
    if inside is None:
        return path.is_file()
    try:
        with zipfile.ZipFile(inside[0]) as archive:
            archive.getinfo(inside[1])
    except (KeyError, zipfile.BadZipFile):
        return False
    return True


def read_bytes(path: Path) -> bytes:
    """The bytes of a file, or of a member of an archive, whose checksum is verified.

    Raises:
        OSError: no such file or member, or an archive that is damaged.
    """
    inside = split_archive(path)
    if inside is None:
        return path.read_bytes()
    archive, member = inside
    try:
        with zipfile.ZipFile(archive) as opened:
            return opened.read(member)
    except KeyError as error:
        raise FileNotFoundError(errno.ENOENT, f"not in the archive {archive.name}", str(path)) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise OSError(errno.EIO, f"the archive {archive.name} is damaged: {error}", str(path)) from error


def status(path: Path) -> os.stat_result:
    """Size and times of the file that holds the bytes at `path`: its own, or its archive's.

    Raises:
        OSError: no such file.
    """
    inside = split_archive(path)
    return (path if inside is None else inside[0]).stat()
