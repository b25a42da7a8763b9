"""Arrays of .npy and .npz files that anybody may have made: nothing is unpickled, no room made for what is not there.

NumPy believes an array's header: a file of a hundred bytes can ask for a terabyte, and a damaged header raises whatever
Python's parser does. Here a header is held against the bytes that there are before any is read.
"""

import lzma
import tokenize
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

KINDS = "biufcSU"  # of numbers and text
MOST_EXPANDED = 100  # times its packed size that an archive may unpack to
ALWAYS_EXPANDED = 1 << 28  # bytes that any may
LARGEST_SIDE = 2**48  # of an axis
# What an archive or an array in one may raise when it is damaged or of a kind that is not read.
DAMAGE = (ValueError, KeyError, IndexError, TypeError, EOFError, OSError, ArithmeticError, RuntimeError, zlib.error,
          lzma.LZMAError, zipfile.BadZipFile)  # fmt: skip


@dataclass(frozen=True)
class Header:
    """What the beginning of a .npy file says.

    Attributes:
      shape, dtype: of the array.
      columns_first: whether its numbers lie column by column.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    columns_first: bool

    @property
    def bytes(self) -> int:
        """How many the numbers take."""
        return prod(self.shape) * self.dtype.itemsize


class Objects(ValueError):
    """An array of Python objects, which only unpickling would read."""


def read_header(file: BinaryIO) -> Header:
    """The header that `file` is at; the file is then after it.

    Raises:
      Objects: it is of Python objects.
      ValueError: it is no header of an array of numbers or text.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            version = np.lib.format.read_magic(file)
            if version not in ((1, 0), (2, 0), (3, 0)):
                raise ValueError(f"a version {version} of .npy files")
            later = np.lib.format.read_array_header_2_0
            shape, columns_first, dtype = (
                np.lib.format.read_array_header_1_0(file) if version == (1, 0) else later(file)
            )
    except (*DAMAGE, SyntaxError, MemoryError, tokenize.TokenError) as error:
        raise ValueError(f"no header of an array: {' '.join(str(error).split()):.100}") from None
    if dtype.hasobject:
        raise Objects("Python objects, which are not read")
    if dtype.kind not in KINDS or not dtype.itemsize:
        raise ValueError(f"values of type {dtype!s:.40}")
    if any(type(side) is not int or not 0 <= side < LARGEST_SIDE for side in shape):
        raise ValueError("an axis of no possible length")
    return Header(tuple(shape), dtype, columns_first)


def open_npy(path: Path) -> np.ndarray:
    """The array of a .npy file, memory-mapped.

    Raises:
      OSError: there is no such file, or it cannot be read.
      ValueError: it is damaged, or of something else than numbers or text.
    """
    with open(path, "rb") as file:
        header = read_header(file)
        start = file.tell()
        has = path.stat().st_size - start
    if has < header.bytes:
        raise ValueError(f"{has} bytes where {list(header.shape)} {header.dtype} take {header.bytes}")
    order: Any = "F" if header.columns_first else "C"
    if not header.bytes:  # which cannot be mapped
        return np.zeros(header.shape, header.dtype, order)
    return checked_text(np.memmap(path, header.dtype, "r", start, header.shape, order).view(np.ndarray))


def open_npz(path: Path | BinaryIO) -> dict[str, np.ndarray]:
    """The arrays of a .npz archive by name, those of Python objects and what is no array left out.

    Raises:
      OSError: there is no such file, or it cannot be read.
      ValueError: it is damaged, or unpacks to far more than it has.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            packed = sum(info.compress_size for info in members)
            room = max(ALWAYS_EXPANDED, MOST_EXPANDED * packed)
            found = {}
            for info in members:
                with archive.open(info) as file:
                    try:
                        array = _member(file, min(info.file_size, room))
                    except Objects:
                        continue
                room -= array.nbytes
                found[info.filename.removesuffix(".npy")] = array
            return found
    except FileNotFoundError:
        raise
    except DAMAGE as error:
        raise ValueError(" ".join(str(error).split())[:200] or type(error).__name__) from None


def _member(file: Any, room: int) -> np.ndarray:
    """The array of an open member of an archive, of `room` bytes at most."""
    header = read_header(file)
    if header.bytes > room:
        raise ValueError(f"{list(header.shape)} {header.dtype} take {header.bytes} bytes, of which there are {room}")
    data = file.read(header.bytes)
    if len(data) != header.bytes:
        raise ValueError("it ends early")
    array = np.frombuffer(bytearray(data), header.dtype)
    return checked_text(array.reshape(header.shape, order="F" if header.columns_first else "C"))


def checked_text(array: np.ndarray) -> np.ndarray:
    """The array itself.

    Raises:
      ValueError: it is of text that is none, which Python would not take.
    """
    if array.dtype.kind == "U" and array.size:
        points = np.frombuffer(array.astype(array.dtype.newbyteorder("=")).tobytes(), np.uint32)
        if int(points.max()) > 0x10FFFF:
            raise ValueError("text with characters that do not exist")
    return array
