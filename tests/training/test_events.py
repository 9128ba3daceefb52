"""TensorBoard's files as its own reader sees them, also after a training was killed and went on."""

import math
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

STEPS = 3
TEXTS = {"experiment": "    seed: 0\n"}
SETTINGS = {"model": "sfcn", "optimizer.learning_rate": 0.001, "batch_size": 8, "balanced": False}


def events(folder: Path, state=None):
    from tfmri.training.callbacks.events import Events

    inputs = np.full((8, 12), 7, np.uint8)
    callback = Events(folder, STEPS, lambda epoch: inputs, lambda rows, outputs: outputs, TEXTS, SETTINGS)
    if state is not None:
        callback.set_state(state)
    callback.on_train_begin()
    return callback


def step(callback, epoch: int, number: int, loss: float) -> None:
    if number == 0:
        callback.on_epoch_begin(epoch)
    callback.epoch = epoch
    callback.on_train_batch_end(number, {"loss": loss, "gradient_norm": 1.0, "learning_rate": 0.1})


def end_of_epoch(callback, epoch: int) -> None:
    callback.on_validation(np.arange(2), np.full((6, 6, 3), 200, np.uint8))
    row = {"epoch": epoch + 1, "step": STEPS, "learning_rate": 0.1, "loss": 1.0, "mae": 4.0, "validation_loss": 2.0}
    callback.on_epoch_end(
        epoch, row | {"validation_mae": 5.0, "seconds": 1.0, "waiting": 0.01, "volumes_per_second": 9}
    )


def read(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    found.Reload()
    return found


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(each.step, float(make_ndarray(each.tensor_proto))) for each in read(folder).Tensors(tag)]


def test_scalars_have_keras_names_by_epoch_and_by_step(tmp_path):
    callback = events(tmp_path)
    for epoch in range(2):
        for number in range(STEPS):
            step(callback, epoch, number, loss=10 * epoch + number)
        end_of_epoch(callback, epoch)
    callback.on_train_end()
    assert scalars(tmp_path / "train", "batch_loss") == [(0, 0), (1, 1), (2, 2), (3, 10), (4, 11), (5, 12)]
    assert scalars(tmp_path / "train", "epoch_loss") == [(0, 1), (1, 1)]
    assert scalars(tmp_path / "validation", "epoch_loss") == [(0, 2), (1, 2)]
    assert scalars(tmp_path / "validation", "epoch_mae") == [(0, 5), (1, 5)]
    train = read(tmp_path / "train").Tags()["tensors"]
    for name in ("learning_rate", "volumes_per_second", "waiting_for_data", "memory_gib", "mae"):
        assert f"epoch_{name}" in train
    assert {"batch_gradient_norm", "batch_learning_rate", "augmented inputs", "validation", "experiment"} <= {*train}
    pictures = [each.step for each in read(tmp_path / "train").Tensors("validation")]
    assert pictures[0] == 0 and pictures[-1] == 1, "the first and the last epoch are drawn, however quick they are"


def test_runs_can_be_compared_by_their_settings(tmp_path):
    from tensorboard.plugins.hparams import metadata

    events(tmp_path).on_train_end()
    written = read(tmp_path).summary_metadata["_hparams_/session_start_info"].plugin_data.content
    found = metadata.parse_session_start_info_plugin_data(written).hparams
    assert found["model"].string_value == "sfcn"
    assert math.isclose(found["optimizer.learning_rate"].number_value, 0.001)
    assert found["batch_size"].number_value == 8


def test_each_step_stands_once_after_a_training_was_killed_and_went_on(tmp_path):
    killed = events(tmp_path)
    for number in range(STEPS):
        step(killed, 0, number, loss=number)
    end_of_epoch(killed, 0)
    step(killed, 1, 0, loss=STEPS)
    state = killed.get_state()
    step(killed, 1, 1, loss=-1)  # past the checkpoint, written, and then the process dies
    killed.train.flush()

    again = events(tmp_path, state)
    step(again, 1, 1, loss=STEPS + 1)
    second = again.get_state()
    step(again, 1, 2, loss=-1)
    again.train.flush()

    last = events(tmp_path, second)
    step(last, 1, 2, loss=STEPS + 2)
    end_of_epoch(last, 1)
    last.on_train_end()
    found = sorted(scalars(tmp_path / "train", "batch_loss"))
    assert found == [(number, number) for number in range(2 * STEPS)]
    assert sorted(at for at, _ in scalars(tmp_path / "validation", "epoch_loss")) == [0, 1]


def test_without_a_checkpoint_nothing_of_an_earlier_attempt_remains(tmp_path):
    killed = events(tmp_path)
    step(killed, 0, 0, loss=-1)
    killed.train.flush()
    again = events(tmp_path)
    step(again, 0, 0, loss=5)
    again.on_train_end()
    assert scalars(tmp_path / "train", "batch_loss") == [(0, 5)]
    assert len(read(tmp_path / "train").Tensors("experiment")) == 1
