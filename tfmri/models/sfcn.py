"""SFCN, the Simple Fully Convolutional Network of brain age.

Source: Peng, Gong, Beckmann, Vedaldi, Smith 2021, Medical Image Analysis 68, 101871. Blocks of convolution 3³, batch
normalisation, max pooling 2, ReLU; one block of convolution 1³ without pooling; mean over what is left; dropout; a
linear map (the paper's convolution 1³ of one remaining voxel). With 40 outputs: 2,952,936 trainable parameters.

`sfcn_sex` has the widths of their model of sex: with two outputs 2,918,144 trainable parameters.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from tfmri.models.blocks import Activation, Count, Fraction, Layers, Norm, NotNegative, Widths, image_input

if TYPE_CHECKING:
    import keras


def build(
    shape: tuple[int, int, int, int],
    outputs: int,
    *,
    filters: Widths = (32, 64, 128, 256, 256, 64),
    dropout: Fraction = 0.5,
    norm: Norm = "batch",
    groups: Count = 8,
    l2: NotNegative = 0.0,
    synchronized: bool = False,
    momentum: Fraction = 0.9,
    epsilon: float = 1e-5,
    activation: Activation = "relu",
    initial_bias: Sequence[float] | None = None,
) -> "keras.Model":
    """SFCN for images of `shape`.

    Args:
        shape: (x, y, z, channel). Every block but the last halves the three axes.
        outputs: length of the linear output: bins of age (40 in the paper), classes, or 1.
        filters: of each block; the last is the one without pooling.
        dropout: share of the features dropped before the output.
        norm, groups, l2, synchronized, momentum, epsilon, activation: see `tfmri.models.blocks.Layers`. An epsilon of
            1e-5 is PyTorch's, for which the published weights were made.
        initial_bias: (outputs,) bias of the output to start from.

    Raises:
        InputError: an axis that the pooling leaves nothing of.
    """
    import keras

    layers = Layers(norm, groups, l2, synchronized, momentum, epsilon, activation)
    image = image_input(shape, 2 ** (len(filters) - 1), "sfcn")
    x = image
    for number, width in enumerate(filters, start=1):
        pooled = number < len(filters)
        name = f"block{number}"
        x = layers.convolution(x, width, 3 if pooled else 1, name, bias=True)
        x = layers.normalise(x, name)
        if pooled:
            x = keras.layers.MaxPooling3D(2, name=f"{name}_pool")(x)
        x = layers.bend(x, name)
    return keras.Model(image, layers.head(x, outputs, dropout, initial_bias), name="sfcn")


sfcn_sex = partial(build, filters=(28, 58, 128, 256, 256, 64))
