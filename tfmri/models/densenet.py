"""DenseNet-121 and -169 in three dimensions.

Source: Huang, Liu, van der Maaten, Weinberger 2017, Densely connected convolutional networks, CVPR (DenseNet-BC). Stem;
blocks of layers, each of which adds `growth` features to all that came before it in its block: normalisation, ReLU,
convolution 1³, normalisation, ReLU, convolution 3³; transitions between blocks compress the features with a convolution
1³ and halve the axes by mean pooling. With one channel and two outputs: 11,244,674 and
18,546,050 trainable parameters.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from tfmri.models.blocks import Activation, Count, Fraction, Layers, Norm, NotNegative, Widths, image_input

if TYPE_CHECKING:
    import keras

Compression = Annotated[float, Field(gt=0, le=1)]


def build(
    shape: tuple[int, int, int, int],
    outputs: int,
    *,
    blocks: Widths = (6, 12, 24, 16),
    growth: Count = 32,
    bottleneck: Count = 4,
    compression: Compression = 0.5,
    stem_filters: Count = 64,
    stem_stride: Literal[1, 2] = 2,
    stem_pool: bool = True,
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
    """DenseNet for images of `shape`; with the default blocks the one of 121 layers.

    Args:
        shape: (x, y, z, channel).
        outputs: length of the linear output.
        blocks: number of layers of each.
        growth: features that each layer adds.
        bottleneck: the convolution 1³ of a layer gives so many times `growth` features.
        compression: share of the features that a transition keeps.
        stem_filters: features of the first convolution.
        stem_stride: of the first convolution. The transitions together scale down by 8, the stem by up to 4 more: small
            images may want 1 here, or no `stem_pool`, for features of more than some voxels, at 8 times the work each.
        stem_pool: max pooling by two after the first convolution.
        dropout: share of the features dropped before the output.
        norm, groups, l2, synchronized, momentum, epsilon, activation: see `tfmri.models.blocks.Layers`.
        initial_bias: (outputs,) bias of the output to start from.

    Raises:
        InputError: an axis of fewer voxels than one of the last features covers.
    """
    import keras

    layers = Layers(norm, groups, l2, synchronized, momentum, epsilon, activation)
    depth = 2 * sum(blocks) + len(blocks) + 1  # convolutions, and the linear layer
    image = image_input(shape, stem_stride * (2 if stem_pool else 1) * 2 ** (len(blocks) - 1), f"densenet{depth}")
    x = layers.stem(image, stem_filters, stem_stride, stem_pool)
    for block, count in enumerate(blocks, start=1):
        if block > 1:
            name = f"transition{block - 1}"
            x = layers.convolution(layers.activate(x, name), max(1, int(x.shape[-1] * compression)), 1, name)
            x = keras.layers.AveragePooling3D(2, name=f"{name}_pool")(x)
        for number in range(1, count + 1):
            name = f"block{block}_layer{number}"
            new = layers.convolution(layers.activate(x, f"{name}_1"), bottleneck * growth, 1, f"{name}_1")
            new = layers.convolution(layers.activate(new, f"{name}_2"), growth, 3, f"{name}_2")
            x = keras.layers.Concatenate(name=f"{name}_concat")([x, new])
    x = layers.activate(x, "last")
    return keras.Model(image, layers.head(x, outputs, dropout, initial_bias), name=f"densenet{depth}")


densenet169 = partial(build, blocks=(6, 12, 32, 32))
