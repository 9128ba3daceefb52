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
    "sfcn_sex": "tfmri.models.sfcn:sfcn_sex",
    "cole": "tfmri.models.cole:build",
    "small_cnn": "tfmri.models.small_cnn:build",
    **{f"resnet{depth}": f"tfmri.models.resnet:resnet{depth}" for depth in (10, 18, 34, 50)},
    "densenet121": "tfmri.models.densenet:build",
    "densenet169": "tfmri.models.densenet:densenet169",
    "convnext": "tfmri.models.convnext:build",
    "vit": "tfmri.models.vit:build",
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
        InputError: unknown name or option, a wrong value, an impossible shape, or an own builder that fails, whose
            model does not go from (batch, x, y, z, channel) to float32 (batch, outputs), ends with a softmax or
            sigmoid, or whose normalisation is not synchronised when it has to be.
    """
    import keras

    builder = load_named(name, MODELS, "model.name")
    checked = check_options(builder, options, "model", SET_BY_PROGRAM)
    program = {"synchronized": synchronized, "initial_bias": initial_bias}
    taken = {key: value for key, value in program.items() if key in inspect.signature(builder).parameters}
    try:
        model = builder(tuple(shape), outputs, **taken, **checked)
    except (TypeError, ValueError) as error:
        if name in MODELS:
            raise
        reason = " ".join(str(error).split())
        found = f"'{name}' fails for images of {list(shape)} and {outputs} outputs ({type(error).__name__}: {reason})"
        advice = "It is called with (shape, outputs) and its options; `tfmri --debug` shows where it fails"
        raise InputError(Problem("model.name", found, advice=advice)) from error
    if not isinstance(model, keras.Model) or not model.built or len(getattr(model, "outputs", None) or []) != 1:
        expected = "a functional keras.Model with one output"
        raise InputError(Problem("model.name", f"'{name}' returned {type(model).__name__}", expected))
    _check_ends(model, name, tuple(shape), outputs)
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


def _check_ends(model: "keras.Model", name: str, shape: tuple[int, ...], outputs: int) -> None:
    """Refuses an own model whose input or output is not what the training gives and takes."""
    inputs, output = [tuple(each.shape) for each in model.inputs], model.outputs[0]
    fits = len(inputs) == 1 and len(inputs[0]) == 5
    if not fits or any(own not in (None, given) for own, given in zip(inputs[0][1:], shape, strict=True)):
        found = f"'{name}' has input {', '.join(map(str, inputs))}"
        raise InputError(Problem("model.name", found, f"one input {(None, *shape)}"))
    if tuple(output.shape) != (None, outputs) or output.dtype != "float32":
        found = f"'{name}' has output {tuple(output.shape)} {output.dtype}"
        advice = "Give the last layer dtype='float32' and no activation."
        raise InputError(Problem("model.name", found, f"(None, {outputs}) float32", advice))
    last = model.layers[-1]
    activation = getattr(getattr(last, "activation", None), "__name__", type(last).__name__).lower()
    if activation in ("softmax", "sigmoid"):
        found = f"'{name}' ends with {activation}, and the loss applies its own"
        raise InputError(Problem("model.name", found, "a linear output", "Take the activation of the last layer away."))
