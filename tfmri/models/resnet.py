"""ResNet-10, -18, -34 and -50 in three dimensions.

Source: He, Zhang, Ren, Sun 2016, Deep residual learning for image recognition, CVPR: stem, four stages of residual
units, the first of which halves the axes in all stages but the first; projections (1³) where a unit changes the shape
(the paper's option B). ResNet-50 has bottlenecks 1³, 3³, 1³, its stride in the middle one as torchvision's. ResNet-10,
one unit a stage, is of Chen, Ma, Zheng 2019, Med3D, arXiv 1904.00625. With one channel and two outputs: 14,356,546,
33,161,026, 63,470,658 and 46,159,170 trainable parameters.

`preactivation` puts normalisation and ReLU before each convolution: He, Zhang, Ren, Sun 2016, Identity mappings in deep
residual networks, ECCV. As in its appendix, the stem's activation is the first unit's, and one follows the last unit.
DLTK's residual units (Pawlowski et al. 2017, arXiv 1711.06853) are these, with shortcuts of max pooling and zeros in
place of projections, and ReLU cut off at 6.

`se: 16` squeezes and excites what the convolutions of a unit give, before it is added: Hu, Shen, Sun 2018,
Squeeze-and-excitation networks, CVPR, whose reduction it is.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from tfmri.models.blocks import Activation, Count, Fraction, Layers, Norm, NotNegative, image_input

if TYPE_CHECKING:
    import keras

UNITS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
BOTTLENECK = 4  # how many times more features a unit of ResNet-50 gives than its 3³ convolution has


def build(
    depth: int,
    shape: tuple[int, int, int, int],
    outputs: int,
    *,
    filters: tuple[Count, Count, Count, Count] = (64, 128, 256, 512),
    preactivation: bool = False,
    se: Count | None = None,
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
    """ResNet of `depth` layers for images of `shape`.

    Args:
        depth: 10, 18, 34 or 50.
        shape: (x, y, z, channel).
        outputs: length of the linear output.
        filters: of each stage; the stem has those of the first.
        preactivation: normalisation and ReLU before each convolution, not after.
        se: reduction of the squeeze-and-excitation in every unit; 16 in its paper. None: without.
        stem_stride: of the first convolution. The stages together scale down by 8, the stem by up to 4 more: small
            images may want 1 here, or no `stem_pool`, for features of more than some voxels, at 8 times the work each.
        stem_pool: max pooling by two after the first convolution.
        dropout: share of the features dropped before the output.
        norm, groups, l2, synchronized, momentum, epsilon, activation: see `tfmri.models.blocks.Layers`.
        initial_bias: (outputs,) bias of the output to start from.

    Raises:
        InputError: an axis of fewer voxels than one of the last features covers.
    """
    import keras

    name = f"resnet{depth}"
    layers = Layers(norm, groups, l2, synchronized, momentum, epsilon, activation)
    image = image_input(shape, stem_stride * (2 if stem_pool else 1) * 8, name)
    x = layers.stem(image, filters[0], stem_stride, stem_pool)
    unit = _preactivated if preactivation else _original
    for stage, (width, count) in enumerate(zip(filters, UNITS[depth], strict=True), start=1):
        for number in range(1, count + 1):
            stride = 2 if number == 1 and stage > 1 else 1
            convolutions = [(width, 3, stride), (width, 3, 1)]
            if depth == 50:
                convolutions = [(width, 1, 1), (width, 3, stride), (BOTTLENECK * width, 1, 1)]
            x = unit(layers, x, convolutions, stride, se, f"stage{stage}_unit{number}")
    if preactivation:
        x = layers.activate(x, "last")
    return keras.Model(image, layers.head(x, outputs, dropout, initial_bias), name=name)


resnet10, resnet18, resnet34, resnet50 = (partial(build, depth) for depth in UNITS)


def _original(
    layers: Layers, x: Any, convolutions: list[tuple[int, int, int]], stride: int, se: int | None, name: str
) -> Any:
    """ReLU(x + convolutions of x), a normalisation after each convolution, a ReLU between two."""
    import keras

    shortcut = x
    if stride > 1 or x.shape[-1] != convolutions[-1][0]:
        shortcut = layers.convolution(x, convolutions[-1][0], 1, f"{name}_shortcut", stride)
        shortcut = layers.normalise(shortcut, f"{name}_shortcut")
    for number, (width, kernel, step) in enumerate(convolutions, start=1):
        x = layers.convolution(x, width, kernel, f"{name}_{number}", step)
        last = number == len(convolutions)
        x = layers.normalise(x, f"{name}_{number}") if last else layers.activate(x, f"{name}_{number}")
    if se:
        x = layers.squeeze_and_excite(x, se, f"{name}_se")
    return layers.bend(keras.layers.Add(name=f"{name}_add")([shortcut, x]), name)


def _preactivated(
    layers: Layers, x: Any, convolutions: list[tuple[int, int, int]], stride: int, se: int | None, name: str
) -> Any:
    """x + convolutions of x, normalisation and ReLU before each; a projection starts from the first activation."""
    import keras

    shortcut = x
    for number, (width, kernel, step) in enumerate(convolutions, start=1):
        if number > 1 or name != "stage1_unit1":  # which the stem has activated
            x = layers.activate(x, f"{name}_{number}")
        if number == 1 and (stride > 1 or x.shape[-1] != convolutions[-1][0]):
            shortcut = layers.convolution(x, convolutions[-1][0], 1, f"{name}_shortcut", stride)
        x = layers.convolution(x, width, kernel, f"{name}_{number}", step)
    if se:
        x = layers.squeeze_and_excite(x, se, f"{name}_se")
    return keras.layers.Add(name=f"{name}_add")([shortcut, x])
