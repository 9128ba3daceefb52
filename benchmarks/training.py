"""What does `tfmri train` cost beside the arithmetic of its model?      make bench BENCH=training ARGS='...'

Everything of tfmri is measured on the command itself, `tfmri train` on scans of noise that are prepared already, with
its own history.csv; each peer in a process of its own, in turn with it, on the same processors. Seconds are those of an
epoch's steps with the waiting for data, from the second epoch on, the median of epochs and rounds; both sides with the
determinism that tfmri has by default.

- the step: SFCN at 64³ without augmentation against a bare Keras `fit` on float32 arrays in memory, the same model,
  batch and optimizer; the same with the recipe `standard`; and the share of the time that `tfmri train` waits for data
  (where batches are augmented on the host, as on a CPU, that includes waiting for augmentation).
- an epoch of DenseNet-121 at 64³ with affine, elastic, bias field and noise on every scan, against MONAI: CacheDataset,
  its own transforms (the quickest: elastic and bias field by control grids; and the usual Rand3DElastic and
  RandBiasField), DataLoader without workers and with a worker for each processor, PyTorch; and the bare step of both.
- memory: the resident set after each of 30 epochs over 200 scans of 32³, small_cnn.
- start-up: from the command to a checkpoint of the first step on disk, SFCN at 64³.

MONAI is run by --peer-python, an environment with torch and monai; without one it is left out. A bound missed ends with
exit code 1.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
from training_runs import RANGES, SPACING

RUNS = Path(__file__).with_name("training_runs.py")
TFMRI = [sys.executable, "-c", "from tfmri.cli import main; main()"]
AIR = 4  # voxels around the ball of noise
AUGMENTED = [
    {"affine": {"probability": 1, "scale": [1 - RANGES["scale"], 1 + RANGES["scale"]],
                "rotation": RANGES["rotation"], "translation": RANGES["translation"]}},
    {"elastic": {"probability": 1, "displacement": [RANGES["displacement"]] * 2,
                 "control_points": RANGES["control points"]}},
    {"bias_field": {"probability": 1, "strength": [RANGES["bias"]] * 2}},
    {"noise": {"probability": 1, "sd": RANGES["noise"]}},
]  # fmt: skip

Bound = tuple[str, float, str, float, str]  # what, value, at most or at least, the bound, unit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, default=list(MEASUREMENTS))
    parser.add_argument("--rounds", type=int, default=2, metavar="N", help="of the step and of the start-up")
    parser.add_argument("--quick", action="store_true", help="small and few: to see that it runs, for no figures")
    parser.add_argument("--peer-python", metavar="PYTHON", help="an environment with torch and monai")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures")
    options = parser.parse_args()
    processors, loads = len(os.sched_getaffinity(0)), [os.getloadavg()[0]]
    found: dict[str, Any] = {}
    bounds: list[Bound] = []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name in options.only:
            print(f"\n{name}", flush=True)
            figures, own = MEASUREMENTS[name](options, processors)
            found[name] = figures
            bounds += own
    loads.append(os.getloadavg()[0])
    print()
    for what, value, side, bound, unit in bounds:
        met = "met" if is_met(value, side, bound) else "MISSED"
        print(f"{what:75s}{value:8.2f} {unit:3s} bound: {side} {bound:g}, {met}")
    print(f"\n{processors} processors, load {loads[0]:.1f} before and {loads[1]:.1f} after")
    if loads[0] > processors / 4:
        print("Others were using the machine: no ratio holds.")
    if options.json:
        content = {"processors": processors, "load": loads, "found": found, "bounds": bounds}
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    sys.exit(not all(is_met(value, side, bound) for _, value, side, bound, _ in bounds))


def is_met(value: float, side: str, bound: float) -> bool:
    """Whether a bound holds; NaN meets none."""
    return value <= bound if side == "at most" else value >= bound


#  What is measured


def step(options: argparse.Namespace, processors: int) -> tuple[dict[str, Any], list[Bound]]:
    """SFCN's step beside Keras' `fit`, and waiting."""
    size, scans, batch, epochs = (32, 8, 4, 2) if options.quick else (64, 32, 4, 3)
    settings = {"size": size, "scans": scans, "batch": batch, "epochs": epochs}
    cohort(size, scans, 4)
    seconds: dict[str, list[float]] = {"a bare Keras fit": [], "tfmri": [], "tfmri, standard": []}
    waits: dict[str, list[float]] = {"tfmri": [], "tfmri, standard": []}
    for number in range(options.rounds):
        seconds["a bare Keras fit"] += peer(sys.executable, who="keras", way="sfcn", **settings)[1:]
        for name, recipe in (("tfmri", "none"), ("tfmri, standard", "standard")):
            rows = train(f"{recipe}-{number}", "sfcn", recipe, size, batch, epochs)[1:]
            seconds[name] += [row["seconds"] for row in rows]
            waits[name] += [row["waiting"] for row in rows]
    steps = scans // batch
    bare, plain, standard = (statistics.median(each) / steps for each in seconds.values())
    for name, value in zip(seconds, (bare, plain, standard), strict=True):
        waiting = f"   waiting for data {100 * statistics.median(waits[name]):.2f} %" if name in waits else ""
        print(f"  {name:30s}{1000 * value:9.1f} ms a step of {batch} x {size}³{waiting}")
    bounds: list[Bound] = [
        ("a step of tfmri over that of a bare Keras fit, no augmentation", 100 * (plain / bare - 1), "at most", 5, "%"),
        ("a step with standard augmentation over one without", 100 * (standard / plain - 1), "at most", 15, "%"),
        *(
            (f"waiting for data, {name}, from the second epoch on", 100 * statistics.median(each), "at most", 2, "%")
            for name, each in waits.items()
        ),
    ]
    return {"seconds": seconds, "waiting": waits}, bounds


def densenet(options: argparse.Namespace, processors: int) -> tuple[dict[str, Any], list[Bound]]:
    """An epoch of DenseNet-121 beside MONAI's."""
    size, scans, batch, epochs = (32, 8, 4, 2) if options.quick else (64, 16, 4, 3)
    settings = {"size": size, "scans": scans, "batch": batch, "epochs": epochs}
    cohort(size, scans, 4)
    model = {"name": "densenet121"}
    seconds: dict[str, list[float]] = {}
    for name, recipe in (("tfmri, bare", "none"), ("tfmri", AUGMENTED)):
        rows = train(name.replace(", ", "-"), model, recipe, size, batch, epochs)[1:]
        seconds[name] = [row["seconds"] for row in rows]
    if options.peer_python:
        for way in ("bare", "quick", "usual"):
            for workers in (0,) if way == "bare" else (0, processors):
                name = f"MONAI, {way}" + (f", {workers} workers" if workers else "")
                more = {"who": "monai", "way": way, "workers": workers, **settings}
                seconds[name] = peer(options.peer_python, **more)[1:]
    else:
        print("  MONAI: no --peer-python, not compared with")
    epoch = {name: statistics.median(each) for name, each in seconds.items()}
    for name, value in epoch.items():
        bare = epoch[f"{name.split(',')[0]}, bare"]
        share = "" if "bare" in name else f"   augmentation {100 * (1 - bare / value):5.1f} % of it"
        times = f"{value / epoch['tfmri']:8.2f} times tfmri's"
        print(f"  {name:30s}{value:9.2f} s an epoch of {scans} x {size}³{times}{share}")
    theirs = [value for name, value in epoch.items() if name.startswith(("MONAI, quick", "MONAI, usual"))]
    if not theirs:
        return seconds, []
    what = "an epoch of DenseNet-121 in MONAI at its best, times tfmri's"
    return seconds, [(what, min(theirs) / epoch["tfmri"], "at least", 1.5, "")]


def memory(options: argparse.Namespace, processors: int) -> tuple[dict[str, Any], list[Bound]]:
    """The resident set after each epoch."""
    size, scans, epochs = (16, 24, 6) if options.quick else (32, 200, 30)
    cohort(size, scans - 2 * (scans // 10), scans // 10)
    write_experiment("small_cnn", "standard", size, 8, epochs)
    prepared()
    resident: list[float] = []
    with subprocess.Popen(
        [*TFMRI, "train", "bench.yaml", "--run", "memory"], stdout=subprocess.PIPE, text=True
    ) as training:
        assert training.stdout
        for line in training.stdout:
            if line.startswith("epoch "):
                resident.append(resident_mb(training.pid))
    if training.returncode or len(resident) != epochs:
        sys.exit(f"tfmri train ended with {training.returncode} after {len(resident)} epochs")
    shown = sorted({0, 1, epochs // 3, 2 * epochs // 3, epochs - 1})
    print("  " + "   ".join(f"epoch {number + 1}: {resident[number]:.0f} MB" for number in shown))
    growth = 100 * (max(resident[2:]) / resident[1] - 1)
    what = f"growth of the resident set from the second to the largest of {epochs} epochs"
    return {"MB": resident}, [(what, growth, "at most", 3, "%")]


def start(options: argparse.Namespace, processors: int) -> tuple[dict[str, Any], list[Bound]]:
    """From the command to the first step."""
    size = 32 if options.quick else 64
    cohort(size, 32, 8)
    write_experiment("sfcn", "standard", size, 8, 1, checkpoint_minutes=1e-6)  # so that each step leaves a file
    prepared()
    seconds = []
    for number in range(options.rounds):
        began = time.perf_counter()
        command = [*TFMRI, "train", "bench.yaml", "--run", f"start-{number}"]
        training = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        place = Path("runs/bench") / f"start-{number}"
        while not list(place.glob("fits/whole/checkpoints/step-*.npz")) and training.poll() is None:
            time.sleep(0.02)
        seconds.append(time.perf_counter() - began)
        if training.poll() is not None:
            sys.exit(f"tfmri train ended with {training.returncode} before its first step")
        training.kill()
        training.wait()
    print("  " + ", ".join(f"{each:.1f} s" for each in seconds))
    return {"seconds": seconds}, [
        ("start-up to the first step, cache warm", statistics.median(seconds), "at most", 25, "s")
    ]


MEASUREMENTS = {"step": step, "densenet": densenet, "memory": memory, "start": start}


#  How


def cohort(size: int, train: int, others: int) -> None:
    """Writes labels.csv, in place of another, and its scans: balls of noise of size³ voxels."""
    for old in ("scans", "cache", "runs"):
        shutil.rmtree(old, ignore_errors=True)
    Path("scans").mkdir()
    spacing = 64 * SPACING / size
    places = np.indices((size,) * 3) - (size - 1) / 2
    ball = np.sqrt((places**2).sum(axis=0)) < size / 2 - AIR
    rows = []
    for index in range(train + 2 * others):
        noise = np.random.default_rng(index).normal(0, 10, ball.shape)
        image = nibabel.Nifti1Image(np.where(ball, 100 + noise, np.abs(noise) / 10).astype(np.float32),
                                    np.diag([spacing] * 3 + [1]))  # fmt: skip
        nibabel.save(image, f"scans/{index}.nii")
        part = "train" if index < train else ("validation", "test")[index % 2]
        rows.append(
            {"subject": f"s{index:03}", "path": f"scans/{index}.nii", "sex": "fm"[index // 2 % 2], "split": part}
        )
    pd.DataFrame(rows).to_csv("labels.csv", index=False)


def write_experiment(model: Any, recipe: Any, size: int, batch: int, epochs: int, **training: Any) -> None:
    """bench.yaml; JSON is YAML."""
    settings = {
        "data": {"labels": "labels.csv"},
        "targets": {"sex": {"task": "classification", "classes": ["f", "m"]}},
        "image": {"spacing": 64 * SPACING / size, "shape": [size] * 3},
        "augment": recipe,
        "model": model if isinstance(model, dict) else {"name": model},
        "training": {"epochs": epochs, "batch_size": batch, "devices": ["CPU:0"], **training},
    }
    Path("bench.yaml").write_text(json.dumps(settings))


def prepared() -> None:
    """Fills the cache."""
    called([*TFMRI, "prepare", "bench.yaml"])


def train(run: str, model: Any, recipe: Any, size: int, batch: int, epochs: int) -> list[dict[str, float]]:
    """The rows of history.csv of a `tfmri train`."""
    write_experiment(model, recipe, size, batch, epochs)
    prepared()
    called([*TFMRI, "train", "bench.yaml", "--run", run])
    rows: list[dict[str, float]] = pd.read_csv(f"runs/bench/{run}/fits/whole/history.csv").to_dict("records")
    return rows


def peer(python: str, **settings: Any) -> list[float]:
    """Seconds of each epoch of a run of training_runs.py."""
    seconds: list[float] = json.loads(called([python, str(RUNS), json.dumps(settings)]).splitlines()[-1])
    return seconds


def called(command: Sequence[str]) -> str:
    """What a program says, if all goes well."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def resident_mb(process: int) -> float:
    """Megabytes of a process in memory."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


if __name__ == "__main__":
    main()
