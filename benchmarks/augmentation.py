"""How many volumes a second are augmented, against TorchIO and MONAI?      make bench BENCH=augmentation ARGS='...'

Flip, affine, elastic, bias field, gamma, blur and noise, all of them on every volume, with the same ranges for all (see
`RANGES`), of float32 volumes of 1 mm that are in memory, on the same processors in turn:

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
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

RANGES: dict[str, Any] = {
    "rotation": 10.0,  # degrees, either way
    "scale": 0.1,  # of 1, either way
    "translation": 5.0,  # mm, either way
    "control points": 7,
    "displacement": 7.5,  # mm of a control point, either way
    "bias": 0.2,  # of the field's logarithm
    "log gamma": 0.3,  # either way
    "blur": (0.25, 1.5),  # sd, mm
    "noise": 0.05,  # highest sd; intensities are 0 to 1
}
SPACING = (1.0, 1.0, 1.0)
MONAIS = ("MONAI", "MONAI's Rand3DElastic")
AT_LEAST = {"TorchIO 1": 20.0, "TorchIO 2": 5.0, **dict.fromkeys(MONAIS, 10.0)}  # times as many volumes a second
GATHERS, COPIES, COMPILING = 3.0, 12.0, 20.0  # at most: times of the bare gather, copies of the batch, s (heavy)
NAMED = ("standard", "heavy")
FEWEST = 4  # volumes in a run

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

Step = Callable[[], Any]
Runs = dict[tuple[str, str], list[dict[str, Any]]]  # of each contender and way, what each round measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=["96x96x96", "160x192x160"], metavar="XxYxZ")
    parser.add_argument("--batch", type=int, default=4, metavar="N", help="volumes in a batch")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--seconds", type=float, default=5.0, metavar="S", help=f"of a run, or {FEWEST} volumes")
    parser.add_argument("--peer-python", action="append", metavar="PYTHON", help="may be given several times")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures, of every round")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # a run in a process of its own: this many times below
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run(**json.loads(options.one))))
        return
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
            command = [python, __file__, "--one", json.dumps({**settings, "processors": processors})]
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


#  What runs in a process of its own


def run(who: str, way: str, shape: str, batch: int, seconds: float, processors: int) -> dict[str, Any]:
    """One run: volumes a second, or what else is to be known of `way`."""
    size = tuple(int(part) for part in shape.split("x"))
    if who == "tfmri":
        return run_tfmri(way, size, batch, seconds, processors)
    step, volumes = peer_step(who, way, size, batch, processors)
    return paced(step, volumes, seconds)


def paced(step: Step, volumes: int, seconds: float) -> dict[str, Any]:
    """Volumes a second of a `step` of so many volumes, over at least `seconds` and `FEWEST` volumes."""
    ends = [time.perf_counter()]
    while ends[-1] - ends[0] < seconds or (len(ends) - 1) * volumes < FEWEST:
        step()
        ends.append(time.perf_counter())
    steps = [end - start for start, end in itertools.pairwise(ends)]
    return {"rate": len(steps) * volumes / (ends[-1] - ends[0]), "step": statistics.median(steps)}


def head(shape: tuple[int, ...]):
    """Something like a head, (x, y, z) float32: intensities up to 1, nothing around it."""
    import numpy as np

    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n, dtype=np.float32) for n in shape], indexing="ij")
    tissue = 0.6 + 0.2 * np.sin(14 * x) * np.sin(11 * y) + 0.2 * np.sin(17 * z)
    return np.where(x**2 + y**2 + z**2 < 0.7, tissue, 0).astype(np.float32)


def check(result, given) -> None:
    """Refuses what has another shape, has voxels that are not numbers, or is the volume itself; NumPy arrays."""
    import numpy as np

    assert result.shape == given.shape, (result.shape, given.shape)
    assert np.isfinite(result).all()
    assert np.abs(result - given).mean() > 0.01


#  tfmri


def run_tfmri(way: str, shape: tuple[int, ...], batch: int, seconds: float, processors: int) -> dict[str, Any]:
    """`way`: all transforms, the bare gather, the name of a recipe, or memory."""
    import numpy as np
    import tensorflow as tf

    from tfmri.errors import InputError

    tf.config.threading.set_intra_op_parallelism_threads(processors)
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    volume = tf.constant(head(shape)[None, ..., None])
    draws = itertools.count()

    def batch_of_volumes():
        return tf.tile(volume, [batch, 1, 1, 1, 1])

    def seeds():
        return tf.constant(np.random.default_rng(next(draws)).integers(0, 2**31, (batch, 2)), tf.int32)

    try:
        if way == "bare gather":
            augment = bare_gather(shape, seeds())
        else:
            augment = tfmri_augment({"all": tfmri_recipe(), "memory": tfmri_recipe()}.get(way, way), shape, batch)
    except InputError as error:
        return {"refused": " ".join(str(error).split())}
    if way == "memory":
        growth = peak_growth(lambda: augment(batch_of_volumes(), seeds()), bool(gpus))
        return {"copies": growth / (4 * batch * math.prod(shape))}

    images = batch_of_volumes()

    def step():
        return float(augment(images, seeds())[0, 0, 0, 0, 0])  # read back: a GPU works on its own otherwise

    start = time.perf_counter()
    step()
    first = time.perf_counter() - start
    for _ in range(2):
        step()
    if way not in NAMED:
        check(augment(images, seeds()).numpy(), images.numpy())
    device = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "a GPU") if gpus else "CPU"
    return {**paced(step, batch, seconds), "first": first, "device": device, "version": tf.__version__}


def tfmri_recipe() -> list[dict[str, dict[str, Any]]]:
    """All transforms on every sample, as an experiment file has them."""
    span, log_gamma = RANGES["scale"], RANGES["log gamma"]
    transforms: dict[str, dict[str, Any]] = {
        "flip": {"axes": ["x"]},
        "affine": {
            "scale": [1 - span, 1 + span],
            "rotation": RANGES["rotation"],
            "translation": RANGES["translation"],
        },
        "elastic": {"displacement": [RANGES["displacement"]] * 2, "control_points": RANGES["control points"]},
        "bias_field": {"strength": [RANGES["bias"]] * 2},
        "gamma": {"exponent": [math.exp(-log_gamma), math.exp(log_gamma)]},
        "blur": {"sigma": list(RANGES["blur"])},
        "noise": {"sd": RANGES["noise"]},
    }
    return [{name: {"probability": 1, **settings}} for name, settings in transforms.items()]


def tfmri_augment(setting: Any, shape: tuple[int, ...], batch: int):
    """The augmentation of batches: a function of images (batch, x, y, z, 1) and seeds (batch, 2)."""
    import tensorflow as tf

    from tfmri.augment.apply import make_augment
    from tfmri.augment.recipe import parse_recipe

    augment = make_augment(parse_recipe(setting), shape, SPACING)
    background = tf.zeros([batch])
    return lambda images, seeds: augment(images, seeds, background)


def bare_gather(shape: tuple[int, ...], seeds):
    """Only the resampling, at places of the same spatial transforms: a function as `tfmri_augment` gives."""
    import tensorflow as tf

    from tfmri.augment.coordinates import coordinates
    from tfmri.augment.interpolation import resample
    from tfmri.augment.recipe import parse_recipe
    from tfmri.augment.sampling import sample_parameters

    recipe = parse_recipe([each for each in tfmri_recipe() if {"flip", "affine", "elastic"} & each.keys()])
    places = coordinates(recipe, sample_parameters(recipe, seeds), shape, SPACING)

    @tf.function(jit_compile=True)
    def gather(images, places, background):
        return resample(images[..., 0], places, background)[..., None]

    background = tf.zeros([seeds.shape[0]])
    return lambda images, seeds: gather(images, places, background)


def peak_growth(augmented: Step, gpu: bool) -> float:
    """Bytes by which the memory in use grows, at its peak, while batches are augmented, over what it is in between."""
    import ctypes
    import gc

    import tensorflow as tf

    def resident(what: str) -> int:
        [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what)]
        return 1024 * int(line.split()[1])

    for _ in range(3):
        augmented()
    gc.collect()
    if gpu:
        before = tf.config.experimental.get_memory_info("GPU:0")["current"]
        tf.config.experimental.reset_memory_stats("GPU:0")
    else:
        ctypes.CDLL(None).malloc_trim(0)
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    for _ in range(4):
        float(augmented()[0, 0, 0, 0, 0])
    peak = tf.config.experimental.get_memory_info("GPU:0")["peak"] if gpu else resident("VmHWM")
    return peak - before


#  Peers


def peer_step(who: str, way: str, shape: tuple[int, ...], batch: int, processors: int) -> tuple[Step, int]:
    """A peer's way of augmenting, past its first calls, and how many volumes a call of it gives."""
    import warnings

    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(1 if way == "workers" else processors)
    image = torch.from_numpy(head(shape))[None]  # channel, x, y, z
    if way == "GPU":
        image = image.cuda()
    volumes = batch if who == "TorchIO 2" and way in ("batches", "GPU") else 1
    make = {"TorchIO 1": torchio1, "TorchIO 2": torchio2, "MONAI": monai}.get(who, monai_by_noise)
    augment: Step = make(image, volumes, 1 if way == "workers" else processors)
    if way == "workers":
        augment = worked(augment, processors)

    def step():
        result = augment()
        if way == "GPU":
            result.flatten()[0].item()
        return result

    for result in [step(), *(step() for _ in range(2 * processors if way == "workers" else 1))]:
        check(torch.as_tensor(result).cpu().numpy().reshape(-1, *shape)[:1], image.cpu().numpy())
    return step, volumes


def worked(augment: Step, workers: int) -> Step:
    """`augment` in workers of a DataLoader, volume by volume."""
    import torch

    class Endless(torch.utils.data.IterableDataset):
        def __iter__(self):
            torch.set_num_threads(1)
            while True:
                yield augment()

    loader = torch.utils.data.DataLoader(
        Endless(), batch_size=None, num_workers=workers, multiprocessing_context="fork"
    )
    volumes = iter(loader)
    return lambda: next(volumes)


def torchio1(image, volumes: int, threads: int) -> Step:
    import SimpleITK
    import torchio

    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    span, log_gamma = RANGES["scale"], RANGES["log gamma"]
    affine = {
        "scales": (1 - span, 1 + span),
        "isotropic": True,
        "degrees": RANGES["rotation"],
        "translation": RANGES["translation"],
    }
    elastic = {
        "num_control_points": RANGES["control points"],
        "max_displacement": RANGES["displacement"],
        "locked_borders": 0,
    }
    steps = [
        torchio.RandomFlip(axes=0, flip_probability=1, copy=False),
        torchio.RandomAffineElasticDeformation(affine_kwargs=affine, elastic_kwargs=elastic, copy=False),
        torchio.RandomBiasField(coefficients=RANGES["bias"], order=3, copy=False),
        torchio.RandomGamma(log_gamma=(-log_gamma, log_gamma), copy=False),
        torchio.RandomBlur(std=RANGES["blur"], copy=False),
        torchio.RandomNoise(std=(0, RANGES["noise"]), copy=False),
    ]
    augment = torchio.Compose(steps)  # copies once
    return lambda: augment(image)


def torchio2(image, volumes: int, threads: int) -> Step:
    import torchio

    span, turn, shift = RANGES["scale"], RANGES["rotation"], RANGES["translation"]
    steps = [
        torchio.Flip(axes=0, flip_probability=1),
        torchio.Spatial(
            scales=(1 - span, 1 + span),
            isotropic=True,
            degrees=(-turn, turn),
            translation=(-shift, shift),
            num_control_points=RANGES["control points"],
            max_displacement=RANGES["displacement"],
            locked_borders=0,
        ),
        torchio.BiasField(std=RANGES["bias"], scale=5 / image.shape[1]),  # 5 points along x
        torchio.Gamma(log_gamma=(-RANGES["log gamma"], RANGES["log gamma"])),
        torchio.Blur(std=RANGES["blur"]),
        torchio.Noise(std=(0, RANGES["noise"])),
    ]
    augment = torchio.Compose(steps, copy=False)  # none of them writes into what it is given
    if volumes == 1:
        return lambda: augment(image)
    images = image[None].repeat(volumes, 1, 1, 1, 1)
    return lambda: augment(torchio.ImagesBatch(images, [torchio.AffineMatrix() for _ in range(volumes)])).data


def monai(image, volumes: int, threads: int) -> Step:
    """The elastic deformation by a control grid."""
    from monai import transforms

    shape, device = image.shape[1:], image.device
    affine = transforms.RandAffine(
        prob=1, spatial_size=shape, cache_grid=True, padding_mode="border", device=device, **monai_affine()
    )
    elastic = transforms.RandSmoothDeform(
        spatial_size=shape,
        rand_size=[RANGES["control points"]] * 3,
        field_mode="trilinear",
        align_corners=True,
        prob=1,
        def_range=2 * RANGES["displacement"] / (sum(shape) / 3),  # the image is 2 wide
        grid_mode="bilinear",
        device=device,
    )
    return monai_steps(image, [affine, elastic])


def monai_by_noise(image, volumes: int, threads: int) -> Step:
    """The elastic deformation by smoothed noise, affine in the same resampling; the usual voxel moves some 0.8 mm."""
    from monai import transforms

    elastic = transforms.Rand3DElastic((5, 8), (100, 200), prob=1, padding_mode="border", **monai_affine())
    return monai_steps(image, [elastic])


def monai_affine() -> dict[str, list[float]]:
    turn, span, shift = math.radians(RANGES["rotation"]), RANGES["scale"], RANGES["translation"]
    return {"rotate_range": [turn] * 3, "scale_range": [span] * 3, "translate_range": [shift] * 3}


def monai_steps(image, spatial: list) -> Step:
    """A flip, `spatial`, and all that changes intensities."""
    from monai import transforms
    from monai.data import set_track_meta

    set_track_meta(False)
    bias, log_gamma, sigma = RANGES["bias"], RANGES["log gamma"], RANGES["blur"]
    steps = [
        transforms.RandFlip(prob=1, spatial_axis=0),
        *spatial,
        transforms.RandSmoothFieldAdjustIntensity(  # takes half the time of RandBiasField
            spatial_size=image.shape[1:],
            rand_size=[5] * 3,
            mode="trilinear",
            align_corners=True,
            prob=1,
            gamma=(math.exp(-bias), math.exp(bias)),
            device=image.device,
        ),
        transforms.RandAdjustContrast(prob=1, gamma=(math.exp(-log_gamma), math.exp(log_gamma))),
        transforms.RandGaussianSmooth(sigma, sigma, sigma, prob=1),
        transforms.RandGaussianNoise(prob=1, std=RANGES["noise"]),
    ]
    augment = transforms.Compose(steps)
    return lambda: augment(image)


if __name__ == "__main__":
    main()
