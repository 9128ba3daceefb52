"""The brain-age network of Cole and others, the first 3D CNN for it.

Source: Cole, Poudel, Tsagkrasoulis, Caan, Steves, Spector, Montana 2017, Predicting brain age with deep learning from
raw imaging data results in a reliable and heritable biomarker, NeuroImage 163, 115-124: five blocks of convolution
3³, ReLU, convolution 3³, batch normalisation, ReLU, max pooling 2; from 8 features on, twice as many in each; a linear
layer of all that is left, place by place. So its number of parameters depends on the shape: with one output 903,169 for
the paper's 182 x 218 x 182 voxels. The second convolution has no bias here, for its normalisation has one.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfmri.models.blocks import Activation, Count, Fraction, Layers, Norm, NotNegative, Widths, image_input

if TYPE_CHECKING:
    import keras


def build(
    shape: tuple[int, int, int, int],
    outputs: int,
    *,
    filters: Widths = (8, 16, 32, 64, 128),
    dropout: Fraction = 0.0,
    norm: Norm = "batch",
    groups: Count = 8,
    l2: NotNegative = 0.0,
    synchronized: bool = False,
    momentum: Fraction = 0.9,
    epsilon: float = 1e-5,
    activation: Activation = "relu",
    initial_bias: Sequence[float] | None = None,
) -> "keras.Model":
    """The network of Cole et al. for images of `shape`.

    Args:
        shape: (x, y, z, channel). Every block halves the three axes.
        outputs: length of the linear output.
        filters: of each block.
        dropout: share of the features dropped before the output.
        norm, groups, l2, synchronized, momentum, epsilon, activation: see `tfmri.models.blocks.Layers`.
        initial_bias: (outputs,) bias of the output to start from.

    Raises:
        InputError: an axis that the pooling leaves nothing of.
    """
    import keras

    layers = Layers(norm, groups, l2, synchronized, momentum, epsilon, activation)
    image = image_input(shape, 2 ** len(filters), "cole")
    x = image
    for number, width in enumerate(filters, start=1):
        name = f"block{number}"
        x = layers.bend(layers.convolution(x, width, 3, f"{name}_1", bias=True), f"{name}_1")
        x = layers.activate(layers.convolution(x, width, 3, f"{name}_2"), f"{name}_2")
        x = keras.layers.MaxPooling3D(2, name=f"{name}_pool")(x)
    x = keras.layers.Flatten(dtype="float32", name="flat")(x)
    return keras.Model(image, layers.linear(x, outputs, dropout, initial_bias), name="cole")
