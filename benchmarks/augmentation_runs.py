"""One run of the benchmark augmentation.py, in a process of its own: transforms of tfmri or of a peer, in equal ranges.

Takes the arguments of `run` as JSON, prints what it measured as JSON. A peer's environment needs nothing of tfmri.
"""

import itertools
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
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
NAMED = ("standard", "heavy")
FEWEST = 4  # volumes in a run

Step = Callable[[], Any]


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
    print(json.dumps(run(**json.loads(sys.argv[1]))))
