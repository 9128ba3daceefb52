"""The names of the architectures. Adding one takes a file with a function like `tfmri.models.sfcn.build`, and a line.

A builder takes (shape, outputs, *, options) and returns a functional `keras.Model`. Nothing is imported before its use.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfmri.errors import InputError, Problem
from tfmri.options import check_options, load_named

if TYPE_CHECKING:
    import keras

MODELS = {
    "sfcn": "tfmri.models.sfcn:build",
    "small_cnn": "tfmri.models.small_cnn:build",
    **{f"resnet{depth}": f"tfmri.models.resnet:resnet{depth}" for depth in (10, 18, 34, 50)},
    "densenet121": "tfmri.models.densenet:build",
}
SET_BY_PROGRAM = ("synchronized", "initial_bias")


def check_model(name: str, options: Mapping[str, Any], where: str = "model") -> dict[str, Any]:
    """The options as the builder of `name` takes them; for the architectures of this package, without importing Keras.

    Raises:
        InputError: an unknown name, or one problem for each unknown or wrong option.
    """
    return check_options(load_named(name, MODELS, f"{where}.name"), options, where, SET_BY_PROGRAM)


def build_model(
    name: str,
    shape: Sequence[int],
    outputs: int,
    *,
    synchronized: bool = False,
    initial_bias: Sequence[float] | None = None,
    **options: Any,
) -> "keras.Model":
    """Builds the architecture `name`, with options as an experiment file gives them.

    Args:
        name: a key of `MODELS`, or 'module:function' of an own builder.
        shape: (x, y, z, channel).
        outputs: length of the output.
        synchronized: batch normalisation over all replicas.
        initial_bias: (outputs,) bias of the output to start from; builders that take none start as they like.
        options: the builder's own.

    Raises:
        InputError: unknown name or option, a wrong value, an impossible shape, or an own builder whose model is no
            functional float32 model of (batch, outputs), or whose normalisation is not synchronised when it has to be.
    """
    import keras

    builder = load_named(name, MODELS, "model.name")
    checked = check_options(builder, options, "model", SET_BY_PROGRAM)
    program = {"synchronized": synchronized, "initial_bias": initial_bias}
    taken = {key: value for key, value in program.items() if key in inspect.signature(builder).parameters}
    model = builder(tuple(shape), outputs, **taken, **checked)
    if not isinstance(model, keras.Model) or not model.built or len(getattr(model, "outputs", [])) != 1:
        expected = "a functional keras.Model with one output"
        raise InputError(Problem("model.name", f"'{name}' returned {type(model).__name__}", expected))
    output = model.outputs[0]
    if tuple(output.shape) != (None, outputs) or output.dtype != "float32":
        found = f"'{name}' has output {tuple(output.shape)} {output.dtype}"
        advice = "Give the last layer dtype='float32' and no activation."
        raise InputError(Problem("model.name", found, f"(None, {outputs}) float32", advice))
    alone = [
        layer.name
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and not layer.synchronized
    ]
    if synchronized and alone:
        found = f"'{name}' does not synchronise {', '.join(alone)}"
        advice = "Let the builder take `synchronized` and pass it to BatchNormalization."
        raise InputError(Problem("model.name", found, "batch normalisation over all replicas", advice))
    return model
