"""The phantom cohort as a folder: who is in it, and how it is written.

    DIR/labels.csv            subject, session, path, age, sex, diagnosis, site; written last
        README.txt            what is planted
        truth.json            the generator's numbers, best reachable scores, latent variables of every subject
        images/*.nii.gz       scans, in the sites' orientations and spacings
        regions/*.nii.gz      masks of the planted regions, in the template's space (MNI152)

The same variant, subjects and seed give the same bytes, whatever the number of workers.
"""

import gzip
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd

from tfmri.errors import InputError, Problem
from tfmri.files import write_csv, write_json, write_text
from tfmri.machine import processors
from tfmri.phantom import effects
from tfmri.phantom.anatomy import Anatomy, load_anatomy
from tfmri.phantom.people import VARIANTS, draw_leaks, draw_people, planted
from tfmri.phantom.render import SITES, Site, render_scan, store_otherwise
from tfmri.processes import in_processes
from tfmri.progress import progress

VERSION = 2  # raised with every change that changes a voxel or a label
SUBJECTS = 198  # eleven of each combination of sex, diagnosis and site
FEWEST = 10
LEAKED_SESSION = 3  # of the person it really is, for what is random in a scan; no subject has more than two

README = """\
A phantom cohort: MRI-like scans of people who do not exist, made by tfmri {release} from the MNI152 template.
{scans} scans of {subjects} subjects, variant '{variant}', seed {seed}. Safe to delete: it is written again when needed.

Planted:
  age        widens the lateral ventricles and thins the cortex (by brain age = age + N(0, {spread:g} years))
  sex        males have a wider brainstem, narrower Sylvian fissures and slightly larger heads
  diagnosis  the hippocampi shrink from healthy to MCI to dementia, and fluid takes their place
Age, sex, diagnosis and site are independent of each other, and brightness, position and head shape of all of them.
{variant_note}
Best reachable on the variant: sex {sex:.3f} and diagnosis {diagnosis:.3f} balanced accuracy, age {age:.2f} years mean
absolute error. truth.json holds all numbers and each subject's latent variables; regions/ holds the changed regions.
"""
_VARIANT_NOTES = {
    "demo": "",
    "null": "In this variant the labels are drawn anew, independent of the scans: a sound program scores chance.\n",
    "leaky": (
        "In this variant some people come again under another id: as a copy of the file, as the same voxels in\n"
        "another orientation and type, and with another scan. 'planted' in truth.json lists them.\n"
    ),
    "confounded": (
        "But in this variant the site tells the sex: four of five females were scanned in the north, four of five\n"
        "males in the south. Spacing, orientation, contrast and noise tell the site. The scores below are of a reader\n"
        "who uses that; 'planted' in truth.json says what the site alone can reach, and what is left without it.\n"
    ),
}


@dataclass(frozen=True)
class _Scan:
    """All that one scan is made from."""

    path: Path
    amounts: effects.Amplitudes
    site: Site
    log_size: float
    subject_seed: tuple[int, ...]
    scan_seed: tuple[int, ...]


def write_cohort(
    directory: Path,
    variant: str = "demo",
    subjects: int = SUBJECTS,
    seed: int = 0,
    workers: int | None = None,
    shown: bool = True,
) -> Path:
    """Writes the cohort, replacing one that is there, and returns the path of its labels.csv.

    Args:
        directory: the cohort's folder. It appears whole; a folder with anything but a phantom cohort is refused.
        variant: one of `people.VARIANTS`.
        subjects: 10 or more. Those who come again under another id, in the variant 'leaky', are not counted.
        seed: of everything random.
        workers: processes; as many as there are processors where None.
        shown: whether to show, on standard error, how far it is.

    Raises:
        InputError: the variant is unknown, there are too few subjects, or the folder holds something else.
    """
    directory = Path(directory).absolute()
    _check(directory, variant, subjects, seed)
    with _folder_beside(directory) as temporary:
        _write(temporary, variant, subjects, seed, workers, shown)
        _replace(directory, temporary)
    return directory / "labels.csv"


def ensure_cohort(
    directory: Path,
    variant: str = "demo",
    subjects: int = SUBJECTS,
    seed: int = 0,
    workers: int | None = None,
    shown: bool = True,
) -> Path:
    """The path of a complete cohort's labels.csv: the one that is there if its settings are these, or else a new one.

    Several jobs may call this at once. Arguments and errors are those of `write_cohort`.
    """
    directory = Path(directory).absolute()
    settings = _settings(variant, subjects, seed)
    if _is_complete(directory, settings):
        return directory / "labels.csv"
    _check(directory, variant, subjects, seed)
    with _folder_beside(directory) as temporary:
        _write(temporary, variant, subjects, seed, workers, shown)
        if not _is_complete(directory, settings):  # else another job was faster, and may be reading its scans already
            try:
                _replace(directory, temporary)
            except OSError:  # it was faster in this very moment
                if not _is_complete(directory, settings):
                    raise
    return directory / "labels.csv"


def _write(directory: Path, variant: str, subjects: int, seed: int, workers: int | None, shown: bool) -> None:
    """Everything into an empty folder, labels.csv last."""
    true, labelled = draw_people(variant, subjects, seed)
    leaks = _with_paths(draw_leaks(true, seed) if variant == "leaky" else true.iloc[:0].assign(kind="", same_as=""))
    true, labelled = _with_paths(true), _with_paths(labelled)
    first = true.drop_duplicates("subject").set_index("subject")
    leaks["path_of_same"] = first["path"].reindex(leaks["same_as"]).to_numpy()
    latents: dict[str, effects.Latents] = {
        subject: effects.draw_latents(sex, diagnosis, np.random.default_rng([seed, 3, identity]))
        for identity, (subject, sex, diagnosis) in enumerate(
            zip(first.index, first["sex"], first["diagnosis"], strict=True)
        )
    }
    number = {subject: identity for identity, subject in enumerate(latents)}
    repeats = leaks[leaks["kind"] == "repeat_session"].assign(subject=leaks["same_as"], session=LEAKED_SESSION)
    scans = [
        _Scan(
            path=directory / row["path"],
            amounts=effects.amplitudes(latents[row["subject"]], row["age"]),
            site=next(site for site in SITES if site.name == row["site"]),
            log_size=latents[row["subject"]].log_size,
            subject_seed=(seed, 4, number[row["subject"]]),
            scan_seed=(seed, 5, number[row["subject"]], int(row["session"])),
        )
        for row in pd.concat([true, repeats]).to_dict("records")
    ]
    anatomy = load_anatomy()
    (directory / "images").mkdir()
    _render_all(anatomy, scans, workers, shown)
    for row in leaks.to_dict("records"):
        original = directory / row["path_of_same"]
        if row["kind"] == "copy":
            shutil.copyfile(original, directory / row["path"])
        elif row["kind"] == "stored_otherwise":
            (directory / row["path"]).write_bytes(store_otherwise(nib.load(original)).to_bytes())
    (directory / "regions").mkdir()
    for name, mask in anatomy.regions.items():
        _write_nifti(directory / "regions" / f"{name}.nii.gz", nib.Nifti1Image(mask.astype(np.uint8), anatomy.affine))

    best = effects.best_reachable(variant)
    extra = planted(variant, true, leaks)
    write_json(
        directory / "truth.json",
        {
            **_settings(variant, subjects, seed),
            "best_reachable": best,
            **({"planted": extra} if extra else {}),
            "generator": effects.generator_numbers(),
            "sites": [asdict(site) for site in SITES],
            "latents": {
                subject: {**asdict(latent), "made_from": made_from}
                for (subject, latent), made_from in zip(
                    latents.items(), first[["age", "sex", "diagnosis", "site"]].to_dict("records"), strict=True
                )
            },
        },
    )
    write_text(directory / "README.txt", _readme(variant, subjects, seed, len(true) + len(leaks), best))
    table = pd.concat([labelled, leaks])[["subject", "session", "path", "age", "sex", "diagnosis", "site"]]
    write_csv(directory / "labels.csv", table)


def _with_paths(people: pd.DataFrame) -> pd.DataFrame:
    """Adds where the scans lie, from the cohort's folder."""
    stored = people["kind"] if "kind" in people else pd.Series("", people.index)
    packed = np.where(stored == "stored_otherwise", "", ".gz")
    return people.assign(path="images/" + people["subject"] + "_ses-" + people["session"] + "_T1w.nii" + packed)


def _readme(variant: str, subjects: int, seed: int, scans: int, best: dict[str, dict[str, float]]) -> str:
    from tfmri import __version__

    return README.format(
        release=__version__,
        scans=scans,
        subjects=subjects,
        variant=variant,
        seed=seed,
        spread=effects.AGE_SPREAD,
        variant_note=_VARIANT_NOTES[variant],
        sex=best["sex"]["balanced_accuracy"],
        diagnosis=best["diagnosis"]["balanced_accuracy"],
        age=best["age"]["mae"],
    )


def _render_all(anatomy: Anatomy, scans: list[_Scan], workers: int | None, shown: bool) -> None:
    """Renders and writes all scans, in processes of one thread each."""
    calls = [(scan,) for scan in scans]
    done = in_processes(partial(_render_one, anatomy), calls, workers or processors(), "making phantom scans")
    with closing(done), progress(len(scans), "making", "phantom scans", shown) as advance:
        for _ in done:
            advance()


def _render_one(anatomy: Anatomy, scan: _Scan) -> None:
    """Renders and writes one scan, in one thread."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    subject_rng, scan_rng = (np.random.default_rng(key) for key in (scan.subject_seed, scan.scan_seed))
    with threadpool_limits(1):
        image = render_scan(anatomy, scan.amounts, scan.site, scan.log_size, subject_rng, scan_rng)
    _write_nifti(scan.path, image)


def _write_nifti(path: Path, image: nib.Nifti1Image) -> None:
    """Compressed fast and without a time stamp, so that the same image gives the same bytes."""
    path.write_bytes(gzip.compress(image.to_bytes(), compresslevel=1, mtime=0))


def _settings(variant: str, subjects: int, seed: int) -> dict[str, Any]:
    """What a cohort must have been written with to be reused."""
    return {"version": VERSION, "variant": variant, "seed": seed, "subjects": subjects}


def _is_complete(directory: Path, settings: dict[str, Any]) -> bool:
    """Whether the folder holds a whole cohort of these settings. Looks for every file, reads no scan."""
    try:
        truth = json.loads((directory / "truth.json").read_text())
        paths = pd.read_csv(directory / "labels.csv")["path"]
    except (OSError, ValueError, KeyError):
        return False
    right = isinstance(truth, dict) and all(truth.get(key) == value for key, value in settings.items())
    return right and all((directory / path).is_file() for path in paths)


def _check(directory: Path, variant: str, subjects: int, seed: int) -> None:
    """Refuses what cannot be written, all problems at once."""
    problems = []
    if variant not in VARIANTS:
        expected = " or ".join(repr(name) for name in VARIANTS)
        problems.append(Problem("phantom cohort, variant", repr(variant), expected))
    if subjects < FEWEST:
        problems.append(Problem("phantom cohort, subjects", str(subjects), f"{FEWEST} or more"))
    if seed < 0:
        problems.append(Problem("phantom cohort, seed", str(seed), "0 or more"))
    if directory.exists() and not _is_replaceable(directory):
        advice = "Name another folder, or remove this one yourself"
        problems.append(
            Problem(str(directory), "something else is there", "a phantom cohort, or no such folder", advice)
        )
    if problems:
        raise InputError(*problems)


def _is_replaceable(directory: Path) -> bool:
    """Whether nothing is lost with this folder: it is empty, or a phantom cohort, perhaps in part."""
    if not directory.is_dir():
        return False
    ours = {"labels.csv", "README.txt", "truth.json", "images", "regions"}
    names = {path.name for path in directory.iterdir()}
    return not names or (names <= ours and "truth.json" in names)


@contextmanager
def _folder_beside(directory: Path) -> Iterator[Path]:
    """A new folder on the same file system; what is left of it afterwards is removed."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".writing-{directory.name}-"))
    try:
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)  # mkdtemp makes folders only their owner can read
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace(directory: Path, written: Path) -> None:
    """Renames a written cohort to its place; what is there is moved aside first and then removed."""
    with _folder_beside(directory) as old:
        if directory.exists():
            directory.rename(old)
        written.rename(directory)
