"""Public cohorts from the addresses where they are published.

    DIR/IXI.xls             who was scanned
        IXI-T1/             581 scans; the folder has this name once all of them are in it
        IXI-T1.tar          from the end of the download to the end of unpacking, 4.5 GB
        IXI-T1.tar.part     while it is being fetched; see `fetch`

IXI is published by Imperial College London under CC BY-SA 3.0: name https://brain-development.org/ixi-dataset as the
source. Its pages give no checksums; the one of IXI-T1.tar stands, the same, in TorchIO (datasets/ixi.py) and in MONAI's
tutorials. IXI.xls is told by its first bytes, since copies of it are about that were saved anew.
"""

import fcntl
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfmri.cohort.fetch import fetch
from tfmri.errors import InputError, Problem
from tfmri.progress import progress

IXI = "http://biomedic.doc.ic.ac.uk/brain-development/downloads/IXI"  # linked from brain-development.org/ixi-dataset
TABLE, ARCHIVE, SCANS = "IXI.xls", "IXI-T1.tar", "IXI-T1"
ARCHIVE_MD5 = "34901a0593b41dd19c1a1f746eac2d58"
SPREADSHEET = b"\xd0\xcf\x11\xe0"  # how a .xls begins


def download_ixi(folder: Path, source: str = IXI, md5: str | None = ARCHIVE_MD5, shown: bool = True) -> None:
    """Fetches the T1-weighted scans of IXI and the table of its people; what is there already is not fetched again.

    Args:
        folder: where they go.
        source: the address of a folder with IXI.xls and IXI-T1.tar: where they are published, or a mirror.
        md5: of IXI-T1.tar, hexadecimal. None: unpacking is all that verifies it.
        shown: whether to show progress.

    Raises:
        InputError: what `fetch` and `unpack` say, or another process is downloading into the same folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        if not (folder / TABLE).is_file():
            _fetch_table(f"{source.rstrip('/')}/{TABLE}", folder / TABLE, shown)
        if not (folder / SCANS).is_dir():
            if not (folder / ARCHIVE).is_file():
                fetch(f"{source.rstrip('/')}/{ARCHIVE}", folder / ARCHIVE, md5, copies=2, shown=shown)
            unpack(folder / ARCHIVE, folder / SCANS, shown)
        (folder / ARCHIVE).unlink(missing_ok=True)


def unpack(archive: Path, folder: Path, shown: bool = True) -> None:
    """Unpacks a tar archive to `folder`, which has its name only once all is in it.

    Raises:
        InputError: the archive is damaged, cut short or empty, or would write elsewhere than into the folder.
    """
    aside = folder.with_name(f"{folder.name}.unpacking")
    shutil.rmtree(aside, ignore_errors=True)  # of a call that was killed
    aside.mkdir(parents=True)
    advice = "Delete it, and run the same command again."
    try:
        with tarfile.open(archive, "r:") as opened:
            members = opened.getmembers()
            if not members:
                raise InputError(Problem(str(archive), "the archive is empty", "scans", advice))
            with progress(len(members), "unpacking", "files", shown) as advance:
                for member in members:
                    opened.extract(member, aside, filter="data")
                    advance()
        os.sync()  # so that the name is not on the disk before the files are
        aside.rename(folder)
    except tarfile.FilterError as error:
        found = f"the archive holds what is not safe to unpack: {error}"
        raise InputError(Problem(str(archive), found, "", "Do not trust the place that it came from.")) from error
    except (tarfile.TarError, EOFError) as error:
        raise InputError(Problem(str(archive), f"the archive is damaged ({error})", "", advice)) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _fetch_table(address: str, path: Path, shown: bool) -> None:
    fetch(address, path, shown=shown)
    with path.open("rb") as file:
        spreadsheet = file.read(len(SPREADSHEET)) == SPREADSHEET
    if not spreadsheet:
        path.unlink()
        raise InputError(Problem(address, "this is no spreadsheet", "a .xls file", "Give another address with --from."))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps other processes from downloading into `folder`; the system lets go of it if this one dies."""
    with (folder / ".downloading").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            advice = "Wait for it, or use another folder."
            raise InputError(Problem(str(folder), "another process is downloading to it", "", advice)) from None
        try:
            yield
        finally:
            (folder / ".downloading").unlink(missing_ok=True)
