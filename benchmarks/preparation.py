"""How many scans a minute are prepared, against MONAI?      make bench BENCH=preparation ARGS='--peer-python PYTHON'

Reads, reorients, resamples to 1 mm, crops or pads to 160x192x160 and normalises scans of $TFMRI_TEST_DATA, each of them
under several names, on the same processors in turn:

- tfmri as `tfmri prepare` does it: `prepare_scans` with a process for each processor, into an empty cache. Its time
  includes starting the processes, hashing the files and writing the cache.
- MONAI's `LoadImage, EnsureChannelFirst, Orientation, Spacing, CropForeground, ResizeWithPadOrCrop` and
  `NormalizeIntensity`, in a process with a thread for each processor, and in a DataLoader with as many workers.
  `plain` are its defaults, `tuned` is the quickest that was found: lazy resampling, float32 and ITK's reader (where
  the package itk is installed). The images stay in memory.

Each run is a process of its own, whose imports are not in its time. Prints the medians, and the ratios of scans per
minute to MONAI's better setting; less than 3 to its defaults ends with exit code 1. Processor time, user and system, of
all processes of a run is what to look at on a machine that others use as well.

MONAI is run by --peer-python: an environment with monai, nibabel, torch, and itk for the quickest reader.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SPACING, SHAPE = (1.0, 1.0, 1.0), (160, 192, 160)
BOUND = 3.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("TFMRI_TEST_DATA"), help="folder of real scans")
    parser.add_argument("--scans", type=int, default=20, metavar="N", help="of each kind")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--peer-python", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # a run in a process of its own: this many times below
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run(**json.loads(options.one))))
        return
    if not options.data:
        parser.error("--data, or TFMRI_TEST_DATA, names a folder with native/ and ds*-2mm/ in it")
    kinds = {
        "native": sorted(options.data.glob("native/*.nii.gz")),
        "2 mm": sorted(options.data.glob("ds*-2mm/*/anat/*_T1w.nii.gz")),
    }
    peer = version_of_monai(options.peer_python)
    print(
        f"MONAI {peer}" if peer else f"No MONAI in {options.peer_python}: nothing to compare with (see --peer-python)"
    )
    processors = len(os.sched_getaffinity(0))
    print(f"{processors} processors, load {os.getloadavg()[0]:.1f}, medians of {options.rounds} rounds")
    bounds = [compare(kind, paths, options, processors, bool(peer)) for kind, paths in kinds.items()]
    sys.exit(not all(bounds))


def version_of_monai(python: str) -> str:
    """Empty where that interpreter has none."""
    command = [python, "-c", "import monai, torch, nibabel; print(monai.__version__)"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def compare(kind: str, paths: list[Path], options: argparse.Namespace, processors: int, peer: bool) -> bool:
    """Prints the figures of one kind of scans; whether they keep the bound, True where there is no peer."""
    with tempfile.TemporaryDirectory() as folder:
        copies = [str(copied(paths, number, Path(folder))) for number in range(options.scans)]
        mine = ("tfmri", processors)
        peers = [(how, workers) for how in ("plain", "tuned") for workers in (0, processors) if peer]
        runs: dict[tuple[str, int], list[dict[str, float]]] = {}
        for _ in range(options.rounds):  # in turn, so that a noisy minute is everybody's
            for how, workers in [mine, *peers]:
                python = sys.executable if how == "tfmri" else options.peer_python
                settings = {"how": how, "workers": workers, "paths": copies, "folder": folder}
                command = [python, __file__, "--one", json.dumps(settings)]
                output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
                runs.setdefault((how, workers), []).append(json.loads(output.splitlines()[-1]))
    median = {one: {key: statistics.median(run[key] for run in each) for key in each[0]} for one, each in runs.items()}
    print(f"\n{f'{options.scans} scans, {kind}':45s}   scans/min   wall s   processor s")
    for (how, workers), seconds in median.items():
        parts = f"{processors} processes" if workers else f"1 process of {processors} threads"
        name = f"{how if how == 'tfmri' else 'MONAI ' + how}, {parts}"
        rate = 60 * options.scans / seconds["wall"]
        print(f"{name:45s}{rate:12.0f}{seconds['wall']:9.1f}{seconds['processor']:14.1f}")
    ratio = {}
    for how, key in [(how, key) for how in ("plain", "tuned") for key in median[mine] if peer]:
        ratio[how, key] = min(median[how, workers][key] for workers in (0, processors)) / median[mine][key]
    for how in ("plain", "tuned") if peer else ():
        rate, work = (ratio[how, key] for key in ("wall", "processor"))
        print(f"to MONAI {how}: {rate:.1f} times as many scans a minute, {work:.1f} times as many a processor second")
    return not peer or ratio["plain", "wall"] >= BOUND


def copied(paths: list[Path], number: int, folder: Path) -> Path:
    """The scan of that number under a name of its own, different in a byte: the cache goes by content."""
    target = folder / f"{number:03d}.nii.gz"
    content = bytearray(paths[number % len(paths)].read_bytes())
    content[4:8] = number.to_bytes(4, "little")  # the time stamp of gzip
    target.write_bytes(content)
    return target


def run(how: str, workers: int, paths: list[str], folder: str) -> dict[str, float]:
    """Prepares the scans at `paths`; returns the seconds it took."""
    prepare = tfmri(paths, workers, folder) if how == "tfmri" else monai(paths, workers, how == "tuned")
    used, start = processor_seconds(), time.perf_counter()
    prepare()
    return {"wall": time.perf_counter() - start, "processor": processor_seconds() - used}


def processor_seconds() -> float:
    """Of this process and all that it started and that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def tfmri(paths, workers, folder):
    """The preparation by this program, as a function to call."""
    import numpy as np

    from tfmri.images.cache import prepare_scans
    from tfmri.images.prepare import Preparation

    cache = Path(tempfile.mkdtemp(dir=folder))

    def prepare():
        scans = prepare_scans([Path(path) for path in paths], Preparation(SPACING, SHAPE), cache, workers, shown=False)
        assert len({scan.image for scan in scans}) == len(paths)
        assert np.load(scans[0].image, mmap_mode="r").shape == (*SHAPE, 1)
        shutil.rmtree(cache)

    return prepare


def monai(paths, workers, tuned):
    """The preparation by MONAI, as a function to call."""
    import importlib.util
    import warnings

    import numpy as np
    import torch
    from monai import transforms
    from monai.data import DataLoader, Dataset

    warnings.simplefilter("ignore")
    reader = "ITKReader" if tuned and importlib.util.find_spec("itk") else None
    steps = [
        transforms.LoadImage(reader=reader, image_only=True),
        transforms.EnsureChannelFirst(),
        transforms.Orientation("RAS"),
        transforms.Spacing(SPACING, dtype=torch.float32 if tuned else np.float64),
        transforms.CropForeground(),
        transforms.ResizeWithPadOrCrop(SHAPE),
        transforms.NormalizeIntensity(),
    ]
    torch.set_num_threads(1 if workers else len(os.sched_getaffinity(0)))
    dataset = Dataset(paths, transforms.Compose(steps, lazy=tuned))

    def prepare():
        images = DataLoader(dataset, batch_size=1, num_workers=workers) if workers else dataset
        assert {tuple(image.shape[-4:]) for image in images} == {(1, *SHAPE)}

    return prepare


if __name__ == "__main__":
    main()
