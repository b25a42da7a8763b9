"""LMDB stores read as bytes: LMDB's own library trusts a file, and a damaged one ends the process.

A store is a file of pages, the first two of which say where the root of a B+ tree is (LMDB 0.9, data version 1, as
written on machines of 64 bits). Every place that a page names is held against the file before it is looked at.
"""

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jaxtag.errors import JaxtagError

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_HEAD = 16  # bytes of a page's header, after which come the offsets of its nodes
_BRANCH, _LEAF, _OVERFLOW = 0x01, 0x02, 0x04  # kinds of pages
_ELSEWHERE = 0x01  # a node's flag: its value has pages of its own
_META = struct.Struct("<2I2Q48x4xHHQQQQQQQ")  # from the magic number on; the second tree is that of the values
_NODE = struct.Struct(
    "<4H"
)  # low and high half of a size, or of a page's number; flags, or its highest part; key's size
_NONE = 2**64 - 1  # the root of an empty tree
_DEEPEST = 32  # pages from the root to a leaf, as LMDB itself has it


class _Damaged(ValueError):
    """A page says what cannot be."""


@contextmanager
def opened(path: Path) -> Iterator[Iterator[tuple[bytes, bytes | str]]]:
    """The keys and values of the store at `path`, a file or a folder with data.mdb, in the order of the keys.

    Where a value cannot be read, there is a reason in its place; where a part of the tree cannot be, its key is empty.

    Raises:
      JaxtagError: it is no such store, or its first pages are damaged.
    """
    file = path / "data.mdb" if path.is_dir() else path
    with open(file, "rb") as raw:
        if file.stat().st_size < 4 * _HEAD:
            raise JaxtagError(f"{path} is no readable LMDB: it has {file.stat().st_size} bytes")
        with mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                tree = _Tree(data)
            except (_Damaged, struct.error) as error:
                raise JaxtagError(f"{path} is no readable LMDB: {error}") from None
            yield tree.walk()


class _Tree:
    """The tree of a store's values."""

    def __init__(self, data: Any):
        self._data, metas = data, []
        size = struct.unpack_from("<I", data, _HEAD + 24)[0]  # of a page
        if size not in (1 << k for k in range(9, 17)):
            raise _Damaged("its first page is damaged")
        for start in (0, size):
            with_magic = data[start + _HEAD : start + _HEAD + 8] == struct.pack("<2I", _MAGIC, _VERSION)
            if with_magic and len(data) >= start + _HEAD + _META.size:
                *_, root, _, transaction = _META.unpack_from(data, start + _HEAD)
                metas.append((transaction, root))
        if not metas:
            raise _Damaged("it is of another version, or its first page is damaged")
        self._size, self._root = size, max(metas)[1]
        self._left = len(data) // size  # pages that may still be looked at: a damaged tree may go round in a circle

    def walk(self) -> Iterator[tuple[bytes, bytes | str]]:
        """Keys and values, as of `opened`."""
        stack = [(self._root, 0)] if self._root != _NONE else []
        while stack:
            page, depth = stack.pop()
            try:
                flags, nodes = self._page(page, depth)
            except (_Damaged, struct.error) as error:
                yield b"", f"a part of the store cannot be read: {error}"
                continue
            if flags & _BRANCH:
                stack += [(low | high << 16 | top << 32, depth + 1) for _, low, high, top, _ in reversed(nodes)]
            for at, low, high, top, long in nodes if flags & _LEAF else ():
                key = self._data[at : at + long]
                try:
                    yield key, self._value(at + long, low | high << 16, top)
                except (_Damaged, struct.error) as error:
                    yield key, f"its value cannot be read: {error}"

    def _page(self, number: int, depth: int) -> tuple[int, list[tuple[int, int, int, int, int]]]:
        """The flags of a page, and of each of its nodes where its key begins, and the four numbers before it."""
        start, self._left = number * self._size, self._left - 1
        if start + self._size > len(self._data) or depth >= _DEEPEST or self._left < 0:
            raise _Damaged(f"there is no page {number}" if self._left >= 0 else "it goes round in a circle")
        flags, lower = struct.unpack_from("<2H", self._data, start + 10)
        if flags & (_BRANCH | _LEAF | _OVERFLOW) not in (_BRANCH, _LEAF) or not _HEAD <= lower <= self._size:
            raise _Damaged(f"page {number} is damaged")
        nodes = []
        for (offset,) in struct.iter_unpack("<H", self._data[start + _HEAD : start + lower - lower % 2]):
            if offset + _NODE.size > self._size:
                raise _Damaged(f"page {number} is damaged")
            low, high, top, long = _NODE.unpack_from(self._data, start + offset)
            if offset + _NODE.size + long > self._size:
                raise _Damaged(f"page {number} is damaged")
            nodes.append((start + offset + _NODE.size, low, high, top, long))
        return flags, nodes

    def _value(self, at: int, size: int, flags: int) -> bytes:
        """A value of `size` bytes that begins at `at`, or whose page is named there."""
        if flags & ~_ELSEWHERE:
            raise _Damaged("it is a store of its own")
        if flags & _ELSEWHERE:
            at = struct.unpack_from("<Q", self._data, at)[0] * self._size + _HEAD
        if at + size > len(self._data):
            raise _Damaged("it lies behind the end of the file")
        return self._data[at : at + size]
