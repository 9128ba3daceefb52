"""How many volumes a second are augmented, against TorchIO and MONAI?      make bench BENCH=augmentation ARGS='...'

Flip, affine, elastic, bias field, gamma, blur and noise, all of them on every volume, with the same ranges for all (see
`RANGES` of augmentation_runs.py), of float32 volumes of 1 mm that are in memory, on the same processors in turn:

- tfmri: batches through `make_augment`, every sample with parameters of its own.
- the bare gather, the floor: places given, one trilinear resampling of the batch under XLA, and nothing else.
- TorchIO 1, TorchIO 2 and MONAI: in one process with a thread for each processor, and in a DataLoader with a worker of
  one thread for each; TorchIO 2 in batches too; and on a GPU, if their PyTorch sees one. Each by the quickest of its
  own transforms: affine and elastic in one resampling where there is such a transform, MONAI's elastic deformation by
  its control grid (RandSmoothDeform). Its usual one, Rand3DElastic, smooths noise voxel by voxel and stands by itself.
- tfmri's recipes `standard` and `heavy` at their own probabilities.

Each run is a process of its own; imports, the first calls and the start of workers are not in its time. Prints the
median and the best of the rounds; how tfmri's median compares with each, and with the best setting of each peer; the
peak of what augmenting takes in memory on top of the idle process, input and output included, in float32 copies of the
batch; and the seconds that compiling takes, the first call less a later one. A bound missed ends with exit code 1.
Where TensorFlow sees a GPU, tfmri runs there.

Peers are run by --peer-python, given several times for several environments, since TorchIO 1 and 2 cannot share one. An
environment needs torch, and torchio or monai.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from augmentation_runs import FEWEST, NAMED

RUNS = Path(__file__).with_name("augmentation_runs.py")
MONAIS = ("MONAI", "MONAI's Rand3DElastic")
AT_LEAST = {"TorchIO 1": 20.0, "TorchIO 2": 5.0, **dict.fromkeys(MONAIS, 10.0)}  # times as many volumes a second
GATHERS, COPIES, COMPILING = 3.0, 12.0, 20.0  # at most: times of the bare gather, copies of the batch, s (heavy)

# What an environment of --peer-python is asked.
FIND_PEERS = """
import importlib, json
found = {}
for name in ("torch", "torchio", "monai"):
    try:
        found[name] = importlib.import_module(name).__version__
    except ImportError:
        pass
print(json.dumps({**found, "gpu": "torch" in found and importlib.import_module("torch").cuda.is_available()}))
"""

Runs = dict[tuple[str, str], list[dict[str, Any]]]  # of each contender and way, what each round measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=["96x96x96", "160x192x160"], metavar="XxYxZ")
    parser.add_argument("--batch", type=int, default=4, metavar="N", help="volumes in a batch")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--seconds", type=float, default=5.0, metavar="S", help=f"of a run, or {FEWEST} volumes")
    parser.add_argument("--peer-python", action="append", metavar="PYTHON", help="may be given several times")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures, of every round")
    options = parser.parse_args()
    peers = find_peers(options.peer_python or [sys.executable])
    processors, loads = len(os.sched_getaffinity(0)), [os.getloadavg()[0]]
    tables = [compare(shape, options, peers, processors) for shape in options.shapes]
    loads.append(os.getloadavg()[0])
    print(f"\n{processors} processors, load {loads[0]:.1f} before and {loads[1]:.1f} after: {options.rounds} rounds")
    if loads[0] > processors / 4:
        print("Others were using the machine: threads that wait for each other suffer most, and no ratio holds.")
    if options.json:
        found = {peer: {**at, "python": python} for peer, (python, at) in peers.items()}
        content = {"processors": processors, "load": loads, "batch": options.batch, "peers": found, "shapes": tables}
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    sys.exit(not all(bound["met"] for table in tables for bound in table["bounds"]))


def find_peers(pythons: list[str]) -> dict[str, tuple[str, dict[str, Any]]]:
    """The interpreter of each peer that is there, and what is in its environment; prints what was found."""
    peers: dict[str, tuple[str, dict[str, Any]]] = {}
    for python in pythons:
        try:
            output = subprocess.run([python, "-c", FIND_PEERS], capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError) as error:
            sys.exit(f"--peer-python {python}: {error}")
        found = json.loads(output.splitlines()[-1])
        if found.get("torchio"):
            peers.setdefault(f"TorchIO {found['torchio'].split('.')[0]}", (python, found))
        for peer in MONAIS if found.get("monai") else ():
            peers.setdefault(peer, (python, found))
    for peer in AT_LEAST:
        if peer in peers:
            python, found = peers[peer]
            version = found["monai" if peer in MONAIS else "torchio"]
            print(f"{peer}: {version}, torch {found['torch']}{', GPU' if found['gpu'] else ''} ({python})")
        else:
            print(f"{peer}: in no environment of --peer-python, not compared with")
    return peers


def ways_of(peer: str, gpu: bool) -> list[str]:
    """The ways in which a peer is run."""
    ways = ["threads", "workers"]
    if peer == "TorchIO 2":
        ways.append("batches")
    return [*ways, "GPU"] if gpu and peer != "TorchIO 1" else ways


def compare(shape: str, options: argparse.Namespace, peers: Mapping[str, Any], processors: int) -> dict[str, Any]:
    """Runs everything at one shape and prints its table; returns the figures and the bounds."""
    print(f"\n{shape}, float32, 1 mm", flush=True)
    contenders = [(peer, way) for peer in AT_LEAST if peer in peers for way in ways_of(peer, peers[peer][1]["gpu"])]
    contenders = [("tfmri", "all"), ("tfmri", "bare gather"), *contenders, *(("tfmri", name) for name in NAMED)]
    runs: Runs = {}
    for number in range(options.rounds):  # in turn, so that a noisy minute is everybody's
        for who, way in [*contenders, *([("tfmri", "memory")] if number == 0 else [])]:
            settings = {"who": who, "way": way, "shape": shape, "batch": options.batch, "seconds": options.seconds}
            python = sys.executable if who == "tfmri" else peers[who][0]
            command = [python, RUNS, json.dumps({**settings, "processors": processors})]
            environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
            if way == "memory":  # what is freed goes back to the system: else the peak is that over what was kept
                environment["MALLOC_MMAP_THRESHOLD_"] = "65536"
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            if done.returncode:
                sys.exit(f"{name_of(who, way, options.batch, processors)}: ended with {done.returncode}\n{done.stderr}")
            runs.setdefault((who, way), []).append(json.loads(done.stdout.splitlines()[-1]))

    print(f"\n{'':60s}volumes/s    best   ms each   tfmri's times   compiling s")
    mine = median_of(runs, "tfmri", "all")
    for who, way in contenders:
        name, [first, *_] = name_of(who, way, options.batch, processors), runs[who, way]
        if "refused" in first:
            print(f"{name:60s}{first['refused']}")
            continue
        rate, best = median_of(runs, who, way), max(run["rate"] for run in runs[who, way])
        last = f"{compiling(runs, way):14.1f}" if who == "tfmri" else ""
        print(f"{name:60s}{rate:9.2f}{best:8.2f}{1000 / rate:10.1f}{mine / rate:16.2f}{last}")
    print()
    bounds = bounds_of(runs)
    for bound in bounds:
        value = "not measured" if bound["value"] is None else f"{bound['value']:.1f}"
        met = "met" if bound["met"] else "MISSED"
        floor = f" (the bare gather alone: {bound['gather']:.1f})" if "gather" in bound else ""
        print(f"{bound['what']:60s}{value:>12s}   bound: {bound['side']} {bound['bound']:g}, {met}{floor}")
    print(f"tfmri on {runs['tfmri', 'bare gather'][0]['device']}")
    return {
        "shape": shape,
        "bounds": bounds,
        "runs": [{"who": one[0], "way": one[1], "runs": runs[one]} for one in runs],
    }


def name_of(who: str, way: str, batch: int, processors: int) -> str:
    """A contender, as the table has it."""
    if who == "tfmri":
        batches = f", batches of {batch}"
        return {"all": f"tfmri{batches}", "bare gather": f"the bare gather{batches}"}.get(way, f"tfmri, recipe {way}")
    threads = f"1 process of {processors} threads"
    ways = {
        "threads": threads,
        "workers": f"{processors} workers of 1 thread",
        "batches": f"{threads}, batches of {batch}",
        "GPU": f"GPU, batches of {batch}" if who == "TorchIO 2" else "GPU",
    }
    return f"{who}, {ways[way]}"


def median_of(runs: Runs, who: str, way: str) -> float:
    """Volumes a second; NaN where that was refused."""
    return statistics.median(run.get("rate", math.nan) for run in runs[who, way])


def compiling(runs: Runs, way: str) -> float:
    """Seconds of the first call less those of a later one; NaN where that was refused."""
    return statistics.median(run.get("first", math.nan) - run.get("step", math.nan) for run in runs["tfmri", way])


def bounds_of(runs: Runs) -> list[dict[str, Any]]:
    """What is asked for: value, bound and whether it is met. Nothing about peers that are not there."""
    bounds: list[dict[str, Any]] = []

    def add(what: str, value: float, side: str, bound: float, **more: float) -> None:
        known = None if math.isnan(value) else value
        met = value >= bound if side == "at least" else value <= bound
        bounds.append({"what": what, "value": known, "side": side, "bound": bound, "met": met, **more})

    mine, gather = median_of(runs, "tfmri", "all"), median_of(runs, "tfmri", "bare gather")
    for peer, least in AT_LEAST.items():
        rates = [median_of(runs, who, way) for who, way in runs if who == peer]
        if rates:
            best = max(rates)
            add(f"volumes a second, times {peer}", mine / best, "at least", least, gather=gather / best)
    add("time, times the bare gather", gather / mine, "at most", GATHERS)
    add("peak of memory, copies of the batch", runs["tfmri", "memory"][0].get("copies", math.nan), "at most", COPIES)
    add("compiling the recipe heavy, seconds", compiling(runs, "heavy"), "at most", COMPILING)
    return bounds


if __name__ == "__main__":
    main()
