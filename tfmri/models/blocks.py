"""What the architectures share: the check of the input's shape, batch normalisation, and the head.

Input is `image`, (batch, x, y, z, channel); output is linear, (batch, outputs), float32 whatever the precision policy.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from tfmri.errors import InputError, Problem

if TYPE_CHECKING:
    import keras

Fraction = Annotated[float, Field(ge=0, lt=1)]
Widths = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]


def image_input(shape: Sequence[int], smallest: int, model: str) -> "keras.KerasTensor":
    """The model's input, named `image`.

    Args:
        shape: (x, y, z, channel).
        smallest: the fewest voxels along an axis that the model's pooling leaves anything of.
        model: its name, for the message.

    Raises:
        InputError: fewer voxels than `smallest` along an axis.
    """
    import keras

    if min(shape[:3]) < smallest:
        found = f"{list(shape[:3])} is too small for the model '{model}', whose pooling would leave nothing"
        advice = "Take a finer image.spacing with a larger image.shape, or a model with fewer stages (model.filters)."
        raise InputError(Problem("image.shape", found, f"at least {[smallest] * 3}", advice))
    return keras.Input(tuple(shape), name="image")


def batch_norm(x: Any, synchronized: bool, momentum: float, epsilon: float, name: str) -> Any:
    """Batch normalisation over all axes but the last. `momentum` is the share of the old running average kept."""
    import keras

    return keras.layers.BatchNormalization(
        synchronized=synchronized, momentum=momentum, epsilon=epsilon, name=f"{name}_norm"
    )(x)


def head(x: Any, outputs: int, dropout: float, initial_bias: Sequence[float] | None) -> Any:
    """Mean over space, dropout, a linear layer: (batch, x, y, z, features) to (batch, outputs) float32.

    Args:
        x: the last feature maps.
        outputs: length of the output.
        dropout: share of the features dropped while training.
        initial_bias: (outputs,) the output's bias to start from, zeros where None.
    """
    import keras

    x = keras.layers.GlobalAveragePooling3D(dtype="float32", name="mean")(x)
    x = keras.layers.Dropout(dropout, dtype="float32", name="dropout")(x)
    linear = keras.layers.Dense(outputs, dtype="float32", name="head")
    x = linear(x)
    if initial_bias is not None:
        linear.bias.assign([float(value) for value in initial_bias])
    return x
