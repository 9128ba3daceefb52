"""One file fetched over HTTP: goes on where it stopped, and has its name only once it is whole and verified.

What has come so far stands in `NAME.part`, and what the server said of the file in `NAME.part.json`. The rest is asked
for with `Range` and `If-Range` (the ETag or the time of change): a server whose file has changed since, or that cannot
send parts, answers with the whole file, and that begins anew. So what is here is not fetched again without need,
and parts of two versions are never joined.

Source: RFC 9110, sections 13.1.5 (If-Range), 14.2 (Range) and 15.3.7 (206 Partial Content).
"""

import hashlib
import json
import os
import re
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path

import requests

from tfmri.errors import InputError, Problem
from tfmri.files import write_json
from tfmri.progress import progress

MEGABYTE = 1_000_000
BLOCK = 1 << 16  # bytes; when the connection is cut, at most so many have come in vain
TIMEOUT = (20, 60)  # seconds to connect, and without a byte
PAUSES = (1.0, 3.0, 10.0, 30.0)  # seconds before each further attempt, while none brings anything new
BUSY = {408, 429, 500, 502, 503, 504}  # answers that may be others a moment later
AGAIN = "Run the same command again: it goes on from there."


class _LostError(Exception):
    """This attempt failed; another may succeed."""


@dataclass(frozen=True)
class _Version:
    """What the server said of the file whose beginning is in the .part."""

    address: str
    size: int | None  # bytes
    etag: str  # '' where there is none
    changed: str  # Last-Modified, '' where there is none

    @property
    def validator(self) -> str:
        """What `If-Range` may hold: a strong ETag, else the time of change; '' where a version cannot be told."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.changed


def fetch(
    address: str,
    path: Path,
    md5: str | None = None,
    copies: int = 1,
    shown: bool = True,
    pauses: tuple[float, ...] = PAUSES,
) -> None:
    """Fetches the file at `address` to `path`, or the rest of it where an earlier call was interrupted.

    Args:
        address: http:// or https://.
        path: where it goes.
        md5: its checksum, hexadecimal; None where none is known.
        copies: how often its bytes will be on the disk, for the check that there is space: 2 if it will be unpacked.
        shown: whether to show progress.
        pauses: seconds before each further attempt, while none brings anything new.

    Raises:
        InputError: the server cannot be reached or has no such file, the connection was lost and did not come back,
            there is not enough space, or the checksum is another.
        OSError: the disk is full, or may not be written to; what has come so far stays.
    """
    part = path.with_name(f"{path.name}.part")
    left = pauses[:1]  # a server that was never reached is not waited for
    with requests.Session() as session:
        session.headers["Accept-Encoding"] = "identity"  # the file's own bytes: lengths and ranges count these
        while True:
            before = _size(part)
            try:
                _fetch_rest(session, address, part, copies, shown)
                break
            except _LostError as lost:
                if _size(part) > before:
                    left = pauses
                elif not left:
                    raise _given_up(address, part, str(lost)) from lost
                _say(shown, f"{path.name}: {lost}; trying again")
                time.sleep(left[0] if left else 0)
                left = left[1:]
    if md5 is not None:
        _verify(part, path, md5)
    with part.open("rb") as written:
        os.fsync(written.fileno())
    part.replace(path)
    _notes(part).unlink(missing_ok=True)


def _fetch_rest(session: requests.Session, address: str, part: Path, copies: int, shown: bool) -> None:
    """One attempt to complete `part`.

    Raises:
        _LostError: another attempt may go on from what is there by then.
        InputError: no other attempt will do better.
    """
    version, start = _so_far(part, address)
    if version and start == version.size:
        return
    asked = {"Range": f"bytes={start}-", "If-Range": version.validator} if version and start else {}
    try:
        with session.get(address, headers=asked, stream=True, timeout=TIMEOUT) as answer:
            _check_status(answer, address, part)
            told = _told(answer, address)
            if answer.status_code == HTTPStatus.PARTIAL_CONTENT:
                if version is None or not _continues(answer, told, version, start):
                    part.unlink(missing_ok=True)
                    raise _LostError("the server sent a part of another version")
            else:
                if start:
                    _say(shown, f"{part.stem}: from the start, since it changed on the server, or parts are not sent")
                version, start = told, 0
                _check_page(answer, address)
                part.unlink(missing_ok=True)
                write_json(_notes(part), asdict(version))
            _check_space(part, version.size, start, copies)
            _receive(answer, part, start, version.size, shown)
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        raise _LostError(_in_words(error)) from error
    except requests.RequestException as error:
        raise InputError(Problem(address, f"this cannot be fetched: {error}", "", "Check the address.")) from error
    if version.size is not None and _size(part) != version.size:
        if _size(part) > version.size:
            part.unlink()
        raise _LostError("the server did not send as much as it had announced")


def _so_far(part: Path, address: str) -> tuple[_Version | None, int]:
    """The version whose beginning is here, and how many bytes of it; none where it could not be gone on with."""
    try:
        version = _Version(**json.loads(_notes(part).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None, 0
    return (version, _size(part)) if version.validator and version.address == address else (None, 0)


def _told(answer: requests.Response, address: str) -> _Version:
    whole = re.fullmatch(r"bytes \d+-\d+/(\d+)", answer.headers.get("Content-Range", ""))
    length = whole[1] if whole else answer.headers.get("Content-Length", "")
    known = length.isdecimal() and "Content-Encoding" not in answer.headers
    etag, changed = answer.headers.get("ETag", ""), answer.headers.get("Last-Modified", "")
    return _Version(address, int(length) if known else None, etag, changed)


def _continues(answer: requests.Response, told: _Version, version: _Version, start: int) -> bool:
    """Whether a part begins where ours ends, and is of the same version as far as it tells: some servers do not."""
    begins = answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
    same = all(not new or new == old for new, old in [(told.etag, version.etag), (told.changed, version.changed)])
    return begins and same and (told.size == version.size or None in (told.size, version.size))


def _check_status(answer: requests.Response, address: str, part: Path) -> None:
    status = answer.status_code
    if status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        return
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        part.unlink(missing_ok=True)
        raise _LostError("the file on the server is shorter by now")
    if status in BUSY:
        raise _LostError(f"the server answers {status} ({answer.reason})")
    found = f"the server answers {status} ({answer.reason})"
    raise InputError(Problem(address, found, "the file", "It may have moved: give its folder's address with --from."))


def _check_page(answer: requests.Response, address: str) -> None:
    if answer.headers.get("Content-Type", "").startswith("text/html"):
        advice = "Some networks ask for a login first: open the address in a browser."
        raise InputError(Problem(address, "the server sent a web page", "the file", advice))


def _check_space(part: Path, size: int | None, start: int, copies: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if size is not None and free < copies * size - start:
        found = f"{_megabytes(free)} are free, and {_megabytes(copies * size - start)} are needed"
        raise InputError(Problem(str(part.parent), found, "", "Free some, or use another place."))


def _receive(answer: requests.Response, part: Path, start: int, size: int | None, shown: bool) -> None:
    """Adds what comes to `part`, which holds `start` bytes."""
    doing = f"downloading {part.stem}"
    if start and size:
        doing += f" (the last {_megabytes(size - start)} of {_megabytes(size)})"
    megabytes = -(-(size - start) // MEGABYTE) if size else 0
    with part.open("ab") as file, progress(max(megabytes, 1), doing, "MB", shown and megabytes > 1) as advance:
        count = 0
        for block in answer.iter_content(BLOCK):
            file.write(block)
            for _ in range((count + len(block)) // MEGABYTE - count // MEGABYTE):
                advance()
            count += len(block)
        if count % MEGABYTE:
            advance()


def _verify(part: Path, path: Path, md5: str) -> None:
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, "md5").hexdigest()
    if digest != md5:
        other = path.with_name(f"{path.name}.differs")
        part.replace(other)
        _notes(part).unlink(missing_ok=True)
        advice = f"It is kept as {other.name}. Run the same command again to fetch it anew; if it comes the same again,"
        advice += " the file was published anew, and this program does not know it."
        raise InputError(Problem(str(path), f"its MD5 is {digest}", f"the published {md5}", advice))


def _given_up(address: str, part: Path, why: str) -> InputError:
    have, (version, _) = _size(part), _so_far(part, address)
    if have and version and version.size:
        found = f"only {_megabytes(have)} of {_megabytes(version.size)} have come ({why})"
        return InputError(Problem(address, found, "", AGAIN))
    advice = "Check the network (compute nodes of a cluster often have none: use a login node), or try later, or give "
    return InputError(Problem(address, f"cannot be fetched ({why})", "", advice + "a mirror with --from."))


def _in_words(error: BaseException) -> str:
    """What the system or the server said, without the layers of libraries around it."""
    inner: BaseException | None = error
    while inner is not None:
        error, inner = inner, inner.__cause__ or inner.__context__
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        if isinstance(error, TimeoutError):
            return "no answer in time"
    return "the connection was cut"


def _say(shown: bool, text: str) -> None:
    if shown:
        print(text, file=sys.stderr, flush=True)


def _megabytes(count: int) -> str:
    return f"{count / MEGABYTE:,.0f} MB" if count >= MEGABYTE else f"{count:,} bytes"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _notes(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")
