"""Thousands of damaged NIfTI files: each is refused in a sentence, or read as what it still says; nothing in between.

All are read by a process of its own, which may take little memory and not for ever: a crash, a hang, a warning and a
claim on memory that a small file cannot justify end it, or show in what it says. nibabel, which reads the accepted ones
here by its own way, is the witness of what a header says.
"""

import gzip
import pickle
import struct
import subprocess
import sys
import zipfile
from dataclasses import dataclass

import nibabel as nib
import numpy as np
import pytest

from tfmri.errors import InputError
from tfmri.images.read import read_volume

SHAPE = (14, 16, 12)
AFFINE = np.array([[-9.0, 0.4, 0.2, 60], [0.5, 0.3, 11.0, -70], [0.1, 10.0, -0.6, -60], [0, 0, 0, 1]])
MEMORY = 512 << 20  # bytes, on top of what the program has when it starts

PROGRAM = """
import pickle, resource, sys, tempfile
from pathlib import Path

import numpy as np
import nibabel.nifti1, nibabel.nifti2, nibabel.orientations, scipy.ndimage, scipy.special, SimpleITK

from tfmri.errors import InputError
from tfmri.images.prepare import Preparation, prepare
from tfmri.images.read import read_volume

cases, results, memory = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + memory,) * 2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
outcomes = {}
with tempfile.TemporaryDirectory() as folder:
    for number, (name, content) in enumerate(pickle.loads(cases.read_bytes()).items()):
        print(name, flush=True)
        path = Path(folder) / "scan.nii.gz"
        path.write_bytes(content)
        try:
            volume = read_volume(path)
            outcomes[name] = volume.data, volume.affine
            if number % 20 == 0:
                prepared = prepare(volume, Preparation((10, 10, 10), (16, 18, 16)))
                assert np.isfinite(prepared.image).all() and np.ptp(prepared.image) > 0
        except InputError as error:
            outcomes.setdefault(name, str(error))
outcomes["memory"] = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
results.write_bytes(pickle.dumps(outcomes))
"""


def head():
    """A head of int16 intensities, some 2 cm off the middle, without two voxels alike in a row."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, length) for length in SHAPE), indexing="ij")
    noise = np.random.default_rng(0).integers(0, 60, SHAPE)
    return ((x**2 + (y - 0.1) ** 2 + z**2 < 0.6) * 800 + noise).astype(np.int16)


def saved(kind=nib.Nifti1Image, endianness="<", data=None, extension=b""):
    header = kind.header_class(endianness=endianness)
    image = kind(head() if data is None else data, None, header)
    image.set_sform(AFFINE, 1)
    image.set_qform(AFFINE, 1)
    image.header.set_slope_inter(0.5, -10)
    if extension:
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", extension))
    return image.to_bytes()


@dataclass(frozen=True)
class Case:
    """A damaged file, and what may become of it.

    Args:
        content: of the file.
        sound: of the file before the damage.
        may: 'be refused' only, 'stay': be read as though nothing had happened, 'say': also be read as something else,
            which nibabel reads likewise, or 'only stay'.
    """

    content: bytes
    sound: bytes
    may: str = "say"


SOUND = {
    "little": saved(),
    "big": saved(endianness=">"),
    "second": saved(nib.Nifti2Image),
    "second big": saved(nib.Nifti2Image, ">"),
    "float": saved(data=head().astype(np.float32)),
    "extended": saved(extension=b"words of somebody's " * 20),
}
SOUND |= {f"packed {name}": gzip.compress(content, mtime=0) for name, content in SOUND.items()}


def flipped(content, *bits):
    damaged = bytearray(content)
    for bit in bits:
        damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def patched(offset, layout, *values, of="little"):
    damaged = bytearray(SOUND[of])
    struct.pack_into(layout, damaged, offset, *values)
    return bytes(damaged)


def flips_in_headers(random):
    for bit in range(352 * 8):  # every one
        yield f"bit {bit}", Case(flipped(SOUND["little"], bit), SOUND["little"])
    for name, length in [("big", 352), ("second", 544), ("second big", 544), ("float", 352), ("extended", 800)]:
        for bit in random.choice(8 * length, 120, replace=False):
            content = flipped(SOUND[name], bit)
            yield f"{name} {bit}", Case(content, SOUND[name])
            yield f"packed {name} {bit}", Case(gzip.compress(content, 1), SOUND[name])
    for number in range(300):
        name = str(random.choice(["little", "big", "second", "float"]))
        bits = random.choice(8 * 352, random.integers(2, 30), replace=False)
        yield f"{name} many {number}", Case(flipped(SOUND[name], *bits), SOUND[name])


def flips_in_voxels(random):
    for name in ("little", "big", "second", "float"):
        for bit in random.integers(8 * 600, 8 * len(SOUND[name]), 40):
            yield f"{name} {bit}", Case(flipped(SOUND[name], bit), SOUND[name])
    for name in ("packed little", "packed float", "packed extended"):
        sound = SOUND[name]
        for bit in [
            *range(8 * 10),
            *random.integers(0, 8 * len(sound), 200),
            *range(8 * len(sound) - 64, 8 * len(sound)),
        ]:
            yield f"{name} {bit}", Case(flipped(sound, bit), sound, "stay")  # the checksum notices all else


def cuts(random):
    for name, sound in SOUND.items():
        lengths = {0, 1, 2, 17, 347, 348, 351, 352, 353, len(sound) - 1, len(sound) - 8, len(sound) - 9}
        for length in sorted(lengths | set(random.integers(0, len(sound), 20).tolist())):
            yield f"{name} {length}", Case(sound[:length], sound, "be refused")
    for name in ("little", "packed little"):
        for start in (1, 8, 100, 348, 352):
            yield f"{name} without its first {start}", Case(SOUND[name][start:], SOUND[name], "be refused")
        hole = bytearray(SOUND[name])
        hole[len(hole) // 2 :] = bytes(len(hole) - len(hole) // 2)
        yield f"{name} half zeros", Case(bytes(hole), SOUND[name], "be refused" if "packed" in name else "say")


def wrong_dims(random):
    for axes in [
        (0, 14, 16, 12),
        (-1, 14, 16, 12),
        (1, 14, 16, 12),
        (2, 14, 16, 12),
        (8, 14, 16, 12),
        (300, 14, 16, 12),
    ]:
        yield f"{axes}", Case(patched(40, "<4h", *axes), SOUND["little"], "be refused")
    for axes in [(3, 0, 16, 12), (3, -14, 16, 12), (3, 14, 16, 1), (3, 1, 1, 2688), (3, 14, 16, 13), (3, 2688, 1, 1)]:
        yield f"{axes}", Case(patched(40, "<4h", *axes), SOUND["little"], "be refused")
    for axes in [
        (3, 32767, 32767, 32767),
        (7, *[32767] * 7),
        (3, 1024, 1024, 1024),
        (3, 1000, 1000, 1000),
        (3, -1, 1, 1),
    ]:
        content = patched(40, f"<{len(axes)}h", *axes)
        yield f"{axes}", Case(content, SOUND["little"], "be refused")
        yield f"packed {axes}", Case(gzip.compress(content), SOUND["little"], "be refused")
    for axes in [(3, 2**62, 2**62, 2**62), (3, 2**21, 2**21, 2**22), (3, 2**40, 16, 12), (3, -(2**62), 16, 12)]:
        content = patched(16, "<4q", *axes, of="second")
        yield f"second {axes}", Case(content, SOUND["second"], "be refused")
        yield f"second packed {axes}", Case(gzip.compress(content), SOUND["second"], "be refused")
    for axes in [(4, 14, 16, 12, 2), (4, 14, 16, 6, 2), (4, 14, 16, 12, 0), (5, 14, 16, 1, 1, 12)]:
        yield f"{axes}", Case(patched(40, f"<{len(axes)}h", *axes), SOUND["little"], "be refused")
    for axes in [(7, 14, 16, 12, 1, 1, 1, 1), (3, 16, 14, 12), (3, 12, 14, 16), (3, 14, 16, 11), (3, 7, 16, 12)]:
        yield f"{axes}", Case(patched(40, f"<{len(axes)}h", *axes), SOUND["little"])


def other_fields(random):
    little = SOUND["little"]
    for value in (np.nan, np.inf, -np.inf, -1, 1, 16, 348, 351.5, 352.5, 353, 368, 1e9, 3e38, -3e38):
        yield f"vox_offset {value}", Case(patched(108, "<f", value), little, "be refused")
        yield f"packed vox_offset {value}", Case(gzip.compress(patched(108, "<f", value)), little, "be refused")
    yield "vox_offset 0", Case(patched(108, "<f", 0), little, "only stay")
    for slope in (np.nan, np.inf, -np.inf, 0, -1, 1e-30, 1e30, 1e38, 1e-45):
        for shift in (0, -10, 1e30, np.nan, np.inf):
            yield f"slope {slope} {shift}", Case(patched(112, "<ff", slope, shift), little)
    for code in (
        0,
        1,
        2,
        3,
        4,
        8,
        16,
        32,
        64,
        128,
        255,
        256,
        511,
        512,
        768,
        1024,
        1280,
        1536,
        1792,
        2048,
        2304,
        9999,
        -4,
    ):
        for bits in (0, 1, 8, 16, 24, 32, 64, 128, 256):
            yield f"datatype {code} of {bits}", Case(patched(70, "<hh", code, bits), little)
    for number, row in enumerate(
        [[np.nan] * 4, [np.inf, 0, 0, 0], [0] * 4, [1e30] * 4, [1e-30] * 4, [3, 0, 0, np.nan]]
    ):
        yield f"sform {number}", Case(patched(280, "<4f", *row), little, "be refused")
    for number, third in enumerate([[0.5, 0.502, 0.4], [0.5, 0.5, 0.4], [1e4, 1e4, -1e4]]):  # nearly parallel columns
        content = patched(280, "<12f", *[9, 9, 0.4, 0], *[0.5, 0.5, 11, 0], *third, 0)
        yield f"parallel {number}", Case(content, little, "be refused")
    for codes in [(0, 0), (1, 0), (0, 1), (-1, 1), (6, 0), (0, 99), (255, 255), (4, 4)]:
        yield f"form codes {codes}", Case(patched(252, "<hh", *codes), little)
    for number, values in enumerate([[2, 0, 0], [np.nan, 0, 0], [0, 0, -1e30], [0.7, 0.7, 0.7], [1, 0, 0]]):
        yield f"quaternion {number}", Case(patched(252, "<hh3f", 1, 0, *values), little)
    for number, sizes in enumerate(
        [[0, 9, 10, 11], [1, 0, 10, 11], [1, -9, 10, 11], [1, np.nan, 10, 11], [7, 9, 10, 11]]
    ):
        yield f"pixdim {number}", Case(patched(76, "<4f", *sizes), little, "only stay")  # sform is what counts
        content = bytearray(patched(76, "<4f", *sizes))
        struct.pack_into("<hh", content, 252, 1, 0)
        yield f"pixdim {number} by qform", Case(bytes(content), little)
    for size in (0, -16, 8, 17, 2**31 - 1, -(2**31)):
        extended = bytearray(SOUND["extended"])
        struct.pack_into("<i", extended, 352, size)
        yield f"extension of {size}", Case(bytes(extended), SOUND["extended"], "only stay")
        yield f"packed extension of {size}", Case(gzip.compress(bytes(extended)), SOUND["extended"], "only stay")
        flagged = bytearray(patched(348, "<4B", 1, 0, 0, 0))
        yield f"voxels as an extension of {size}", Case(bytes(flagged), little, "only stay")
    for number, mark in enumerate([b"n+1 ", b"ni1\0", b"N+1\0", b"\0\0\0\0", b"n+2\0", b"n+1\n"]):
        yield f"magic {number}", Case(little[:344] + mark + little[348:], little, "be refused")
    yield "line ends", Case(SOUND["second"].replace(b"\r\n\x1a\n", b"\n\x1a\n\0"), SOUND["second"], "be refused")


def wrong_order_of_bytes(random):
    for name, other in [("little", "big"), ("second", "second big")]:
        start = 544 if "second" in name else 352
        for one, two in [(name, other), (other, name)]:
            mixed = SOUND[one][:start] + SOUND[two][start:]
            yield f"voxels of {two} under {one}", Case(mixed, SOUND[one])
            yield f"packed voxels of {two} under {one}", Case(gzip.compress(mixed), SOUND[one])
            size = SOUND[two][:4] + SOUND[one][4:]
            yield f"first number of {two} in {one}", Case(size, SOUND[one], "be refused")
    swapped = np.frombuffer(SOUND["little"], "<u2").byteswap().tobytes()
    yield "all swapped by twos", Case(swapped, SOUND["little"], "be refused")


def packed_otherwise(random):
    sound, packed = SOUND["little"], SOUND["packed little"]
    whole = [packed + random.bytes(700), packed + bytes(10_000), packed + b"\x1f", packed + b"<html>" * 99]
    whole += [gzip.compress(sound[:1000]) + gzip.compress(sound[1000:]), gzip.compress(b"") + packed]
    whole += [
        packed + gzip.compress(b""),
        b"".join(gzip.compress(sound[at : at + 97]) for at in range(0, len(sound), 97)),
    ]
    whole += [gzip.compress(sound, 0), gzip.compress(sound + bytes(2000))]
    for number, content in enumerate(whole):
        yield f"whole {number}", Case(content, sound, "only stay")
    gigabyte = gzip.compress(bytes(1 << 20)) * 1000
    volumes = patched(40, "<5h", 4, *SHAPE, 1)
    torn = [packed + packed, packed + packed[:500], packed + packed[:9], gzip.compress(sound[:1000]) + packed[1000:]]
    torn += [
        gzip.compress(packed),
        gzip.compress(b""),
        gzip.compress(sound[:2000]),
        gzip.compress(sound[:340]),
        gigabyte,
    ]
    torn += [
        packed + gigabyte,
        gzip.compress(sound[:1000]) + gigabyte,
        gzip.compress(volumes + 4 * sound[352:]) + gigabyte,
    ]
    torn += [sound[:40] + struct.pack("<4h", 3, 1000, 1000, 1000) + sound[48:]]
    torn += [gzip.compress(torn[-1]) + gigabyte, sound + bytes(1 << 24), sound + random.bytes(5000)]
    for number, content in enumerate(torn):
        yield f"torn {number}", Case(content, sound, "be refused")


def no_nifti(random):
    others = [b"", b"\0", b"\x1f\x8b", b"n+1\0", bytes(352), bytes(100_000), b"\xff" * 5000, b"404 Not Found\n" * 50]
    others += [random.bytes(10_000), b"\0" * 128 + b"DICM" + random.bytes(3000), b"PK\x03\x04" + random.bytes(3000)]
    others += [nib.MGHImage(head().astype(np.float32), AFFINE).to_bytes(), gzip.compress(random.bytes(5000))]
    others += [bytes(344) + b"n+1\0" + bytes(5000), struct.pack("<i", 348) + bytes(340) + b"n+1\0" + random.bytes(5000)]
    others += [gzip.compress(struct.pack("<i", 348) + bytes(340) + b"n+1\0" + bytes(10_000_000))]
    for number, content in enumerate(others):
        yield f"{number}", Case(content, SOUND["little"], "be refused")


KINDS = [flips_in_headers, flips_in_voxels, cuts, wrong_dims, other_fields, wrong_order_of_bytes, packed_otherwise]
KINDS += [no_nifti]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What became of every case: a sentence, or voxels and affine."""
    folder = tmp_path_factory.mktemp("damaged")
    cases = {f"{kind.__name__}: {name}": case.content for kind in KINDS for name, case in cases_of(kind).items()}
    (folder / "cases").write_bytes(pickle.dumps(cases))
    command = [sys.executable, "-W", "error", "-c", PROGRAM, folder / "cases", folder / "results", str(MEMORY)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (ended.returncode, ended.stderr) == (0, ""), f"{ended.stdout.splitlines()[-1:]}\n{ended.stderr}"
    found = pickle.loads((folder / "results").read_bytes())
    assert len(found) == len(cases) + 1
    return found


def cases_of(kind):
    cases = list(kind(np.random.default_rng(7)))
    return dict(cases)


def as_nibabel_reads(content):
    """Voxels and affine in the order nearest to RAS+, or None where nibabel cannot."""
    content = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    kind = nib.Nifti2Image if content[4:6] == b"n+" else nib.Nifti1Image
    try:
        with np.errstate(all="ignore"):
            image = nib.as_closest_canonical(kind.from_bytes(content))
            return image.get_fdata(dtype=np.float32).squeeze(), image.affine
    except Exception:
        return None


def alike(one, other):
    return (
        other is not None
        and one[0].shape == other[0].shape
        and np.allclose(one[0], other[0], rtol=1e-5, atol=1e-6 * np.abs(other[0]).max())
        and np.allclose(one[1], other[1], rtol=1e-6)
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_refused_in_a_sentence_or_read_as_what_it_says(outcomes, kind):
    wrong, sound = [], {content: as_nibabel_reads(content) for content in SOUND.values()}
    for name, case in cases_of(kind).items():
        outcome = outcomes[f"{kind.__name__}: {name}"]
        if isinstance(outcome, str):
            sentence = "\n" not in outcome and 20 < len(outcome) < 500 and "Traceback" not in outcome
            good = sentence and case.may != "only stay"
        else:
            good = case.may != "be refused" and np.ptp(outcome[0]) > 0
            same = good and alike(outcome, sound[case.sound])
            good = good and (same or (case.may == "say" and alike(outcome, as_nibabel_reads(case.content))))
            outcome = f"{outcome[0].shape}, {outcome[0].min()} to {outcome[0].max()}, {outcome[1].tolist()}"
        if not good:
            wrong.append(f"{name} may {case.may}: {outcome}")
    assert not wrong, "\n".join(wrong)


def test_small_files_take_little_memory(outcomes):
    assert outcomes["memory"] < MEMORY / 4


def test_a_damaged_archive_is_refused_or_its_scan_read_as_it_was(tmp_path):
    archive = tmp_path / "1000012_20252_2_0.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("T1/T1.nii.gz", SOUND["packed little"])
    content, sound = archive.read_bytes(), as_nibabel_reads(SOUND["little"])
    volume = read_volume(archive / "T1/T1.nii.gz")
    assert alike((volume.data, volume.affine), sound)
    refused = 0
    for bit in np.random.default_rng(0).integers(0, 8 * len(content), 400):
        archive.write_bytes(flipped(content, bit))
        try:
            volume = read_volume(archive / "T1/T1.nii.gz")
            assert alike((volume.data, volume.affine), sound)
        except InputError:
            refused += 1
    assert refused > 300
    for length in range(0, len(content), 97):
        archive.write_bytes(content[:length])
        with pytest.raises(InputError):
            read_volume(archive / "T1/T1.nii.gz")
