"""Published weights, converted into the architectures of this package.

SFCN for age and for sex: Peng, Gong, Beckmann, Vedaldi, Smith 2021, Medical Image Analysis 68, 101871. The files lie in
the first author's repository UKBiobank_deep_pretrain. Names there, with `module.` before each, as DataParallel has it:

    feature_extractor.conv_0.0.weight, .bias        convolution of the first block  -> block1_conv
    feature_extractor.conv_0.1.weight, .bias,
        .running_mean, .running_var                 its batch normalisation         -> block1_norm
    classifier.conv_6.weight, .bias                 convolution 1³ to the outputs   -> head

A kernel is (out, in, x, y, z) there and (x, y, z, in, out) here: their volumes are NumPy arrays (x, y, z) as nibabel
reads them, and so are ours, so that the same array gets the same answer. Scans that FSL has put into MNI152 are stored
with x growing to the left, ours grow to the right (`images.geometry`): what these networks see here is mirrored. Half
of their training scans were mirrored as well, so that they know a brain either way round.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfmri.errors import InputError, Problem
from tfmri.models import sfcn
from tfmri.models.torch_file import read_state_dict

if TYPE_CHECKING:
    import keras

NORMALISATION = ("weight", "bias", "running_mean", "running_var")  # Keras: gamma, beta, moving mean and variance
NOT_TAKEN = "num_batches_tracked"
EXPECTED = "the state dict of an SFCN as published"


def read_sfcn(path: Path) -> "keras.Model":
    """The network in a file of PyTorch, as `to_sfcn`.

    Raises:
        InputError: as `read_state_dict` and `to_sfcn`.
    """
    return to_sfcn(read_state_dict(path), str(path))


def to_sfcn(state: Mapping[str, np.ndarray], where: str) -> "keras.Model":
    """SFCN of the widths and outputs that a state dict has, with its weights, for images of the smallest size.

    Args:
        state: names and tensors, as the module's docstring has them.
        where: the file, for messages.

    Raises:
        InputError: the weights of another network.
    """
    state = {name.removeprefix("module."): array for name, array in state.items()}
    try:
        weights = _converted(state)
        *blocks, head = weights.values()
        filters = tuple(kernel.shape[-1] for kernel, _ in blocks[::2])
        edge = 2 ** (len(filters) - 1)
        model = sfcn.build((edge, edge, edge, blocks[0][0].shape[-2]), len(head[-1]), filters=filters)
        for name, values in weights.items():
            model.get_layer(name).set_weights(values)
    except KeyError as error:
        found = f"it holds {', '.join([*state][:2])}, ... and {error.args[0]}: no weights of SFCN"
        raise InputError(Problem(where, found, EXPECTED)) from None
    except (ValueError, IndexError) as error:
        found = f"its weights are not those of SFCN ({' '.join(str(error).split())})"
        raise InputError(Problem(where, found, EXPECTED)) from error
    return model


def _converted(state: Mapping[str, np.ndarray]) -> dict[str, list[np.ndarray]]:
    """The weights of each layer in Keras' order.

    Raises:
        KeyError: in words, the first that is missing or is one too many.
    """
    left = {name for name in state if not name.endswith(NOT_TAKEN)}

    def take(name: str) -> np.ndarray:
        if name not in left:
            raise KeyError(f"no {name}")
        left.remove(name)
        array = state[name]
        return np.moveaxis(array, (0, 1), (-1, -2)) if array.ndim == 5 else array

    weights, number = {}, 0
    while number == 0 or f"feature_extractor.conv_{number}.0.weight" in state:
        block = f"feature_extractor.conv_{number}"
        number += 1
        weights[f"block{number}_conv"] = [take(f"{block}.0.weight"), take(f"{block}.0.bias")]
        weights[f"block{number}_norm"] = [take(f"{block}.1.{name}") for name in NORMALISATION]
    kernel, bias = take(f"classifier.conv_{number}.weight"), take(f"classifier.conv_{number}.bias")
    weights["head"] = [kernel.reshape(kernel.shape[-2:]), bias]
    if left:
        raise KeyError(f"{min(left)} too")
    return weights
