"""Models in the formats of other programs, SavedModel and ONNX, that `tfmri export` wrote: a folder with `about.json`.

`about.json` is a list with an entry for each model of the folder: its name (`fit`), its preparation (`prepared`), and
the other facts of `model_file.Carried`. The model stands beside it, as `NAME/` (SavedModel) or `NAME.onnx`.

A SavedModel is a program in the operations of TensorFlow, and those can read and write files. So only models of the
operations in `OPERATIONS`, which compute, are loaded. ONNX has no operations on files.
"""

import importlib
import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfmri.errors import InputError, Problem
from tfmri.images.fitted import FittedPreparation, check_version
from tfmri.inference.model_file import Carried, told

ABOUT = "about.json"
Forward = Callable[[np.ndarray], np.ndarray]  # (batch, x, y, z, channel) float32 to (batch, outputs)
OPERATIONS = """
Abs Add AddN AddV2 ArgMax AvgPool3D BatchMatMulV2 BiasAdd BroadcastTo Cast Ceil Concat ConcatV2 Const Conv3D Cumsum
DepthToSpace DisableCopyOnRead Div DivNoNan Einsum Elu Equal Erf Erfc Exp ExpandDims Expm1 Fill Floor FloorDiv
FloorMod FusedBatchNormV3 GatherNd GatherV2 Greater GreaterEqual Identity IdentityN If Inv IsFinite IsNan LeakyRelu
Less LessEqual Log Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul Max MaxPool3D Maximum Mean Min Minimum
MirrorPad Mul Neg NoOp NotEqual OneHot OnesLike Pack Pad PadV2 PartitionedCall Placeholder Pow Prod Range
ReadVariableOp RealDiv Reciprocal Relu Relu6 Reshape ResizeBilinear ReverseV2 Rsqrt Select SelectV2 Selu Shape
ShapeN Sigmoid Sign Slice Softmax Softplus Softsign SpaceToDepth Split SplitV Sqrt Square SquaredDifference Squeeze
StatefulPartitionedCall StatelessIf StopGradient StridedSlice Sub Sum Tanh Tile TopKV2 Transpose Unpack ZerosLike
"""


def models_in(folder: Path) -> list[tuple[str, Path, Carried]]:
    """Name, path and facts of each model of a folder with `about.json`.

    Raises:
        InputError: `about.json` cannot be read, other steps prepared the scans, or a model of it is not there.
    """
    about = folder / ABOUT
    try:
        entries = json.loads(about.read_text())
        parts = [
            (str(entry.pop("fit")), FittedPreparation.from_config(entry.pop("prepared")), json.dumps(entry))
            for entry in entries
        ]
        if not parts:
            raise ValueError("it names no model")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        found = f"it cannot be read ({type(error).__name__}: {error})"
        advice = "Export the run again (tfmri export)"
        raise InputError(Problem(str(about), found, "what `tfmri export` writes", advice)) from error
    models = []
    for name, prepared, facts in parts:
        check_version(prepared, str(folder))
        there = [path for path in (folder / f"{name}.onnx", folder / name) if path.exists()]
        if not there or there[0].parent != folder:
            raise InputError(Problem(str(folder), f"there is no {name}.onnx or {name}/ beside {ABOUT}"))
        models.append((name, there[0], told(facts, prepared, about)))
    return models


def load_saved_model(folder: Path) -> Forward:
    """The function of a SavedModel, whose operations compute and do nothing else.

    Raises:
        InputError: no SavedModel, a damaged one, or one with another operation.
    """
    import tensorflow as tf
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    saved = SavedModel()
    try:
        saved.ParseFromString((folder / "saved_model.pb").read_bytes())
    except Exception as error:  # protobuf has kinds of its own
        raise _damaged(folder, "SavedModel", error) from error
    if len(saved.meta_graphs) != 1 or not saved.meta_graphs[0].HasField("object_graph_def"):
        raise InputError(Problem(str(folder), "no SavedModel of TensorFlow 2", advice="Export the run again"))
    if odd := sorted(_operations(saved.meta_graphs[0]) - set(OPERATIONS.split())):
        found = f"it holds the operation {odd[0]}, which may do more than compute: files, or Python"
        advice = "Use only models of people you trust; a run, or a .keras export, has no such limit"
        raise InputError(Problem(str(folder), found, "operations that compute", advice))
    try:
        model = tf.saved_model.load(str(folder))
        serve = model.signatures["serve"]
        (name,) = serve.structured_input_signature[1]
    except (OSError, ValueError, KeyError, AttributeError, tf.errors.OpError) as error:
        raise _damaged(folder, "SavedModel", error) from error

    def forward(images: np.ndarray) -> np.ndarray:
        (outputs,) = serve(**{name: tf.constant(images)}).values()
        return outputs.numpy()

    forward.model = model  # type: ignore[attr-defined]  # its variables live as long as it does
    return forward


def load_onnx(path: Path) -> Forward:
    """The function of an ONNX file, run by `onnxruntime` on the CPU.

    Raises:
        InputError: `onnxruntime` is not installed, or the file is damaged.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        found = "the runtime of ONNX files is not installed"
        raise InputError(Problem(str(path), found, advice="Install it: pip install --no-deps onnxruntime"))
    try:
        runtime = importlib.import_module("onnxruntime")
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has kinds of its own
        raise _damaged(path, "ONNX file", error) from error
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def _operations(graph: Any) -> set[str]:
    """The operations of all functions that a loaded model has, and of those that they call.

    The loader of TensorFlow 2 runs nothing else: saving and restoring, which use files, are functions of the graph that
    only other loaders run.
    """
    library: Mapping[str, Any] = {each.signature.name: each for each in graph.graph_def.library.function}
    waiting, seen, found = list(graph.object_graph_def.concrete_functions), set(), set()
    for node in graph.object_graph_def.nodes:
        waiting += node.function.concrete_functions
    while waiting:
        name = waiting.pop()
        if name in seen or name not in library:
            continue
        seen.add(name)
        for node in library[name].node_def:
            found.add(node.op)
            for value in node.attr.values():
                waiting += [value.func.name, *(each.name for each in value.list.func)]
            waiting.append(node.op)  # a function may stand as an operation of its own
    return found


def _damaged(path: Path, kind: str, error: Exception) -> InputError:
    reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return InputError(Problem(str(path), f"no {kind}, or a damaged one ({reason})", advice="Copy it again"))
