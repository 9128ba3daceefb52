"""ConvNeXt in three dimensions, in a small size.

Source: Liu, Mao, Wu, Feichtenhofer, Darrell, Xie 2022, A ConvNet for the 2020s, CVPR: a stem of convolution 4³ with
stride 4; stages of blocks, and between two stages normalisation and a convolution 2³ with stride 2; mean over space,
normalisation, a linear layer. A block adds to its input: depthwise convolution, normalisation, convolution 1³ to
four times the features, GELU, convolution 1³ back, times a learnt number for each feature that begins at almost nothing
(layer scale). The widths are those of "Atto" (Woo et al. 2023, ConvNeXt V2, CVPR). With one channel and two outputs:
3,604,122 trainable parameters. Without the paper's stochastic depth.

The depthwise convolutions are of 3³, as those of MedNeXt (Roy et al. 2023, MICCAI): in three dimensions the paper's 7
along each axis are 343 products for each voxel and feature, which a CPU is very slow at.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from tfmri.errors import InputError, Problem
from tfmri.models.blocks import Activation, Count, Fraction, Layers, Norm, NotNegative, Widths, image_input

if TYPE_CHECKING:
    import keras

STEM, EXPANSION = 4, 4
Positive = Annotated[float, Field(gt=0)]


def build(
    shape: tuple[int, int, int, int],
    outputs: int,
    *,
    blocks: Widths = (2, 2, 6, 2),
    filters: Widths = (40, 80, 160, 320),
    kernel: Literal[3, 5, 7] = 3,
    layer_scale: Positive = 1e-6,
    dropout: Fraction = 0.0,
    norm: Norm = "layer",
    groups: Count = 8,
    l2: NotNegative = 0.0,
    synchronized: bool = False,
    momentum: Fraction = 0.9,
    epsilon: float = 1e-6,
    activation: Activation = "gelu",
    initial_bias: Sequence[float] | None = None,
) -> "keras.Model":
    """ConvNeXt for images of `shape`.

    Args:
        shape: (x, y, z, channel). The stem quarters the axes, every stage after the first halves them.
        outputs: length of the linear output.
        blocks: number of blocks of each stage.
        filters: features of each stage.
        kernel: voxels along each axis of the depthwise convolutions; 7 in the paper.
        layer_scale: what the learnt factors begin at.
        dropout: share of the features dropped before the output.
        norm, groups, l2, synchronized, momentum, epsilon, activation: see `tfmri.models.blocks.Layers`. After the mean
            it is always `layer`.
        initial_bias: (outputs,) bias of the output to start from.

    Raises:
        InputError: not as many `blocks` as `filters`, or an axis of fewer voxels than one of the last features covers.
    """
    import keras

    if len(blocks) != len(filters):
        found = f"{len(blocks)} stages, and model.filters {len(filters)}"
        raise InputError(Problem("model.blocks", found, "the same number of both"))
    layers = Layers(norm, groups, l2, synchronized, momentum, epsilon, activation)
    image = image_input(shape, STEM * 2 ** (len(filters) - 1), "convnext")
    x = layers.convolution(image, filters[0], STEM, "stem", STEM, bias=True)
    x = layers.normalise(x, "stem")
    for stage, (count, width) in enumerate(zip(blocks, filters, strict=True), start=1):
        if stage > 1:
            x = layers.normalise(x, f"down{stage}")
            x = layers.convolution(x, width, 2, f"down{stage}", 2, bias=True)
        for number in range(1, count + 1):
            x = _block(layers, x, kernel, layer_scale, f"stage{stage}_block{number}")
    x = keras.layers.GlobalAveragePooling3D(dtype="float32", name="mean")(x)
    x = keras.layers.LayerNormalization(epsilon=epsilon, dtype="float32", name="mean_normalised")(x)
    return keras.Model(image, layers.linear(x, outputs, dropout, initial_bias), name="convnext")


def _block(layers: Layers, x: Any, kernel: int, layer_scale: float, name: str) -> Any:
    import keras

    *space, width = x.shape[1:]
    new = layers.convolution(x, width, kernel, f"{name}_depthwise", bias=True, groups=width)
    new = layers.normalise(new, name)
    new = layers.convolution(new, EXPANSION * width, 1, f"{name}_1", bias=True)
    new = layers.convolution(layers.bend(new, name), width, 1, f"{name}_2", bias=True)
    scale = keras.layers.EinsumDense(  # Keras' own layer for one weight to each feature
        "bxyzc,c->bxyzc",
        (*space, width),
        kernel_initializer=keras.initializers.Constant(layer_scale),
        name=f"{name}_scale",
    )
    return keras.layers.Add(name=f"{name}_add")([x, scale(new)])
