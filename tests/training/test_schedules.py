"""Schedules against Keras' own on the same series, and against published courses."""

import itertools
import math
import random

import keras
import numpy as np
import pytest

from tfmri.errors import InputError
from tfmri.training.schedules import SCHEDULES, Course, better, check_schedule, epochs_without_gain, make_schedule

NAN = math.nan


def schedule(name, options=None, epochs=20, steps=7, monitor="validation_loss"):
    return make_schedule(name, options or {}, Course(epochs, steps, monitor))


def history_of(values, monitor="validation_loss"):
    return [{monitor: value} for value in values]


def series(seed, epochs=40):
    """Noisy values on a falling course, some exactly as before."""
    draws = random.Random(seed)
    return [round(1 / (1 + epoch / 5) + draws.uniform(0, 0.3), 1) for epoch in range(epochs)]


class WithRate:
    """What Keras' callbacks need of a model: a rate, and whether to stop."""

    def __init__(self, rate):
        self.optimizer = keras.optimizers.SGD(rate)
        self.stop_training = False


@pytest.mark.parametrize(("warmup", "lowest"), [(0, 0.0), (1, 0.0), (2.5, 0.1)])
def test_cosine_is_that_of_keras_with_its_linear_rise(warmup, lowest):
    epochs, steps = 20, 7
    rise = round(warmup * steps)
    theirs = keras.optimizers.schedules.CosineDecay(
        0.0 if rise else 1.0, epochs * steps - rise, lowest, warmup_target=1.0 if rise else None, warmup_steps=rise
    )
    ours = schedule("cosine", {"warmup_epochs": warmup, "lowest": lowest}, epochs, steps)
    found = [ours(step, ()) for step in range(epochs * steps)]
    np.testing.assert_allclose(found, [float(theirs(step)) for step in range(epochs * steps)], atol=2e-6)
    assert max(found) == 1 and found[-1] < lowest + 0.001


def test_a_cosine_shorter_than_its_rise_still_ends_at_the_full_rate():
    for epochs, steps in itertools.product((1, 2), (1, 2, 5)):
        found = [schedule("cosine", {"warmup_epochs": 5}, epochs, steps)(step, ()) for step in range(epochs * steps)]
        assert found[-1] == 1 and found == sorted(found)


def test_sfcn_is_trained_with_three_tenths_of_the_rate_after_every_30_epochs():
    """Peng et al. 2021: SGD at 0.01, times 0.3 every 30 epochs, 130 epochs."""
    found = schedule("step", epochs=130, steps=4)
    rates = {epoch: 0.01 * found(4 * epoch + 3, ()) for epoch in (0, 29, 30, 59, 60, 90, 120, 129)}
    assert rates == pytest.approx(
        {0: 1e-2, 29: 1e-2, 30: 3e-3, 59: 3e-3, 60: 9e-4, 90: 2.7e-4, 120: 8.1e-5, 129: 8.1e-5}
    )
    assert found(30 * 4 - 1, ()) == 1 and found(30 * 4, ()) == pytest.approx(0.3)  # at the first step of epoch 31


@pytest.mark.parametrize("name", ["constant", "step", "plateau"])
def test_every_schedule_can_rise_linearly(name):
    found = [schedule(name, {"warmup_epochs": 2}, steps=4)(step, ()) for step in range(12)]
    assert found == pytest.approx([step / 8 for step in range(8)] + [1] * 4)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("patience", "lowest"), [(1, 0.0), (2, 0.001), (4, 0.2)])
def test_plateau_lowers_the_rate_when_keras_does(seed, patience, lowest):
    """Keras' callback with min_delta 0: any better value counts here. Its min_lr is a rate, `lowest` a share of it."""
    values, model = series(seed), WithRate(1.0)
    theirs = keras.callbacks.ReduceLROnPlateau("validation_loss", 0.3, patience, 0, "min", min_delta=0, min_lr=lowest)
    theirs.set_model(model)
    theirs.on_train_begin()
    ours = schedule("plateau", {"patience": patience, "lowest": lowest}, epochs=len(values))
    rates = []
    for epoch, value in enumerate(values):
        theirs.on_epoch_end(epoch, {"validation_loss": value})
        rates.append(float(model.optimizer.learning_rate.numpy()))
        assert ours(0, history_of(values[: epoch + 1])) == pytest.approx(rates[-1], rel=1e-5)
    assert len(set(rates)) > 1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("patience", [1, 2, 5])
@pytest.mark.parametrize(("monitor", "sign"), [("validation_loss", 1), ("validation_balanced_accuracy", -1)])
def test_training_stops_early_in_the_epoch_in_which_keras_stops(seed, patience, monitor, sign):
    values, model = [sign * value for value in series(seed)] + [sign * 9.0] * patience, WithRate(1.0)
    theirs = keras.callbacks.EarlyStopping(monitor, 0, patience, mode="min" if sign == 1 else "max")
    theirs.set_model(model)
    theirs.on_train_begin()
    for epoch, value in enumerate(values):
        theirs.on_epoch_end(epoch, {monitor: value})
        stops = epochs_without_gain(history_of(values[: epoch + 1], monitor), monitor) >= patience
        assert stops == model.stop_training
        if stops:
            return
    pytest.fail("Keras never stopped")


def test_a_value_that_is_no_number_is_never_better_and_hides_no_later_one():
    assert not better(NAN, None, "validation_loss") and not better(NAN, 1.0, "validation_loss")
    assert better(1.0, None, "validation_loss")
    assert epochs_without_gain(history_of([NAN, 2.0, NAN, 1.0, NAN, NAN]), "validation_loss") == 2
    assert epochs_without_gain(history_of([NAN, NAN]), "validation_loss") == 2
    rate = schedule("plateau", {"patience": 2, "factor": 0.5})
    assert [rate(0, history_of([1.0, NAN, NAN, 0.5, NAN][:count])) for count in range(6)] == [1, 1, 1, 0.5, 0.5, 0.5]


def test_losses_and_errors_are_better_lower_and_other_metrics_higher():
    for name in ("loss", "mae", "rmse"):
        assert better(1.0, 2.0, f"validation_{name}") and not better(2.0, 1.0, f"validation_{name}")
    for name in ("accuracy", "balanced_accuracy"):
        assert better(0.9, 0.8, f"validation_{name}") and not better(0.8, 0.9, f"validation_{name}")
    assert not better(1.0, 1.0, "validation_loss") and not better(1.0, 1.0, "validation_accuracy")


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_is_a_share_of_the_rate_whatever_is_asked_first(name):
    rate, past = schedule(name), history_of(series(0, 20))
    forwards = [rate(step, past[: step // 7]) for step in range(140)]
    backwards = [rate(step, past[: step // 7]) for step in reversed(range(140))][::-1]
    assert forwards == backwards and all(0 <= share <= 1 for share in forwards)


def test_wrong_options_are_named():
    for name, option, value in (
        ("cosine", "warmup_epochs", -1),
        ("step", "factor", 1.5),
        ("plateau", "patience", 0),
        ("constant", "speed", 1),
    ):
        with pytest.raises(InputError, match=f"training.schedule.{option}"):
            check_schedule(name, {option: value})
    with pytest.raises(InputError, match="cosine"):
        check_schedule("cosin", {})
