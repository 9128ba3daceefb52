"""Vision transformer for volumes.

Source: Dosovitskiy et al. 2021, An image is worth 16x16 words: transformers for image recognition at scale, ICLR. The
image is cut into patches; a linear map makes each a vector, to which one learnt for its place in the grid is added;
blocks of normalisation, self-attention over all patches, normalisation and two linear layers with GELU, each added to
its input; normalisation. Instead of the paper's class token, the mean over the patches goes to the output (Beyer, Zhai,
Kolesnikov 2022, Better plain ViT baselines for ImageNet-1k, arXiv 2205.01580). Width, depth and heads are those of
ViT-S (Touvron et al. 2021, ICML). With one channel, two outputs and 96³ voxels: 22,950,914 trainable parameters.

The linear map has no bias besides the vectors of the places: with one, only their sum would count.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tfmri.errors import InputError, Problem
from tfmri.models.blocks import Count, Fraction, Layers, image_input

if TYPE_CHECKING:
    import keras


def build(
    shape: tuple[int, int, int, int],
    outputs: int,
    *,
    patch: Count = 16,
    width: Count = 384,
    depth: Count = 12,
    heads: Count = 6,
    expansion: Count = 4,
    dropout: Fraction = 0.0,
    epsilon: float = 1e-6,
    initial_bias: Sequence[float] | None = None,
) -> "keras.Model":
    """Vision transformer for images of `shape`.

    Args:
        shape: (x, y, z, channel). A model is of one shape.
        outputs: length of the linear output.
        patch: voxels along each axis of a patch.
        width: features of each patch.
        depth: number of blocks.
        heads: of the attention; divide the width.
        expansion: the first of the two linear layers gives so many times the width.
        dropout: share dropped of what each block adds, and of the features before the output.
        epsilon: added to the variance in a normalisation.
        initial_bias: (outputs,) bias of the output to start from.

    Raises:
        InputError: an axis that patches do not divide, or a width that the heads do not.
    """
    import keras

    layers = Layers("layer", epsilon=epsilon, activation="gelu")
    image = image_input(shape, patch, "vit")
    if any(size % patch for size in shape[:3]):
        nearest = [max(1, round(size / patch)) * patch for size in shape[:3]]
        found = f"{list(shape[:3])} is not whole patches of {patch} voxels, which the model 'vit' cuts it into"
        advice = f"Take {nearest}, or another model.patch"
        raise InputError(Problem("image.shape", found, f"multiples of {patch}", advice))
    if width % heads:
        raise InputError(Problem("model.heads", f"{heads}, and model.width is {width}", "a divisor of the width"))
    x, y, z = grid = tuple(size // patch for size in shape[:3])
    tokens = keras.layers.Reshape((x, patch, y, patch, z, patch, shape[3]), name="patches")(image)
    tokens = keras.layers.EinsumDense(  # the bias is of each place: the position embedding
        "bxiyjzkc,ijkcd->bxyzd",
        (*grid, width),
        bias_axes="xyzd",
        kernel_initializer="lecun_normal",
        bias_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
        name="embedding",
    )(tokens)
    tokens = keras.layers.Reshape((x * y * z, width), name="tokens")(tokens)
    for number in range(1, depth + 1):
        tokens = _block(layers, tokens, heads, expansion, dropout, f"block{number}")
    tokens = keras.layers.Reshape((*grid, width), name="grid")(layers.normalise(tokens, "last"))
    return keras.Model(image, layers.head(tokens, outputs, dropout, initial_bias), name="vit")


def _block(layers: Layers, x: Any, heads: int, expansion: int, dropout: float, name: str) -> Any:
    """x + attention of x, and to that its linear layers: (batch, patches, width) to the same."""
    import keras

    width = x.shape[-1]
    new = layers.normalise(x, f"{name}_1")
    new = keras.layers.MultiHeadAttention(heads, width // heads, name=f"{name}_attention")(new, new)
    new = keras.layers.Dropout(dropout, name=f"{name}_dropout1")(new)
    x = keras.layers.Add(name=f"{name}_add1")([x, new])
    new = layers.normalise(x, f"{name}_2")
    new = layers.bend(keras.layers.Dense(expansion * width, name=f"{name}_linear1")(new), name)
    new = keras.layers.Dense(width, name=f"{name}_linear2")(new)
    new = keras.layers.Dropout(dropout, name=f"{name}_dropout2")(new)
    return keras.layers.Add(name=f"{name}_add2")([x, new])
