"""One run of the benchmark training.py, in a process of its own: a bare Keras `fit`, or MONAI and PyTorch.

Takes the arguments of `run` as JSON, prints seconds of each epoch as JSON. A peer's environment needs nothing of tfmri.
"""

import json
import math
import sys
import tempfile
import time
from pathlib import Path

RANGES = {
    "rotation": 10.0,  # degrees, either way
    "scale": 0.1,  # of 1, either way
    "translation": 5.0,  # mm, either way
    "control points": 7,
    "displacement": 7.5,  # mm of a control point, either way
    "bias": 0.2,  # of the field's logarithm
    "noise": 0.05,  # highest sd
}
SPACING = 3.0  # mm


def run(who: str, way: str, size: int, scans: int, batch: int, epochs: int, workers: int = 0) -> list[float]:
    """Seconds of each epoch over `scans` volumes of size³ in memory.

    Args:
        who: `keras` or `monai`.
        way: of keras, the model's name; of monai, `bare`, `quick` or `usual` transforms.
        size, scans, batch, epochs: of the training.
        workers: of MONAI's DataLoader; 0 for none, with all threads in the one process.
    """
    return keras_fit(way, size, scans, batch, epochs) if who == "keras" else monai(**locals())


def keras_fit(name: str, size: int, scans: int, batch: int, epochs: int) -> list[float]:
    """A bare `fit` on float32 arrays, with the determinism and the threads that tfmri sets by default."""
    from tfmri.training.startup import load_tensorflow

    load_tensorflow()
    import keras
    import numpy as np

    from tfmri.models.registry import build_model
    from tfmri.training.devices import set_up
    from tfmri.training.optimizers import make_optimizer

    set_up(["CPU:0"], None, True, 0)
    random = np.random.default_rng(0)
    images = random.normal(size=(scans, size, size, size, 1)).astype(np.float32)
    targets = np.arange(scans) % 2
    model = build_model(name, images.shape[1:], 2)
    optimizer = make_optimizer("adamw", {}, model.trainable_variables)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    seconds: list[float] = []

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.began = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            seconds.append(time.perf_counter() - self.began)

    model.fit(images, targets, batch, epochs, verbose=0, callbacks=[Clock()])
    return seconds


def monai(who: str, way: str, size: int, scans: int, batch: int, epochs: int, workers: int) -> list[float]:
    """DenseNet121 of MONAI in PyTorch: CacheDataset, DataLoader, AdamW, cross-entropy."""
    import numpy as np
    import torch
    from monai import transforms
    from monai.data import CacheDataset, set_track_meta
    from monai.networks.nets import DenseNet121
    from monai.utils import set_determinism

    set_track_meta(False)
    set_determinism(0)
    torch.use_deterministic_algorithms(True, warn_only=True)
    random, folder = np.random.default_rng(0), Path(tempfile.mkdtemp())
    items = []
    for index in range(scans):
        np.save(folder / f"{index}.npy", random.normal(size=(size,) * 3).astype(np.float32))
        items.append({"image": str(folder / f"{index}.npy"), "target": index % 2})
    steps = [
        transforms.LoadImaged("image", reader="NumpyReader", image_only=True),
        transforms.EnsureChannelFirstd("image", channel_dim="no_channel"),
        *({"bare": list, "quick": quick, "usual": usual}[way](*([] if way == "bare" else [size]))),
    ]
    dataset = CacheDataset(items, transforms.Compose(steps), progress=False)
    loader = torch.utils.data.DataLoader(
        dataset, batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0, drop_last=True
    )
    model = DenseNet121(spatial_dims=3, in_channels=1, out_channels=2).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=1e-4)
    loss_of = torch.nn.CrossEntropyLoss()
    seconds = []
    for _ in range(epochs):
        began = time.perf_counter()
        for element in loader:
            optimizer.zero_grad()
            loss = loss_of(model(element["image"]), element["target"])
            loss.backward()
            optimizer.step()
            assert math.isfinite(loss.item())
        seconds.append(time.perf_counter() - began)
    return seconds


def affine() -> dict[str, list[float]]:
    turn, span, shift = math.radians(RANGES["rotation"]), RANGES["scale"], RANGES["translation"] / SPACING
    return {"rotate_range": [turn] * 3, "scale_range": [span] * 3, "translate_range": [shift] * 3}


def quick(size: int) -> list:
    """The quickest of MONAI's transforms: elastic deformation and bias field by control grids."""
    from monai import transforms

    shape = (size,) * 3
    bias = RANGES["bias"]
    return [
        transforms.RandAffined("image", spatial_size=shape, prob=1, padding_mode="border", cache_grid=True, **affine()),
        transforms.RandSmoothDeformd(
            "image",
            spatial_size=shape,
            rand_size=[int(RANGES["control points"])] * 3,
            field_mode="trilinear",
            align_corners=True,
            prob=1,
            def_range=2 * RANGES["displacement"] / (SPACING * size),  # the image is 2 wide
            grid_mode="bilinear",
        ),
        transforms.RandSmoothFieldAdjustIntensityd(
            "image",
            spatial_size=shape,
            rand_size=[5] * 3,
            mode="trilinear",
            align_corners=True,
            prob=1,
            gamma=(math.exp(-bias), math.exp(bias)),
        ),
        transforms.RandGaussianNoised("image", prob=1, std=RANGES["noise"]),
    ]


def usual(size: int) -> list:
    """Those that bear the names: Rand3DElastic, with the affine map in the same resampling, and RandBiasField."""
    from monai import transforms

    return [
        transforms.Rand3DElasticd("image", (5, 8), (100, 200), prob=1, padding_mode="border", **affine()),
        transforms.RandBiasFieldd("image", prob=1, coeff_range=(0.0, RANGES["bias"])),
        transforms.RandGaussianNoised("image", prob=1, std=RANGES["noise"]),
    ]


if __name__ == "__main__":
    print(json.dumps(run(**json.loads(sys.argv[1]))))
