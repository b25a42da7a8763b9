"""Files of named tensors: safetensors, and what PyTorch saves, of which nothing is unpickled.

A tensor is read once it is asked for, so names and shapes can be held against a model first. Files are untrusted: a
damaged or hostile one is a `JaxtagError`, and nothing in one is imported or called.
"""

import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from operator import index
from pathlib import Path
from typing import Any, BinaryIO

import jax.numpy as jnp
import numpy as np

from jaxtag.errors import JaxtagError
from jaxtag.training import opcodes

FOLDER_FILES = ("model.safetensors", "pytorch_model.bin")  # of a Hugging Face folder, the first that is there
HEADER = 100 << 20  # bytes; no longer one is read
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of PyTorch's files before 1.6
TYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
DAMAGE = (ValueError, KeyError, IndexError, TypeError, EOFError, OSError, ArithmeticError, RuntimeError, AttributeError,
          MemoryError, struct.error, zlib.error)  # fmt: skip


@dataclass(frozen=True)
class Stored:
    """A tensor in a file.

    Attributes:
      shape, dtype: of it.
      read: gives it, row by row in memory.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]


def weights_at(path: Path) -> Path:
    """The file of weights that `path` is, or that the folder `path` has.

    Raises:
      JaxtagError: there is none.
    """
    if path.is_dir():
        found = [path / name for name in FOLDER_FILES if (path / name).is_file()]
        if not found:
            raise JaxtagError(f"{path} has no {' nor '.join(FOLDER_FILES)}", "name a folder of weights, or a file")
        return found[0]
    if not path.is_file():
        raise JaxtagError(f"no weights at {path}", "name a folder of weights, or a file")
    return path


def open_weights(path: Path) -> dict[str, Stored]:
    """The tensors of a .safetensors file or of one that PyTorch saved, by name; told apart by what is in it.

    Raises:
      JaxtagError: it is neither, or damaged, or has more in it than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return _safetensors(path)
        return _zipped(path) if zipfile.is_zipfile(path) else _legacy(path)
    except (*DAMAGE, zipfile.BadZipFile, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise JaxtagError(f"{path} cannot be read as weights: {reason}", "fetch it again, or convert it") from error


def write_safetensors(path: Path, tensors: Mapping[str, Stored]) -> None:
    """Write `tensors`, read one after the other, in their order."""
    kinds = {np.dtype(getattr(jnp, name)): kind for kind, name in TYPES.items() if name != "bool"}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # which Hugging Face's reader asks for
    at = 0
    for name, tensor in tensors.items():
        end = at + prod(tensor.shape) * tensor.dtype.itemsize
        header[name] = {"dtype": kinds[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(tensor.read().tobytes())
        file.flush()
        os.fsync(file.fileno())


def _safetensors(path: Path) -> dict[str, Stored]:
    size = path.stat().st_size
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > min(HEADER, size - 8):
            raise ValueError(f"its header is to have {length} bytes, the file has {size}")
        header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError(f"its header is a {type(header).__name__}")
    found = {}
    for name, said in header.items():
        if name == "__metadata__":
            continue
        shape, (start, end) = tuple(map(index, said["shape"])), map(index, said["data_offsets"])
        dtype = _dtype(TYPES.get(said["dtype"], str(said["dtype"])))
        if (
            min((*shape, start), default=0) < 0
            or end - start != prod(shape) * dtype.itemsize
            or 8 + length + end > size
        ):
            raise ValueError(f"{name} {list(shape)} does not lie within the file")
        strides = tuple(prod(shape[i + 1 :]) for i in range(len(shape)))
        tensor = opcodes.Tensor(opcodes.Storage("", dtype.name, prod(shape)), 0, shape, strides)
        found[name] = _stored(name, path, 8 + length + start, tensor, dtype)
    return found


def _zipped(path: Path) -> dict[str, Stored]:
    """Of PyTorch 1.6 and later: an archive with data.pkl, and a file of numbers for each storage."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename.partition("/")[2]: info for info in archive.infolist()}
        if "data.pkl" not in members:
            raise ValueError("it is an archive without weights")
        squeezed = next((i.filename for i in members.values() if i.compress_type != zipfile.ZIP_STORED), "")
        if squeezed:
            raise ValueError(f"its {squeezed} is compressed, which PyTorch does not do")
        if "byteorder" in members and archive.read(members["byteorder"]) != b"little":
            raise ValueError("it is of a big-endian machine")
        with archive.open(members["data.pkl"]) as file:
            size = members["data.pkl"].file_size
            tensors = _tensors(opcodes.read(file, size))  # pyright: ignore[reportArgumentType]
    found = {}
    for name, tensor in tensors.items():
        dtype, info = _dtype(tensor.storage.dtype), members[f"data/{tensor.storage.key}"]
        if (
            info.file_size % dtype.itemsize
            or info.file_size < (tensor.storage.start + tensor.storage.size) * dtype.itemsize
        ):
            raise ValueError(f"the numbers of {name} are cut short")

        def read(info: Any = info, tensor: opcodes.Tensor = tensor, dtype: np.dtype = dtype) -> np.ndarray:
            try:
                with zipfile.ZipFile(path) as archive:
                    return _viewed(np.frombuffer(archive.read(info), dtype), tensor)
            except zipfile.BadZipFile as error:  # a flipped bit
                raise JaxtagError(f"{path} cannot be read as weights: {error}", "fetch it again") from error

        found[name] = Stored(_checked(name, tensor), dtype, read)
    return found


def _legacy(path: Path) -> dict[str, Stored]:
    """Of PyTorch before 1.6: pickles one after the other, then each storage's size and numbers."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        if opcodes.read(file, size) != MAGIC or opcodes.read(file, size) != PROTOCOL:
            raise ValueError("it is neither safetensors nor a file that PyTorch saved")
        machine = opcodes.read(file, size)
        if not isinstance(machine, dict) or not machine.get("little_endian"):
            raise ValueError("it is of a big-endian machine")
        storages: dict[str, opcodes.Storage] = {}
        tensors = _tensors(opcodes.read(file, size, storages))
        starts = _starts(file, opcodes.read(file, size), {key: _dtype(s.dtype) for key, s in storages.items()})
    found = {}
    for name, tensor in tensors.items():
        dtype, (start, size) = _dtype(tensor.storage.dtype), starts[tensor.storage.key]
        if size < tensor.storage.start + tensor.storage.size:
            raise ValueError(f"the numbers of {name} are cut short")
        found[name] = _stored(name, path, start, tensor, dtype)
    return found


def _starts(file: BinaryIO, keys: list[str], dtypes: Mapping[str, np.dtype]) -> dict[str, tuple[int, int]]:
    """Where each storage's numbers begin, and how many it has."""
    end, found = os.fstat(file.fileno()).st_size, {}
    for key in keys:
        if not isinstance(key, str) or key not in dtypes:
            raise ValueError("it has numbers that belong to no tensor")
        (size,) = struct.unpack("<q", file.read(8))
        found[key] = file.tell(), size
        if size < 0 or file.seek(size * dtypes[key].itemsize, os.SEEK_CUR) > end:
            raise ValueError("it ends within a tensor's numbers")
    return found


def _tensors(value: Any) -> dict[str, opcodes.Tensor]:
    """The tensors of a state dict, or of the one under `state_dict` or `model`."""
    for key in ("state_dict", "model"):
        if isinstance(value, dict) and isinstance(value.get(key), dict):
            value = value[key]
    if not isinstance(value, dict):
        raise ValueError(f"it has a {type(value).__name__}, no state dict")
    return {str(name): tensor for name, tensor in value.items() if isinstance(tensor, opcodes.Tensor)}


def _dtype(name: str) -> np.dtype:
    if name not in TYPES.values():
        raise ValueError(f"it has numbers of the unknown type {name}")
    return np.dtype(jnp.bfloat16) if name == "bfloat16" else np.dtype(name)


def _checked(name: str, tensor: opcodes.Tensor) -> tuple[int, ...]:
    """The tensor's shape, if it lies within its storage."""
    last = tensor.offset + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides))
    if prod(tensor.shape) > tensor.storage.size or (prod(tensor.shape) and last >= tensor.storage.size):
        raise ValueError(f"{name} {list(tensor.shape)} does not lie within its numbers")
    return tensor.shape


def _stored(name: str, path: Path, start: int, tensor: opcodes.Tensor, dtype: np.dtype) -> Stored:
    """A tensor whose storage's numbers begin at byte `start` of a file."""

    def read() -> np.ndarray:
        size = (tensor.storage.start + tensor.storage.size) * dtype.itemsize
        numbers = np.fromfile(path, np.uint8, size, offset=start)
        if len(numbers) < size:
            raise JaxtagError(f"{path} ends within a tensor's numbers", "fetch it again")
        return _viewed(numbers.view(dtype), tensor)

    return Stored(_checked(name, tensor), dtype, read)


def _viewed(numbers: np.ndarray, tensor: opcodes.Tensor) -> np.ndarray:
    own = numbers[tensor.storage.start + tensor.offset :]
    strides = [stride * own.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(own, tensor.shape, strides, writeable=False).copy()
