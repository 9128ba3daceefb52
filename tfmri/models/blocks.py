"""What the architectures share: the check of the input's shape, and their layers with the options common to all.

Input is `image`, (batch, x, y, z, channel); output is linear, (batch, outputs), float32 whatever the precision policy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from tfmri.errors import InputError, Problem

if TYPE_CHECKING:
    import keras

Fraction = Annotated[float, Field(ge=0, lt=1)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Widths = Annotated[tuple[Count, ...], Field(min_length=1)]
Norm = Literal["batch", "group", "instance", "layer"]
Activation = Literal["relu", "elu", "gelu", "silu", "leaky_relu"]


def image_input(shape: Sequence[int], smallest: int, model: str) -> "keras.KerasTensor":
    """The model's input, named `image`.

    Args:
        shape: (x, y, z, channel).
        smallest: the fewest voxels along an axis that the model can scale down as often as it does.
        model: its name, for the message.

    Raises:
        InputError: fewer voxels than `smallest` along an axis.
    """
    import keras

    if min(shape[:3]) < smallest:
        found = f"{list(shape[:3])} is too small for the model '{model}', which would scale it down to nothing"
        advice = "Take a finer image.spacing with a larger image.shape, or a model that scales down less"
        raise InputError(Problem("image.shape", found, f"at least {[smallest] * 3}", advice))
    return keras.Input(tuple(shape), name="image")


@dataclass(frozen=True)
class Layers:
    """The layers of an architecture, with the options that all architectures share.

    Args:
        norm: `batch` (Ioffe & Szegedy 2015), `group` (Wu & He 2018), `instance` (Ulyanov et al. 2016), which is `group`
            with as many groups as features, or `layer` (Ba et al. 2016) over the features of each voxel; all but
            `batch` do not look across the batch.
        groups: of `group`; has to divide the number of features of every layer.
        l2: weight of the sum of the squares of all kernels in the loss; biases and normalisation have no part in it.
        synchronized: batch statistics over all replicas.
        momentum: of `batch`: share of the old running average kept at each step; 0.9 is what PyTorch calls 0.1.
        epsilon: added to the variance.
        activation: `relu`, `leaky_relu` (0.01 x below zero), `elu` (Clevert et al. 2016), `gelu` (Hendrycks & Gimpel
            2016) or `silu` (Elfwing et al. 2018).
    """

    norm: Norm = "batch"
    groups: int = 8
    l2: float = 0.0
    synchronized: bool = False
    momentum: float = 0.9
    epsilon: float = 1e-5
    activation: Activation = "relu"

    def convolution(
        self, x: Any, width: int, kernel: int, name: str, stride: int = 1, bias: bool = False, groups: int = 1
    ) -> Any:
        """Convolution `kernel`³ to `width` features, padded with zeros to ceil(size / stride).

        Without a bias unless asked for: the normalisation that follows has one. With as many `groups` as features it is
        depthwise: each feature by itself.
        """
        import keras

        return keras.layers.Conv3D(
            width,
            kernel,
            strides=stride,
            padding="same",
            groups=groups,
            use_bias=bias,
            kernel_initializer="he_normal",
            kernel_regularizer=self._penalty(),
            name=f"{name}_conv",
        )(x)

    def normalise(self, x: Any, name: str) -> Any:
        """Normalisation with a learnt scale and shift for each feature.

        Raises:
            InputError: features that the groups do not divide, or a single value to take mean and variance of.
        """
        import keras

        if self.norm == "batch":
            options = {"synchronized": self.synchronized, "momentum": self.momentum, "epsilon": self.epsilon}
            return keras.layers.BatchNormalization(**options, name=f"{name}_norm")(x)
        if self.norm == "layer":
            return keras.layers.LayerNormalization(epsilon=self.epsilon, name=f"{name}_norm")(x)
        *space, width = x.shape[1:]
        groups = self.groups if self.norm == "group" else width
        if width % groups:
            found = f"{groups}, and {name} has {width} features"
            raise InputError(Problem("model.groups", found, "a divisor of every layer's number of features"))
        if groups == width and set(space) == {1}:
            found = f"{self.norm}, and {name} has one voxel to normalise for each group of features"
            advice = "Take a larger image.shape, or another model.norm"
            raise InputError(Problem("model.norm", found, "two values or more", advice))
        return keras.layers.GroupNormalization(groups, epsilon=self.epsilon, name=f"{name}_norm")(x)

    def bend(self, x: Any, name: str) -> Any:
        """The activation."""
        import keras

        name = f"{name}_{self.activation}"
        if self.activation == "relu":
            return keras.layers.ReLU(name=name)(x)
        if self.activation == "leaky_relu":
            return keras.layers.LeakyReLU(0.01, name=name)(x)
        return keras.layers.Activation(self.activation, name=name)(x)

    def activate(self, x: Any, name: str) -> Any:
        """Normalisation and activation."""
        return self.bend(self.normalise(x, name), name)

    def squeeze_and_excite(self, x: Any, reduction: int, name: str) -> Any:
        """Each feature times a number from 0 to 1, which two linear layers make of the means of all over space.

        Args:
            x: (batch, x, y, z, features).
            reduction: the first linear layer gives so many times fewer features than there are.
            name: beginning of the layers' names.

        Source: Hu, Shen, Sun 2018, Squeeze-and-excitation networks, CVPR, equations 2 to 4; with biases, as their code.
        """
        import keras

        width = x.shape[-1]
        scale = keras.layers.GlobalAveragePooling3D(keepdims=True, name=f"{name}_squeeze")(x)
        for number, (features, bent) in enumerate([(max(1, width // reduction), "relu"), (width, "sigmoid")], start=1):
            linear = keras.layers.Dense(
                features, bent, kernel_regularizer=self._penalty(), name=f"{name}_excite{number}"
            )
            scale = linear(scale)
        return keras.layers.Multiply(name=f"{name}_scale")([x, scale])

    def stem(self, x: Any, width: int, stride: int, pool: bool) -> Any:
        """The beginning of ResNet and DenseNet: convolution 7³, normalisation, activation, max pooling 3³ by two."""
        import keras

        x = self.activate(self.convolution(x, width, 7, "stem", stride), "stem")
        return keras.layers.MaxPooling3D(3, strides=2, padding="same", name="stem_pool")(x) if pool else x

    def head(self, x: Any, outputs: int, dropout: float, initial_bias: Sequence[float] | None) -> Any:
        """Mean over space, dropout, a linear layer: (batch, x, y, z, features) to (batch, outputs) float32.

        Args:
            x: the last feature maps.
            outputs: length of the output.
            dropout: share of the features dropped while training.
            initial_bias: (outputs,) the output's bias to start from, zeros where None.
        """
        import keras

        x = keras.layers.GlobalAveragePooling3D(dtype="float32", name="mean")(x)
        return self.linear(x, outputs, dropout, initial_bias)

    def linear(self, x: Any, outputs: int, dropout: float, initial_bias: Sequence[float] | None) -> Any:
        """Dropout and a linear layer: (batch, features) to (batch, outputs) float32; arguments as those of `head`."""
        import keras

        x = keras.layers.Dropout(dropout, dtype="float32", name="dropout")(x)
        linear = keras.layers.Dense(outputs, kernel_regularizer=self._penalty(), dtype="float32", name="head")
        x = linear(x)
        if initial_bias is not None:
            linear.bias.assign([float(value) for value in initial_bias])
        return x

    def _penalty(self) -> Any:
        import keras

        return keras.regularizers.L2(self.l2) if self.l2 else None
