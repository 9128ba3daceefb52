"""A fit on small random images, as a program of its own: devices and threads can be set only once a process.

    python synthetic.py FOLDER '{"devices": ["CPU:0", "CPU:1"], "size": 16, ...}'

writes FOLDER/weights.npz and history.csv.
"""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pandas as pd


def fit(
    folder, devices=None, size=16, scans=20, epochs=2, batch_size=4, dropout=0.0, stop_at=None, optimizer="adamw",
    on="device",
):  # fmt: skip
    """Trains SFCN on blobs whose brightness tells the class; `stop_at` sends this process SIGTERM after that step."""
    from tfmri.training.startup import load_tensorflow

    load_tensorflow()
    from tfmri.augment.apply import make_augment
    from tfmri.augment.recipe import parse_recipe
    from tfmri.images.fitted import fit_preparation
    from tfmri.images.prepare import Preparation
    from tfmri.models.registry import build_model
    from tfmri.pipeline.samples import Samples
    from tfmri.tasks.registry import make_task
    from tfmri.training.callbacks.best_model import BestModel
    from tfmri.training.callbacks.history import History
    from tfmri.training.callbacks.state import StatefulCallback
    from tfmri.training.devices import set_up
    from tfmri.training.interruption import Interruption
    from tfmri.training.loop import Fitting, train
    from tfmri.training.optimizers import make_optimizer
    from tfmri.training.schedules import Course, make_schedule

    class Stop(StatefulCallback):
        steps = 0

        def on_train_batch_end(self, batch, logs=None):
            self.steps += 1
            if self.steps == stop_at:
                os.kill(os.getpid(), signal.SIGTERM)

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    truth = pd.Series(["a", "b"] * (scans // 2), name="blob")
    for index, label in enumerate(truth):
        image = random.normal(size=(size, size, size, 1)) + (label == "b")
        np.save(folder / f"{index}.npy", image.astype(np.float16))
    rows = np.arange(scans)
    train_rows, validation_rows = rows[: scans * 3 // 4], rows[scans * 3 // 4 :]
    strategy = set_up(devices, None, True, 0)
    task = make_task("classification", truth.iloc[train_rows], classes=["a", "b"])
    samples = Samples(
        files=np.array([str(folder / f"{index}.npy") for index in rows]),
        scans=np.array([f"sub-{index}" for index in rows]),
        targets=task.encode(truth),
        weights=task.weights(truth),
        backgrounds=np.zeros(scans, np.float32),
        shape=(size, size, size, 1),
    )
    with strategy.scope():
        replicas = strategy.num_replicas_in_sync
        filters = [8, 8, 8] if size < 32 else [16, 32, 64, 64, 64, 32]
        model = build_model(
            "sfcn", samples.shape, task.outputs, filters=filters, dropout=dropout, synchronized=replicas > 1
        )
        built = make_optimizer(optimizer, {"learning_rate": 1e-3}, model.trainable_variables)
    steps = len(train_rows) // batch_size
    prepared = fit_preparation(Preparation((180 / size,) * 3, (size,) * 3), [])
    fitting = Fitting(
        model=model,
        optimizer=built,
        learning_rate=1e-3,
        schedule=make_schedule("cosine", {"warmup_epochs": 0.5}, Course(epochs, steps, "validation_loss")),
        task=task,
        augment=make_augment(parse_recipe(["flip", "affine", "noise"]), (size, size, size), (180 / size,) * 3),
        augment_on=on,
        samples=samples,
        truth=truth,
        train_rows=train_rows,
        validation_rows=validation_rows,
        epochs=epochs,
        batch_size=batch_size,
        seed=0,
        strategy=strategy,
        checkpoints=folder / "checkpoints",
        callbacks=[
            BestModel(folder / "model.keras", "validation_loss", prepared),
            History(folder / "history.csv", epochs, steps),
            Stop(),
        ],
    )
    with Interruption() as interruption:
        train(fitting, interruption)
    variables = {variable.path: variable.numpy() for variable in [*model.variables, *built.variables]}
    np.savez(folder / "weights.npz", **{path.replace("/", "."): value for path, value in variables.items()})
    return interruption.exit_code


if __name__ == "__main__":
    sys.exit(fit(sys.argv[1], **json.loads(sys.argv[2])))
