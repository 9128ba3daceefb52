"""TensorBoard's files as its own reader sees them, also after a training was killed and went on."""

import math
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

STEPS = 3
TEXTS = {"experiment": "    seed: 0\n"}
SETTINGS = {"model": "sfcn", "optimizer.learning_rate": 0.001, "batch_size": 8, "balanced": False}


def events(folder: Path, state=None, profile_steps=None):
    from tfmri.training.callbacks.events import Events

    inputs = np.full((8, 12), 7, np.uint8)
    drawn = {"inputs": lambda epoch: inputs, "predicted": lambda rows, outputs: outputs}
    named = {"texts": TEXTS, "name": "age_reg/trial/whole", "settings": SETTINGS, "monitor": "validation_loss"}
    callback = Events(folder, STEPS, **drawn, **named, profile_steps=profile_steps)
    if state is not None:
        callback.set_state(state)
    callback.on_train_begin()
    return callback


def step(callback, epoch: int, number: int, loss: float) -> None:
    if number == 0:
        callback.on_epoch_begin(epoch)
    callback.epoch = epoch
    callback.on_train_batch_begin(number)
    callback.on_train_batch_end(number, {"loss": loss, "gradient_norm": 1.0, "learning_rate": 0.1})


def end_of_epoch(callback, epoch: int, validation_loss: float = 2.0) -> None:
    callback.on_validation(np.arange(2), np.full((6, 6, 3), 200, np.uint8))
    row = {"epoch": epoch + 1, "step": STEPS, "learning_rate": 0.1, "loss": 1.0, "mae": 4.0, "validation_mae": 5.0}
    row |= {"validation_loss": validation_loss, "seconds": 1.0, "waiting": 0.01, "volumes_per_second": 9}
    callback.on_epoch_end(epoch, row)


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
    assert scalars(tmp_path / "train", "batch_loss") == [(1, 0), (2, 1), (3, 2), (4, 10), (5, 11), (6, 12)]
    assert scalars(tmp_path / "train", "epoch_loss") == [(0, 1), (1, 1)]
    assert scalars(tmp_path / "validation", "epoch_loss") == [(0, 2), (1, 2)]
    assert scalars(tmp_path / "validation", "epoch_mae") == [(0, 5), (1, 5)]
    train = read(tmp_path / "train").Tags()["tensors"]
    for name in ("learning_rate", "volumes_per_second", "waiting_for_data", "memory_gib", "mae"):
        assert f"epoch_{name}" in train
    assert {"batch_gradient_norm", "batch_learning_rate", "augmented inputs", "validation", "experiment"} <= {*train}
    pictures = [each.step for each in read(tmp_path / "train").Tensors("validation")]
    assert pictures[0] == 0 and pictures[-1] == 1, "the first and the last epoch are drawn, however quick they are"


def test_what_validation_gave_in_the_best_epoch_stands_beside_the_settings(tmp_path):
    callback = events(tmp_path)
    for epoch, loss in enumerate([math.nan, 3.0, 1.0]):
        end_of_epoch(callback, epoch, loss)
    again = events(tmp_path, callback.get_state())
    end_of_epoch(again, 3, 2.0)
    again.on_train_end()
    assert sorted(scalars(tmp_path, "best_validation_loss")) == [(1, 3), (2, 1), (3, 1)]
    assert sorted(scalars(tmp_path, "best_validation_mae")) == [(1, 5), (2, 5), (3, 5)]


def test_the_profiler_records_the_chosen_steps_and_never_one_that_is_compiled(tmp_path, monkeypatch):
    import tensorflow as tf

    seen = []
    monkeypatch.setattr(tf.profiler.experimental, "start", lambda folder: seen.append("start"))
    monkeypatch.setattr(tf.profiler.experimental, "stop", lambda: seen.append("stop"))

    def course(chosen, first=0) -> str:
        callback = events(tmp_path, profile_steps=chosen)
        for number in range(first, 2 * STEPS):
            seen.append(number + 1)
            step(callback, number // STEPS, number % STEPS, loss=0.0)
        callback.on_train_end()
        said = " ".join(map(str, seen))
        seen.clear()
        return said

    assert course((3, 5)) == "1 2 3 start 4 5 stop 6"
    assert course((1, 1)) == "1 2 start stop 3 4 5 6"
    assert course((6, 9)) == "1 2 3 4 5 6 start stop", "the training ends before the last of them"
    assert course((2, 4), first=2) == "3 4 start stop 5 6", "gone on in the midst of them"
    assert course((2, 3), first=3) == "4 5 6", "gone on past them"


def test_runs_can_be_compared_by_their_settings(tmp_path):
    from tensorboard.plugins.hparams import metadata

    events(tmp_path).on_train_end()
    written = read(tmp_path).summary_metadata["_hparams_/session_start_info"].plugin_data.content
    start = metadata.parse_session_start_info_plugin_data(written)
    found, name = start.hparams, start.group_name
    assert found["model"].string_value == "sfcn"
    assert math.isclose(found["optimizer.learning_rate"].number_value, 0.001)
    assert found["batch_size"].number_value == 8 and name == "age_reg/trial/whole"


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
    assert found == [(number + 1, number) for number in range(2 * STEPS)]
    assert sorted(at for at, _ in scalars(tmp_path / "validation", "epoch_loss")) == [0, 1]


def test_without_a_checkpoint_nothing_of_an_earlier_attempt_remains(tmp_path):
    killed = events(tmp_path)
    step(killed, 0, 0, loss=-1)
    killed.train.flush()
    again = events(tmp_path)
    step(again, 0, 0, loss=5)
    again.on_train_end()
    assert scalars(tmp_path / "train", "batch_loss") == [(1, 5)]
    assert len(read(tmp_path / "train").Tensors("experiment")) == 1
