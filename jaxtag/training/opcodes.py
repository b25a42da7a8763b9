"""A pickle of tensors read as data: its opcodes are followed on a list, nothing that it names is imported or called.

Enough of the pickle machine for what `torch.save` writes of a state dict, by hand, so that a file can do no more than
what stands here: containers, numbers, text, and the few names that a tensor is described by.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

MARK = object()
TENSORS = {("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_tensor")}
PARAMETER = ("torch._utils", "_rebuild_parameter")
DICT = ("collections", "OrderedDict")
SIZE = ("torch", "Size")
# Storages by name, and NumPy's name of what they hold.
STORAGES = {
    "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16", "DoubleStorage": "float64",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool",
}  # fmt: skip
EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
KEYS = (str, bytes, int, float, type(None))
PAIRS, AXES = 10_000, 64  # of a dictionary that is made of a list, and of a tensor
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip


@dataclass(frozen=True)
class Name:
    """A name that the pickle mentions, of those allowed."""

    module: str
    name: str


@dataclass(frozen=True)
class Storage:
    """A tensor's numbers, which lie elsewhere in the file.

    Attributes:
      key: that the file has for them.
      dtype: NumPy's name of their type.
      size: how many.
      start: the first one, where it is a view of another storage.
    """

    key: str
    dtype: str
    size: int
    start: int = 0


@dataclass(frozen=True)
class Tensor:
    """A tensor as the file describes it; offset and strides in numbers, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read(file: BinaryIO, size: int, storages: dict[str, Storage] | None = None) -> Any:
    """The value of the pickle that `file` is at; the file is then after it.

    Args:
      file: with the pickle.
      size: of the whole file, in bytes: a pickle may say that a text has more.
      storages: is given every storage that the pickle mentions, by its key.

    Raises:
      ValueError: it is damaged, or has anything in it that a state dict has no use for. KeyError, IndexError,
        TypeError and EOFError come of damage too.
    """
    machine = _Machine({} if storages is None else storages)
    within: Any = _Within(file, size)
    for opcode, argument, _ in pickletools.genops(within):
        if opcode.name == "STOP":
            return machine.stack[-1]
        machine.do(opcode.name, argument)
    raise ValueError("it has no end")


class _Within:
    """A file of `size` bytes, of which no more are asked than there are: asking makes room for all of them."""

    def __init__(self, file: BinaryIO, size: int):
        self._file, self._size, self.readline, self.tell = file, size, file.readline, file.tell

    def read(self, many: int) -> bytes:
        return self._file.read(min(many, max(self._size - self._file.tell(), 0)))


class _Machine:
    """The stack, and what was put aside to be used again."""

    def __init__(self, storages: dict[str, Storage]):
        self.stack: list[Any] = []
        self._storages = storages
        self._memo: dict[int, Any] = {}

    def do(self, name: str, argument: Any) -> None:
        """Follow one opcode."""
        if name in VALUES:
            self.stack.append(argument)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in EMPTY:
            self.stack.append(EMPTY[name]())
        elif name == "MARK":
            self.stack.append(MARK)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self._memo[len(self._memo) if name == "MEMOIZE" else argument] = self.stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self._memo[argument])
        elif name not in ("PROTO", "FRAME"):
            self._build(name, argument)

    def _build(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            stack[-int(name[-1]) :] = [tuple(stack[-int(name[-1]) :])]
        elif name in ("TUPLE", "LIST"):
            stack.append({"TUPLE": tuple, "LIST": list}[name](self._marked()))
        elif name == "DICT":
            stack.append(_pairs(self._marked()))
        elif name in ("APPEND", "APPENDS"):
            found = [stack.pop()] if name == "APPEND" else self._marked()
            _expect(stack[-1], list).extend(found)
        elif name in ("SETITEM", "SETITEMS"):
            found = [stack.pop(-2), stack.pop()] if name == "SETITEM" else self._marked()
            _expect(stack[-1], dict).update(_pairs(found))
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            module, own = argument.split(" ") if name == "GLOBAL" else (stack.pop(-2), stack.pop())
            stack.append(_allowed(module, own))
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop()))
            self._storages[stack[-1].key] = stack[-1]
        elif name == "REDUCE":
            arguments = _expect(stack.pop(), tuple)
            stack.append(_made(_expect(stack.pop(), Name), arguments))
        elif name == "BUILD":  # a state dict's own attributes, which say nothing of its tensors
            stack.pop()
            _expect(stack[-1], dict)
        else:
            raise ValueError(f"it has the opcode {name}, which weights have no use for")

    def _marked(self) -> list[Any]:
        at = len(self.stack) - 1  # from the end: what lies behind a mark is taken but once
        while at >= 0 and self.stack[at] is not MARK:
            at -= 1
        if at < 0:
            raise ValueError("it has an end without a beginning")
        found = self.stack[at + 1 :]
        del self.stack[at:]
        return found


def _expect(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"it has a {type(value).__name__} where a {kind.__name__} is due")
    return value


def _pairs(found: list[Any]) -> dict[Any, Any]:
    if len(found) % 2:
        raise ValueError("it has a key without a value")
    for key in found[::2]:  # a tuple of tuples that are one takes for ever to hash, and to write out
        if not isinstance(key, KEYS):
            raise ValueError(f"it has a {type(key).__name__} as a key")
    return dict(zip(found[::2], found[1::2]))


def _allowed(module: str, name: str) -> Name:
    if not isinstance(module, str) or not isinstance(name, str):
        raise ValueError("it has a name that is no text")
    known = (module, name) in TENSORS | {PARAMETER, DICT, SIZE} or (module == "torch" and name in STORAGES)
    if not known:
        raise ValueError(f"it names {module:.80}.{name:.80}, which weights have no use for, and which was not called")
    return Name(module, name)


def _storage(said: Any) -> Storage:
    kind, storage, key, _, size, *view = _expect(said, tuple)
    if kind != "storage" or _expect(storage, Name).name not in STORAGES:
        raise ValueError("it refers to something else than a tensor's numbers")
    start = 0
    if view and view[0] is not None:
        _, start, size = view[0]
    return Storage(_expect(key, str), STORAGES[storage.name], _count(size), _count(start))


def _made(function: Name, arguments: tuple[Any, ...]) -> Any:
    called = (function.module, function.name)
    if called == DICT:
        pairs = _expect(arguments[0], list) if arguments else []  # as Python 2 wrote it
        if len(pairs) > PAIRS or any(not isinstance(pair, list | tuple) or len(pair) != 2 for pair in pairs):
            raise ValueError("it has a dictionary of no pairs, or of too many")
        return _pairs([value for pair in pairs for value in pair])
    if called == PARAMETER:
        return _expect(arguments[0], Tensor)
    if called == SIZE:
        return tuple(_count(n) for n in _expect(arguments[0], tuple))
    if called not in TENSORS:
        raise ValueError(f"it calls {function.module}.{function.name}")
    storage, offset, shape, strides = arguments[:4]
    shape, strides = (tuple(_count(n) for n in _expect(v, tuple)) for v in (shape, strides))
    if len(shape) != len(strides) or len(shape) > AXES:
        raise ValueError("it has a tensor with more axes than strides, or fewer")
    return Tensor(_expect(storage, Storage), _count(offset), shape, strides)


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"it has {value if type(value) is int else type(value).__name__} where a size is due")
    return value
