import fcntl
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from server_of_files import Files, serving

from tfmri.cli import main
from tfmri.cohort.download import SPREADSHEET, download_ixi, unpack
from tfmri.errors import InputError

NAMES = [f"IXI{number:03}-{site}-{number + 1000}-T1.nii.gz" for number, site in [(2, "Guys"), (12, "HH"), (35, "IOP")]]
TABLE = SPREADSHEET + b"who was scanned"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def tar(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


ARCHIVE = tar({name: os.urandom(200_000) for name in NAMES})
MD5 = hashlib.md5(ARCHIVE).hexdigest()


@pytest.fixture
def mirror():
    with serving(Files({"/IXI/IXI.xls": TABLE, "/IXI/IXI-T1.tar": ARCHIVE})) as files:
        yield files


def refusal(*arguments, **settings) -> str:
    with pytest.raises(InputError) as caught:
        download_ixi(*arguments, **settings)
    return str(caught.value)


def below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_table_and_scans_arrive_and_a_second_call_asks_for_nothing(mirror, tmp_path):
    for _ in range(2):
        download_ixi(tmp_path / "ixi", f"{mirror.address}/IXI/", MD5)
    assert below(tmp_path / "ixi") == ["IXI-T1/" + name for name in NAMES] + ["IXI.xls"]
    assert (tmp_path / "ixi" / "IXI.xls").read_bytes() == TABLE
    assert len(mirror.asked) == 2


def test_the_command_says_what_to_type_next(mirror, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tfmri.cohort.download.download_ixi.__defaults__", ("nowhere", MD5, True))
    monkeypatch.chdir(tmp_path)
    arguments = ["download", "ixi", "--to", "my data", "--from", f"{mirror.address}/IXI"]
    monkeypatch.setattr(sys, "argv", ["tfmri", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    said = capsys.readouterr()
    assert left.value.code == 0
    assert said.out.splitlines()[-1] == "  tfmri labels ixi 'my data' -o 'my data/labels.csv'"
    assert "CC BY-SA 3.0" in said.out
    assert "unpacking files: 3 of 3" in said.err


def test_without_a_server_the_command_ends_with_2_and_one_sentence(tmp_path):
    arguments = ["download", "ixi", "--to", str(tmp_path), "--from", "http://127.0.0.1:9"]
    code = f"import sys; from tfmri.cli import main; sys.argv = ['tfmri', *{arguments!r}]; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        "tfmri: http://127.0.0.1:9/IXI.xls: cannot be fetched (Connection refused). Check the network"
    )
    assert "Traceback" not in done.stderr


def test_a_killed_download_is_gone_on_with_by_the_next(mirror, tmp_path):
    mirror.slow = 0.02
    arguments = [tmp_path / "ixi", f"{mirror.address}/IXI", MD5]
    code = f"from pathlib import *; from tfmri.cohort.download import *; download_ixi(*{arguments!r})"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    part = tmp_path / "ixi" / "IXI-T1.tar.part"
    while not (part.exists() and part.stat().st_size > 100_000):
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    there, mirror.slow = part.stat().st_size, 0
    assert 0 < there < len(ARCHIVE)
    download_ixi(*arguments)
    assert mirror.asked[-1] == ("/IXI/IXI-T1.tar", f"bytes={there}-")
    assert len(mirror.asked) == 3
    assert below(tmp_path / "ixi") == ["IXI-T1/" + name for name in NAMES] + ["IXI.xls"]


def test_an_interrupted_unpacking_is_done_anew_without_fetching(mirror, tmp_path):
    aside = tmp_path / "IXI-T1.unpacking"
    aside.mkdir()
    (aside / NAMES[0]).write_bytes(b"half of it")
    (tmp_path / "IXI-T1.tar").write_bytes(ARCHIVE)
    download_ixi(tmp_path, f"{mirror.address}/IXI", MD5)
    assert [path for path, _ in mirror.asked] == ["/IXI/IXI.xls"]
    assert below(tmp_path) == ["IXI-T1/" + name for name in NAMES] + ["IXI.xls"]
    assert (tmp_path / "IXI-T1" / NAMES[0]).stat().st_size == 200_000


def test_another_archive_than_the_published_one_is_not_unpacked(mirror, tmp_path):
    assert "its MD5 is" in refusal(tmp_path, f"{mirror.address}/IXI")
    assert not (tmp_path / "IXI-T1").exists()


def test_a_table_that_is_none_is_refused_and_not_kept(mirror, tmp_path):
    mirror.content["/IXI/IXI.xls"] = b"we are sorry"
    assert "this is no spreadsheet" in refusal(tmp_path, f"{mirror.address}/IXI")
    assert below(tmp_path) == []


def test_two_downloads_into_one_folder_do_not_mix(mirror, tmp_path):
    with (tmp_path / ".downloading").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another process is downloading" in refusal(tmp_path, f"{mirror.address}/IXI", MD5)
    download_ixi(tmp_path, f"{mirror.address}/IXI", MD5)


@pytest.mark.parametrize(
    "content",
    [ARCHIVE[:-150_000], ARCHIVE[:100], b"no archive at all", tar({}), b""],
    ids=lambda content: str(len(content)),
)
def test_a_damaged_archive_leaves_no_folder_of_scans(tmp_path, content):
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(
        InputError, match=r"a\.tar: the archive is (damaged|empty).*Delete it, and run the same command"
    ):
        unpack(tmp_path / "a.tar", tmp_path / "scans")
    assert below(tmp_path) == ["a.tar"] and not (tmp_path / "scans").exists()


def test_an_archive_that_would_write_elsewhere_is_not_trusted(tmp_path):
    (tmp_path / "a.tar").write_bytes(tar({"../../outside.nii.gz": b"x"}))
    with pytest.raises(InputError, match="not safe to unpack"):
        unpack(tmp_path / "a.tar", tmp_path / "deep" / "scans")
    assert not list(tmp_path.rglob("outside*"))
