"""Files from anywhere as text: plain or packed (gzip, xz, zstd, bzip2), told by their bytes, unpacked within bounds.

A file that breaks off or is damaged ends at the break and says so in `broken`; what came before it is kept.
"""

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from pathlib import Path
from typing import Any

from jaxtag.errors import JaxtagError

PACKED = {".gz", ".xz", ".zst", ".bz2"}  # endings that a name may have for it; the bytes decide
MOST_EXPANDED = 100.0  # times its packed size that a file may unpack to, if no other bound is given
ALWAYS_EXPANDED = 1 << 24  # bytes that any packed file may unpack to: small ones of few words shrink more
MOST_MEMORY = 1 << 28  # bytes for an xz file's dictionary: its default is 64 MiB at most

_STEP = 1 << 16
_ZSTD_STEP = 1 << 12  # what one read holds is lost when it fails (with what pyarrow holds, about a million bytes)
_MARKS = {b"\x1f\x8b": "gzip", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2"}
_OTHERS = {b"PK\x03\x04": "zip", b"7z\xbc\xaf": "7z", b"Rar!": "rar"}
_WIDE = (b"\xff\xfe", b"\xfe\xff")


class Unpacked(io.RawIOBase):
    """The bytes of a file, unpacked.

    Attributes:
      broken: why the file ended early, or ''.
      done: how much of the file is behind, 0 to 1.

    Raises:
      JaxtagError: it is packed in a way that is not read.
    """

    def __init__(self, path: Path, most_expanded: float = MOST_EXPANDED):
        self.broken = ""
        self._size = max(1, path.stat().st_size)
        self._most, self._read = most_expanded, 0
        self._raw = open(path, "rb")  # noqa: SIM115
        head = self._raw.read(8)
        self._raw.seek(0)
        kind = next((kind for mark, kind in _MARKS.items() if head.startswith(mark)), "")
        other = next((kind for mark, kind in _OTHERS.items() if head.startswith(mark)), "")
        if other or (not kind and path.suffix.lower() in PACKED and not _plain(head)):
            self._raw.close()
            said = f"is a {other} archive" if other else f"is named {path.suffix} and is no such archive, nor text"
            raise JaxtagError(f"{path} {said}", "unpack it first, or pack it with gzip, xz or zstd")
        self.packed = bool(kind)
        self._source = _opened(kind, self._raw)
        self._step = _ZSTD_STEP if kind == "zstd" else _STEP

    @property
    def done(self) -> float:
        """How much of the file is behind, 0 to 1."""
        return min(1.0, self._raw.tell() / self._size)

    def readable(self) -> bool:
        """Always."""
        return True

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            self._source.close()
            self._raw.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` from its start; 0 at the end, or where the file is broken."""
        if self.broken:
            return 0
        try:
            part = self._source.read1(min(len(buffer), self._step))
        except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            self.broken = f"the archive is truncated or damaged here ({error})"
            return 0
        allowed = int(max(ALWAYS_EXPANDED, self._most * self._size)) - self._read
        if self.packed and len(part) > allowed:
            part = part[:allowed]
            self.broken = (
                f"the archive unpacks to more than {self._most:g} times its size here (--max-expanded allows more)"
            )
        self._read += len(part)
        buffer[: len(part)] = part
        return len(part)


def _plain(head: bytes) -> bool:
    """Whether a file that begins so can be text."""
    return head.startswith(_WIDE) or not any(byte < 9 for byte in head)


def _opened(kind: str, raw: Any) -> Any:
    """`raw` unpacked: an object with read1 and close."""
    if kind == "gzip":
        return gzip.GzipFile(fileobj=raw)
    if kind == "zstd":
        return _Zstd(raw)
    if kind:
        return _Blocks(raw, kind)
    return raw


class _Zstd:
    """pyarrow's reader of zstd, several frames in a row too; it refuses windows above 128 MiB."""

    def __init__(self, raw: Any):
        import pyarrow as pa

        self.stream = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")

    def read1(self, size: int) -> bytes:
        return self.stream.read(size)

    def close(self) -> None:
        self.stream.close()


class _Blocks:
    """xz or bzip2, several streams in a row too, never more than `MOST_MEMORY` (LZMAFile has no such bound)."""

    def __init__(self, raw: Any, kind: str):
        self.raw, self.kind = raw, kind
        self.unpacker, self.left = self._unpacker(), b""

    def _unpacker(self) -> Any:
        return bz2.BZ2Decompressor() if self.kind == "bzip2" else lzma.LZMADecompressor(memlimit=MOST_MEMORY)

    def read1(self, size: int) -> bytes:
        while True:
            if self.unpacker.eof:
                self.left = (self.unpacker.unused_data or self.raw.read(_STEP)).lstrip(b"\0")  # padding between streams
                if not self.left:
                    return b""
                self.unpacker = self._unpacker()
            if not self.left and self.unpacker.needs_input and not (more := self.raw.read(_STEP)):
                raise EOFError("it ends in the middle")
            if not self.left and self.unpacker.needs_input:
                self.left = more
            part, self.left = self.unpacker.decompress(self.left, size), b""
            if part:
                return part

    def close(self) -> None:
        pass


class Text:
    """A file as characters; bytes that are not of the encoding come as lone surrogates (see `lines.escaped`).

    Attributes:
      path, encoding: of the file.

    Raises:
      JaxtagError: it is in another encoding by its first bytes, packed in a way that is not read, or there is no
        such encoding.
    """

    def __init__(self, path: Path, encoding: str = "utf-8", most_expanded: float = MOST_EXPANDED):
        try:
            codecs.lookup(encoding)
            "".encode(encoding)
        except (LookupError, UnicodeError):
            raise JaxtagError(f"no encoding {encoding!r} is known", "give --encoding utf-8, cp1252, utf-16 …") from None
        self.path, self.encoding = path, encoding
        self._unpacked, self._unfit = Unpacked(path, most_expanded), ""
        buffered = io.BufferedReader(self._unpacked, _STEP)
        head = buffered.peek(512)[:512]
        wide = encoding.lower().replace("_", "-").startswith(("utf-16", "utf-32"))
        wrong = JaxtagError(f"{path} line 1: not {encoding}, it looks like UTF-16", "give --encoding utf-16")
        if head[257:262] == b"ustar":
            wrong, wide = JaxtagError(f"{path} is a tar archive", "unpack it first"), False
        elif not head.startswith(_WIDE) and (len(head) < 2 or bool(head[0]) == bool(head[1])):
            wrong = None
        if wrong and not wide:
            buffered.close()
            raise wrong
        exact = "utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding
        self._text = io.TextIOWrapper(buffered, exact, errors="surrogateescape", newline="")

    @property
    def broken(self) -> str:
        """Why the file ended early, or ''."""
        return self._unpacked.broken or self._unfit

    @property
    def done(self) -> float:
        """How much of the file is behind, 0 to 1."""
        return self._unpacked.done

    def read(self, size: int) -> str:
        """At most `size` characters; '' at the end, or where the file is broken."""
        return self._guarded(self._text.read, size)

    def readline(self, size: int) -> str:
        """A line with its end, cut at `size` characters; '' at the end, or where the file is broken."""
        return self._guarded(self._text.readline, size)

    def _guarded(self, read: Any, size: int) -> str:
        try:
            return "" if self._unfit else read(size)
        except UnicodeError as error:
            self._unfit = f"not {self.encoding} from here on ({error})"
            return ""

    def close(self) -> None:
        """Close the file."""
        self._text.close()
