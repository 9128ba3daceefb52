"""Every optimizer's steps against its paper's formulas in NumPy float64."""

import keras
import numpy as np
import pytest

from tfmri.errors import InputError
from tfmri.training.optimizers import OPTIMIZERS, check_optimizer, make_optimizer

RATES = (0.1, 0.04, 0.2)  # as a schedule changes them from step to step
RANDOM = np.random.default_rng(0)
START = RANDOM.normal(size=(4, 3))
GRADIENTS = RANDOM.normal(size=(len(RATES), 4, 3))


def steps_of(name, options, variable_name="kernel", rates=RATES, **more):
    """The variable after each step, and the optimizer."""
    variable = keras.Variable(START.astype(np.float32), name=variable_name)
    optimizer = make_optimizer(name, options, [variable], **more)
    found = []
    for rate, gradient in zip(rates, GRADIENTS, strict=True):
        optimizer.learning_rate.assign(rate)
        optimizer.apply([keras.ops.convert_to_tensor(gradient.astype(np.float32))], [variable])
        found.append(variable.numpy())
    return np.array(found), optimizer


def sgd(momentum, nesterov, decay):
    """Sutskever et al. 2013, equations 3 and 4, with the rate inside the velocity as Keras has it."""
    weights, velocity = START.copy(), 0.0
    for rate, gradient in zip(RATES, GRADIENTS, strict=True):
        weights = weights - rate * decay * weights
        velocity = momentum * velocity - rate * gradient
        weights = weights + (momentum * velocity - rate * gradient if nesterov else velocity)
        yield weights


def adam(beta_1, beta_2, epsilon, decay, amsgrad=False):
    """Kingma & Ba 2015, end of section 2 (epsilon beside the uncorrected root); decay: Loshchilov & Hutter 2019."""
    weights, first, second, largest = START.copy(), 0.0, 0.0, 0.0
    for index, (rate, gradient) in enumerate(zip(RATES, GRADIENTS, strict=True), 1):
        weights = weights - rate * decay * weights
        first = beta_1 * first + (1 - beta_1) * gradient
        second = beta_2 * second + (1 - beta_2) * gradient**2
        largest = np.maximum(largest, second)
        corrected = rate * np.sqrt(1 - beta_2**index) / (1 - beta_1**index)
        weights = weights - corrected * first / (np.sqrt(largest if amsgrad else second) + epsilon)
        yield weights


def lion(beta_1, beta_2, decay):
    """Chen et al. 2023, algorithm 2."""
    weights, momentum = START.copy(), 0.0
    for rate, gradient in zip(RATES, GRADIENTS, strict=True):
        update = np.sign(beta_1 * momentum + (1 - beta_1) * gradient)
        weights = weights - rate * (update + decay * weights)
        momentum = beta_2 * momentum + (1 - beta_2) * gradient
        yield weights


@pytest.mark.parametrize(
    ("name", "options", "formula"),
    [
        ("sgd", {}, sgd(0.9, True, 1e-4)),
        ("sgd", {"momentum": 0.5, "nesterov": False, "weight_decay": 0.3}, sgd(0.5, False, 0.3)),
        ("sgd", {"momentum": 0.0, "weight_decay": 0.0}, sgd(0.0, False, 0.0)),
        ("adam", {}, adam(0.9, 0.999, 1e-7, 0.0)),
        ("adam", {"beta_1": 0.3, "beta_2": 0.5, "epsilon": 0.01}, adam(0.3, 0.5, 0.01, 0.0)),
        ("adamw", {}, adam(0.9, 0.999, 1e-7, 1e-4)),
        ("adamw", {"weight_decay": 0.3, "beta_2": 0.5, "amsgrad": True}, adam(0.9, 0.5, 1e-7, 0.3, amsgrad=True)),
        ("lion", {}, lion(0.9, 0.99, 1e-3)),
        ("lion", {"beta_1": 0.2, "beta_2": 0.4, "weight_decay": 0.3}, lion(0.2, 0.4, 0.3)),
    ],
)
def test_steps_are_those_of_the_paper(name, options, formula):
    found, _ = steps_of(name, options)
    np.testing.assert_allclose(found, np.array(list(formula)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "adamw", "lion"])
@pytest.mark.parametrize("scaling", [False, True])
def test_weight_decay_shrinks_kernels_and_neither_biases_nor_normalisation(name, scaling):
    """With gradients of zero a step is decay alone: each weight times 1 - rate x decay."""
    model = keras.Sequential(
        [
            keras.Input((4, 4, 4, 1)),
            keras.layers.Conv3D(2, 3),
            keras.layers.BatchNormalization(),
            keras.layers.GroupNormalization(2),
            keras.layers.LayerNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dense(2),
        ]
    )
    for variable in model.trainable_variables:
        variable.assign(keras.ops.ones(variable.shape) * 3)
    optimizer = make_optimizer(name, {"weight_decay": 0.5}, model.trainable_variables, loss_scaling=scaling)
    optimizer.learning_rate.assign(0.1)
    optimizer.apply([keras.ops.zeros(each.shape) for each in model.trainable_variables], model.trainable_variables)
    after = {each.path: np.unique(each.numpy()).tolist() for each in model.trainable_variables}
    assert len(after) == 10
    for path, values in after.items():
        assert values == [pytest.approx(3 * 0.95 if path.endswith("kernel") else 3, rel=1e-6)], path


def test_adam_leaves_weights_alone_where_the_gradient_is_zero():
    variable = keras.Variable(np.full(3, 2.0, np.float32), name="kernel")
    make_optimizer("adam", {}, [variable]).apply([keras.ops.zeros(3)], [variable])
    assert variable.numpy().tolist() == [2, 2, 2]


def test_the_running_average_is_that_of_the_weights_after_each_step():
    found, optimizer = steps_of("sgd", {}, ema=0.8)
    average = found[0]
    for weights in found[1:]:
        average = 0.8 * average + 0.2 * weights
    variable = optimizer._trainable_variables[0]
    optimizer.finalize_variable_values([variable])
    np.testing.assert_allclose(variable.numpy(), average, rtol=1e-6)


def test_loss_scaling_passes_over_a_step_that_overflowed_and_halves_the_scale():
    variable = keras.Variable(np.ones(2, np.float32), name="kernel")
    optimizer = make_optimizer("sgd", {"weight_decay": 0.5}, [variable], loss_scaling=True)
    scale = float(optimizer.dynamic_scale.numpy())
    optimizer.apply([keras.ops.convert_to_tensor(np.array([np.inf, 1], np.float32))], [variable])
    assert variable.numpy().tolist() == [1, 1] and float(optimizer.dynamic_scale.numpy()) == scale / 2


def test_every_option_is_checked_before_keras_is_imported():
    for name in OPTIMIZERS:
        assert check_optimizer(name, {})["learning_rate"] > 0
        for wrong in ({"learning_rate": 0}, {"learning_rate": -1e-3}, {"learning_rate": float("nan")}, {"speed": 1}):
            with pytest.raises(InputError, match=f"training.optimizer.{next(iter(wrong))}"):
                check_optimizer(name, wrong)
    with pytest.raises(InputError, match="adamw"):
        check_optimizer("adanw", {})
