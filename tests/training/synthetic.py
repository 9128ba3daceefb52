"""A fit on small random images, as a program of its own: devices and threads can be set only once a process.

    python synthetic.py FOLDER '{"devices": ["CPU:0", "CPU:1"], "size": 16, ...}'

writes FOLDER/weights.npz, predictions.npy and history.csv. `fits.fit` runs it in a process forked from one that has
imported TensorFlow, which saves seconds each time.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd


def fit(
    folder, devices=None, size=16, scans=20, epochs=2, batch_size=4, dropout=0.0, stop_at=None, optimizer="adamw",
    options=None, on="device", transforms=("flip", "affine", "noise"), accumulation=1, clip_norm=None, ema=None,
    precision="float32", xla="off", l2=0.0, filters=None, balanced=False, checkpoint_seconds=900.0, kill=None,
    stop_with="SIGTERM",
):  # fmt: skip
    """Trains SFCN on blobs whose brightness tells the class.

    `stop_at` sends this process the signal `stop_with` after that step; `kill` is a moment of `die_at`.
    """
    from tfmri.training.startup import load_tensorflow

    load_tensorflow()
    import keras

    from tfmri.augment.apply import make_augment
    from tfmri.augment.recipe import parse_recipe
    from tfmri.images.fitted import fit_preparation
    from tfmri.images.prepare import Preparation
    from tfmri.inference.model_file import Carried
    from tfmri.inference.outputs import make_predictor
    from tfmri.models.registry import build_model
    from tfmri.pipeline.samples import Samples
    from tfmri.tasks.registry import make_task
    from tfmri.training.callbacks.best_model import BestModel
    from tfmri.training.callbacks.history import History
    from tfmri.training.callbacks.state import StatefulCallback
    from tfmri.training.devices import compiles, set_up, worker_index
    from tfmri.training.interruption import Interruption
    from tfmri.training.loop import Fitting, train
    from tfmri.training.optimizers import make_optimizer
    from tfmri.training.schedules import Course, make_schedule

    class Stop(StatefulCallback):
        steps = 0

        def on_train_batch_end(self, batch, logs=None):
            self.steps += 1
            if self.steps == stop_at:
                os.kill(os.getpid(), getattr(signal, stop_with))

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    truth = pd.Series(["a", "b"] * (scans // 2), name="blob")
    for index, label in enumerate(truth):
        image = random.normal(size=(size, size, size, 1)) + (label == "b")
        if not (folder / f"{index}.npy").exists():
            np.save(folder / f".{os.getpid()}.npy", image.astype(np.float16))
            (folder / f".{os.getpid()}.npy").replace(folder / f"{index}.npy")
    rows = np.arange(scans)
    train_rows, validation_rows = rows[: scans * 3 // 4], rows[scans * 3 // 4 :]
    strategy = set_up(devices, None, True, 0, precision)
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
        filters = filters or ([8, 8, 8] if size < 32 else [16, 32, 64, 64, 64, 32])
        model = build_model(
            "sfcn", samples.shape, task.outputs, filters=filters, dropout=dropout, synchronized=replicas > 1
        )
        if l2:
            for layer in model.layers:
                if hasattr(layer, "kernel_regularizer"):
                    layer.kernel.regularizer = keras.regularizers.L2(l2)
        rate = (options or {}).get("learning_rate", 1e-3)
        options = {"learning_rate": rate, **(options or {})}
        scaling = precision == "mixed_float16"
        built = make_optimizer(optimizer, options, model.trainable_variables, ema, scaling)
    steps = len(train_rows) // batch_size
    carried = Carried(fit_preparation(Preparation((180 / size,) * 3, (size,) * 3), []), "blob", task.to_config())
    writers = [
        BestModel(folder / "model.keras", "validation_loss", lambda: carried),
        History(folder / "history.csv", folder / "curves", "validation_loss", epochs, steps),
    ]
    fitting = Fitting(
        model=model,
        optimizer=built,
        learning_rate=rate,
        schedule=make_schedule("cosine", {"warmup_epochs": 0.5}, Course(epochs, steps, "validation_loss")),
        task=task,
        augment=make_augment(parse_recipe(list(transforms)), (size, size, size), (180 / size,) * 3),
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
        callbacks=[*([] if worker_index(strategy) else writers), Stop()],
        balanced=balanced,
        accumulation=accumulation,
        clip_norm=clip_norm,
        jit=compiles(xla, strategy),
        checkpoint_seconds=checkpoint_seconds,
    )
    if kill:
        die_at(**kill)
    with Interruption() as interruption:
        train(fitting, interruption)
    if not worker_index(strategy):
        variables = {variable.path: variable.numpy() for variable in [*model.variables, *built.variables]}
        np.savez(folder / "weights.npz", **{path.replace("/", "."): value for path, value in variables.items()})
        if not interruption.exit_code:
            best = keras.models.load_model(folder / "model.keras", compile=False)
            import tensorflow as tf

            one = tf.distribute.OneDeviceStrategy("CPU:0")
            np.save(folder / "predictions.npy", make_predictor(best, samples, batch_size, one)(rows))
    return interruption.exit_code


def die_at(moment, count=1, share=0.5):
    """Lets this process be killed (SIGKILL) at a moment of the training to come.

    `step`: before the training step of that count. `checkpoint`: `share` of a checkpoint written. `model`: `share` of
    the best model written. `validation`: in the middle of one. `seconds`: `share` seconds from now, wherever it is.
    """
    from tfmri.training import loop
    from tfmri.training.callbacks import best_model

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def dying(function, before=None):
        """`function`, which dies at its call number `count`."""
        calls = 0

        def wrapped(*arguments, **named):
            nonlocal calls
            calls += 1
            if calls == count:
                if before:
                    before(*arguments, **named)
                die()
            return function(*arguments, **named)

        return wrapped

    def half_a_model(path, prepared):
        """Of the model that was just saved, without its preparation."""
        os.truncate(path, int(path.stat().st_size * share))

    if moment == "seconds":
        threading.Timer(share, die).start()
    elif moment == "step":
        loop.step_seed = dying(loop.step_seed)
    elif moment == "validation":
        make = loop.make_predictor
        loop.make_predictor = lambda *arguments: dying(make(*arguments))
    elif moment == "model":
        best_model.add_to_model = dying(best_model.add_to_model, half_a_model)
    elif moment == "checkpoint":
        savez = np.savez

        def half_a_checkpoint(path, **entries):
            savez(path, **entries)
            os.truncate(path, int(Path(path).stat().st_size * share))

        loop.checkpoint.np.savez = dying(savez, half_a_checkpoint)
    else:
        raise ValueError(moment)


if __name__ == "__main__":
    sys.exit(fit(sys.argv[1], **json.loads(sys.argv[2])))
