"""Changes to inputs: what hypothesis, a plain random generator and atheris make of a reader's seeds.

An edit is plain data, `(what, where, value)`; `apply` is a pure function of a seed and its edits, so that a finding is
the same bytes whoever drew it. A format is a way to edit what is within: the values of JSON, the members of an archive,
the header before a tensor's numbers. Every format takes edits of its bytes too.
"""

import copy
import io
import json
import re
import struct
import zipfile
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from hypothesis import strategies as st

MOST = 1 << 16  # bytes that an input may grow to
Edit = tuple[str, int, Any]

BYTES = ("replace", "insert", "delete", "flip", "cut", "repeat", "number", "line")
VALUES = ("value", "remove", "rename", "wrap", "twice")  # of JSON
INTEGERS = (
    0,
    1,
    -1,
    2,
    3,
    127,
    255,
    256,
    65535,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**53 + 1,
    2**63 - 1,
    2**63,
    2**64,
    -(2**63),
)
WORDS = (
    "",
    "x",
    "text",
    "id",
    "data",
    "features",
    "<f4",
    "|O",
    "float32",
    "../../outside/secret.txt",
    "/etc/passwd",
    "..",
    "a\0b",
    "\ud800",
    "\u2028",
    "\ufeff",
    "#",
    "é" * 40,
    "1e999",
    "NaN",
    "null",
    "torch",
    "os",
    "system",
)
TOKENS = (
    *(struct.pack(form, value & mask) for value in INTEGERS for form, mask in (("<I", 2**32 - 1), ("<Q", 2**64 - 1))),
    *(word.encode("utf-8", "surrogatepass") for word in WORDS if word),
    b"\0", b"\xff" * 4, b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b"\xed\xa0\xbd", b"\x80", b'"', b"'", b"\\", b"\n",
    b"\r", b"\r\n", b"\t", b" ", b",", b":", b"{", b"}", b"[", b"]", b"{}", b"[]", b"()", b"#", b"-", b".", b"9" * 5000,
    b"[" * 3000, b'{"a":' * 1500, b'"\n' * 50, b"PK\x03\x04", b"\x1f\x8b", b"\x80\x02c", b"cos\nsystem\n", b"\x85R.",
)  # fmt: skip
_NUMBER = re.compile(rb"\d+")

SCALARS = (None, True, False, 0.5, -0.0, 1e300, float("inf"), float("nan"), *INTEGERS, *WORDS, 10**400)
DEEP: Any = []
for _ in range(60):
    DEEP = [DEEP]
_ANYTHING = (*SCALARS, [], {}, [[]], [None], {"": None}, {"id": {}}, [1, "x"], DEEP)

MADE = st.recursive(
    st.sampled_from(SCALARS) | st.text(max_size=6) | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3),
    max_leaves=5,
)
PLACES = st.integers(0, 2**16)
EDITS = st.lists(
    st.tuples(st.sampled_from(VALUES), PLACES, MADE)
    | st.tuples(st.sampled_from(BYTES), PLACES, st.sampled_from(TOKENS) | st.binary(max_size=6)),
    min_size=2,
    max_size=4,
)


def drawn(rng: Random) -> list[Edit]:
    """Edits drawn at random; half of them of values."""
    edits: list[Edit] = []
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5))):
        if rng.random() < 0.5:
            edits.append((rng.choice(VALUES), rng.randrange(2**16), rng.choice(_ANYTHING)))
        else:
            value = rng.choice(TOKENS) if rng.random() < 0.7 else rng.randbytes(rng.randrange(1, 6))
            edits.append((rng.choice(BYTES), rng.randrange(2**16), value))
    return edits


def apply(form: str, seed: bytes, edits: Sequence[Edit]) -> bytes:
    """What `edits` make of `seed`, whose format is one of `FORMS`."""
    for edit in edits:
        try:
            seed = FORMS[form](seed, edit)[:MOST]
        except Exception:  # an earlier edit left nothing of the format
            seed = of_bytes(seed, edit)[:MOST]
    return seed


def of_bytes(data: bytes, edit: Edit) -> bytes:
    """An edit of bytes, whatever they are; one of values becomes one of their text."""
    what, where, value = edit
    if what not in BYTES:
        what, value = BYTES[where % len(BYTES)], _text(value)
    at = where % (len(data) + 1)
    if what == "insert":
        return data[:at] + value + data[at:]
    if what == "replace":
        return data[:at] + value + data[at + len(value) :]
    if what == "delete":
        return data[:at] + data[at + 1 + where % 7 :]
    if what == "flip":
        return data[:at] + bytes(b ^ (1 << where % 8) for b in data[at : at + 1]) + data[at + 1 :]
    if what == "cut":
        return data[:at]
    if what == "repeat":
        return data[:at] + data[at : at + 40] * 3 + data[at + 40 :]
    if what == "line":
        lines = data.split(b"\n")
        lines.insert(where % len(lines), value)
        return b"\n".join(lines)
    found = list(_NUMBER.finditer(data))
    if not found:
        return data + value
    number, new = found[where % len(found)], str(INTEGERS[where % len(INTEGERS)]).encode()
    return data[: number.start()] + new + data[number.end() :]


def _text(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return b"[["


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (holder, key) of a JSON value, outermost first."""
    found, left = [], [value]
    while left:
        holder = left.pop(0)
        items = list(holder.items() if isinstance(holder, dict) else enumerate(holder))
        found += [(holder, key) for key, _ in items]
        left += [inner for _, inner in items if isinstance(inner, dict | list)]
    return found


def changed(value: Any, edit: Edit) -> Any:
    """An edit of a JSON value."""
    what, where, new = edit
    value = copy.deepcopy(value)
    places = _places(value) if isinstance(value, dict | list) else []
    if not places or where % 97 == 0:
        return new
    holder, key = places[where % len(places)]
    if what == "value":
        holder[key] = new
    elif what == "remove":
        del holder[key]
    elif what == "wrap":
        holder[key] = [holder[key]]
    elif isinstance(holder, dict):
        name = new if isinstance(new, str) else "new"
        holder[name] = copy.deepcopy(holder[key]) if what == "twice" else holder.pop(key)
    else:
        holder.insert(key, copy.deepcopy(holder[key]))
    return value


def of_json(data: bytes, edit: Edit) -> bytes:
    """An edit of a JSON document, or of one of its lines."""
    if edit[0] in BYTES:
        return of_bytes(data, edit)
    try:
        return _text(changed(json.loads(data), edit))
    except ValueError:
        lines = data.split(b"\n")
        at = edit[1] % len(lines)
        lines[at] = _text(changed(json.loads(lines[at]), edit))
        return b"\n".join(lines)


def of_header(data: bytes, edit: Edit) -> bytes:
    """An edit of the JSON header of a .safetensors file, whose length is made right again."""
    if edit[0] in BYTES:
        return of_bytes(data, edit)
    (length,) = struct.unpack_from("<Q", data)
    header = _text(changed(json.loads(data[8 : 8 + length]), edit))
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def of_npy(data: bytes, edit: Edit) -> bytes:
    """An edit of the header of a .npy file, whose length is made right again."""
    if edit[1] % 3 == 0 or data[:6] != b"\x93NUMPY":
        return of_bytes(data, edit)
    (length,) = struct.unpack_from("<H", data, 8)
    header = of_bytes(data[10 : 10 + length], edit)[:65535]
    return data[:8] + struct.pack("<H", len(header)) + header + data[10 + length :]


def of_zip(data: bytes, edit: Edit, inner: Callable[[bytes, Edit], bytes] = of_npy) -> bytes:
    """An edit of a member of a .zip archive, or of its name; or of the archive's own bytes."""
    if edit[1] % 4 == 0:
        return of_bytes(data, edit)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(info.file_size for info in archive.infolist()) > 1 << 16:
            raise ValueError
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    at, out = edit[1] % len(members), io.BytesIO()
    if edit[0] == "rename":
        members[at] = ("../../outside/secret.npy" if edit[1] % 2 else str(edit[2])[:99], members[at][1])
    elif edit[0] == "remove":
        del members[at]
    else:
        members[at] = (members[at][0], inner(members[at][1], edit))
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


def of_files(data: bytes, edit: Edit) -> bytes:
    """An edit of one of several files, which are joined by a line of `SEPARATOR`."""
    files = data.split(SEPARATOR)
    at = edit[1] % len(files)
    files[at] = of_json(files[at], (edit[0], edit[1] // len(files), edit[2]))
    return SEPARATOR.join(files)


SEPARATOR = b"\n=====\n"
FORMS: dict[str, Callable[[bytes, Edit], bytes]] = {
    "bytes": of_bytes, "json": of_json, "header": of_header, "npy": of_npy, "files": of_files, "zip": of_zip,
    "pickles": lambda data, edit: of_zip(data, edit, of_bytes),
}  # fmt: skip
