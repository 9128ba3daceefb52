"""Reading the weights in a PyTorch file, without PyTorch and without running anything of what the file says.

What `torch.save` writes is a pickle, and a pickle is a program: it may call any function of any package. Here it may
name what a state dict of tensors takes, `ALLOWED`, and nothing else; the tensors are then made here, of NumPy.

Two formats: since PyTorch 1.6 a zip archive with the pickle as `*/data.pkl` and each storage as `*/data/KEY`; before
that, a stream of pickles (a magic number, the protocol, facts of the machine, the object, the keys of the storages),
followed by the storages in the order of the keys, each as its number of values (int64) and the values.
"""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from tfmri.errors import InputError, Problem

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
ADVICE = "Save the weights alone, torch.save(model.state_dict(), FILE)"
STORAGES = {  # the types of numbers, all little-endian
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}


@dataclass(frozen=True)
class _Storage:
    """Values in a row, of which tensors are views; `key` is where they stand in the file."""

    key: str
    type: str
    count: int


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage: offset, sizes and strides in values."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> _Tensor:
    numbers = (offset, *size, *stride)
    if not isinstance(storage, _Storage) or not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise ValueError("a tensor that is none")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if np.prod(size, dtype=object) > storage.count or (0 not in size and last >= storage.count):
        raise ValueError("a tensor larger than its storage")
    return _Tensor(storage, offset, tuple(size), tuple(stride))


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    **{("torch", name): type for name, type in STORAGES.items()},
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes], path: Path):
        super().__init__(file, encoding="utf-8")
        self.path = path

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            found = f"it asks for {module}.{name}, which no tensor needs; nothing of it was run"
            raise InputError(Problem(str(self.path), found, "a state dict of tensors", ADVICE))
        return ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        kind, type, key, _, count, *view = pid
        if kind != "storage" or type not in STORAGES.values() or any(view):
            raise ValueError("a storage of another kind")
        return _Storage(str(key), type, int(count))


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a state dict by name, as `torch.save` wrote them; whatever device they were on.

    Args:
        path: a file of PyTorch, `.p`, `.pt`, `.pth` or otherwise called.

    Raises:
        InputError: no such file; a file that is none of PyTorch, or damaged; one that asks for anything but tensors; or
            one that holds something else than a state dict.
    """
    if not path.is_file():
        raise InputError(Problem(str(path), "there is no such file", "a file of PyTorch's weights"))
    try:
        with path.open("rb") as file:
            found, storages = _read_zip(file, path) if zipfile.is_zipfile(file) else _read_stream(file, path)
        if not isinstance(found, dict) or not found or not all(isinstance(each, _Tensor) for each in found.values()):
            raise InputError(Problem(str(path), "it holds something else", "a state dict of tensors", ADVICE))
        return {str(name): _array(tensor, storages[tensor.storage]) for name, tensor in found.items()}
    except InputError:
        raise
    except Exception as error:  # a damaged pickle may fail with any
        found = f"it cannot be read as a file of PyTorch ({type(error).__name__}: {error})"
        advice = "Fetch it again: it is damaged, or a page instead of the file"
        raise InputError(Problem(str(path), found, "what torch.save wrote", advice)) from error


def _read_zip(file: IO[bytes], path: Path) -> tuple[Any, dict[_Storage, np.ndarray]]:
    with zipfile.ZipFile(file) as archive:
        (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl") and name.count("/") == 1)
        folder = pickled.removesuffix("data.pkl")
        order = f"{folder}byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise ValueError("of a big-endian machine")
        found = _Unpickler(io.BytesIO(archive.read(pickled)), path).load()
        storages = {}
        for storage in _storages(found):
            name = f"{folder}data/{storage.key}"
            if archive.getinfo(name).file_size != storage.count * np.dtype(storage.type).itemsize:
                raise ValueError(f"{name} has another length")
            storages[storage] = np.frombuffer(archive.read(name), storage.type)
    return found, storages


def _read_stream(file: IO[bytes], path: Path) -> tuple[Any, dict[_Storage, np.ndarray]]:
    file.seek(0)
    if file.read(1) != b"\x80":  # the first byte of every pickle that torch.save wrote
        raise ValueError("neither a zip archive nor a pickle")
    file.seek(0)
    magic, protocol, machine, found, keys = (_Unpickler(file, path).load() for _ in range(5))
    if (magic, protocol) != (MAGIC, PROTOCOL) or not machine["little_endian"]:
        raise ValueError("another magic number, protocol or order of bytes")
    known = {storage.key: storage for storage in _storages(found)}
    storages = {}
    for key in keys:
        storage = known[key]
        (count,) = struct.unpack("<q", file.read(8))
        length = count * np.dtype(storage.type).itemsize
        values = file.read(length)
        if count != storage.count or len(values) != length:
            raise ValueError("it ends too early")
        storages[storage] = np.frombuffer(values, storage.type)
    return found, storages


def _storages(found: Any) -> list[_Storage]:
    tensors = found.values() if isinstance(found, dict) else ()
    return list(dict.fromkeys(each.storage for each in tensors if isinstance(each, _Tensor)))


def _array(tensor: _Tensor, values: np.ndarray) -> np.ndarray:
    strides = [step * values.itemsize for step in tensor.stride]
    return np.lib.stride_tricks.as_strided(values[tensor.offset :], tensor.size, strides).copy()
