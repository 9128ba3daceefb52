"""The optimizers, each a function from its options, Keras' own arguments, to the optimizer; imported when used.

Weight decay is decoupled (Loshchilov & Hutter 2019): weights shrink by learning rate x decay at every step, the loss
does not know of it. Biases and normalisation are left out. A penalty in the loss is the models' option `l2`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from tfmri.options import check_options, load_named

if TYPE_CHECKING:
    import keras

OPTIMIZERS = {name: f"tfmri.training.optimizers:{name}" for name in ("sgd", "adam", "adamw", "lion")}
NOT_DECAYED = ("bias", "gamma", "beta")

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


def sgd(
    *,
    learning_rate: Positive = 1e-2,
    momentum: Momentum = 0.9,
    nesterov: bool = True,
    weight_decay: NotNegative = 1e-4,
) -> "keras.optimizers.Optimizer":
    """Stochastic gradient descent with momentum (Sutskever et al. 2013)."""
    import keras

    return keras.optimizers.SGD(learning_rate, momentum, nesterov, weight_decay=weight_decay or None)


def adam(
    *,
    learning_rate: Positive = 1e-3,
    beta_1: Momentum = 0.9,
    beta_2: Momentum = 0.999,
    epsilon: Positive = 1e-7,
    amsgrad: bool = False,
) -> "keras.optimizers.Optimizer":
    """Adam (Kingma & Ba 2015), without weight decay: that is `adamw`."""
    import keras

    return keras.optimizers.Adam(learning_rate, beta_1, beta_2, epsilon, amsgrad)


def adamw(
    *,
    learning_rate: Positive = 1e-3,
    weight_decay: NotNegative = 1e-4,
    beta_1: Momentum = 0.9,
    beta_2: Momentum = 0.999,
    epsilon: Positive = 1e-7,
    amsgrad: bool = False,
) -> "keras.optimizers.Optimizer":
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""
    import keras

    return keras.optimizers.AdamW(learning_rate, weight_decay, beta_1, beta_2, epsilon, amsgrad)


def lion(
    *,
    learning_rate: Positive = 1e-4,
    weight_decay: NotNegative = 1e-3,
    beta_1: Momentum = 0.9,
    beta_2: Momentum = 0.99,
) -> "keras.optimizers.Optimizer":
    """Lion (Chen et al. 2023): the sign of the momentum; wants a rate 3 to 10 times below Adam's and more decay."""
    import keras

    return keras.optimizers.Lion(learning_rate, beta_1, beta_2, weight_decay=weight_decay or None)


def check_optimizer(name: str, options: Mapping[str, Any], where: str = "training.optimizer") -> dict[str, Any]:
    """Every option of the optimizer `name`, checked, with defaults; without importing Keras.

    Raises:
        InputError: an unknown name, or one problem for each unknown or wrong option.
    """
    return check_options(load_named(name, OPTIMIZERS, f"{where}.name"), options, where)


def make_optimizer(
    name: str, options: Mapping[str, Any], variables: Sequence, ema: float | None = None, loss_scaling: bool = False
) -> "keras.optimizers.Optimizer":
    """The optimizer `name`, built for `variables`.

    Args:
        name: a key of `OPTIMIZERS`, or 'module:function' of one's own, which returns a Keras optimizer.
        options: as `check_optimizer` takes them.
        variables: the model's trainable ones.
        ema: momentum of the running average that it keeps of them (Keras' `use_ema`); None for no average.
        loss_scaling: wraps it in dynamic loss scaling, which float16 needs.
    """
    import keras

    optimizer = load_named(name, OPTIMIZERS, "training.optimizer.name")(**check_optimizer(name, options))
    if ema is not None:
        optimizer.use_ema, optimizer.ema_momentum = True, ema
    undecayed = [variable for variable in variables if variable.name in NOT_DECAYED]
    if optimizer.weight_decay and undecayed:
        optimizer.exclude_from_weight_decay(var_list=undecayed)
    if loss_scaling:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(variables)
    return optimizer
