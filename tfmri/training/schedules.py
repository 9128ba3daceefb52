"""Optimizers and the course of their learning rate."""

import keras


def learning_rate(
    name: str, highest: float, steps: int, warmup_steps: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate of every step: a linear rise over the warm-up, then a half cosine to zero, or constant.

    Args:
        name: `cosine` or `constant`.
        highest: the rate at the end of the warm-up.
        steps: of the whole training.
        warmup_steps: may be 0.

    Source: Loshchilov & Hutter 2017, SGDR, equation 5, without restarts.
    """
    warmup_steps = min(warmup_steps, steps - 1)
    after = max(steps - warmup_steps, 1)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup_steps else highest,
        decay_steps=after,
        alpha=0.0 if name == "cosine" else 1.0,
        warmup_target=highest if warmup_steps else None,
        warmup_steps=warmup_steps,
    )


def make_optimizer(name: str, rate, weight_decay: float, momentum: float, variables) -> keras.optimizers.Optimizer:
    """An optimizer built for `variables`; biases and normalisation are left out of the weight decay.

    Args:
        name: `adam`, `adamw` or `sgd`. Plain `adam` knows no weight decay.
        rate: a schedule.
        weight_decay: decoupled (Loshchilov & Hutter 2019).
        momentum: of `sgd`.
        variables: the model's trainable ones.
    """
    decay = weight_decay or None
    match name:
        case "adam":
            optimizer = keras.optimizers.Adam(rate)
        case "adamw":
            optimizer = keras.optimizers.AdamW(rate, weight_decay=weight_decay)
        case "sgd":
            optimizer = keras.optimizers.SGD(rate, momentum=momentum, nesterov=True, weight_decay=decay)
    undecayed = [variable for variable in variables if variable.name in ("bias", "gamma", "beta")]
    if optimizer.weight_decay and undecayed:
        optimizer.exclude_from_weight_decay(var_list=undecayed)
    optimizer.build(variables)
    return optimizer
