"""Files that are whole or absent: written beside, renamed into place, sealed by checksums."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from jaxtag.errors import JaxtagError

CHECKED_BYTES = 256 << 20  # larger files are checked by size alone: reading them whole would delay every start
SIDE = ".partial"  # ending of what is being written


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """An error of writing or reading that names no file, as NumPy's of a full disk, is of `path`."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file to fill beside `path`, renamed to `path` when the block ends well, removed when it does not."""
    side = path.with_name(path.name + SIDE)
    try:
        with named(path), open(side, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        side.unlink(missing_ok=True)
        raise
    side.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in one step: a reader sees the old file or the new one, whole."""
    with new_file(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with sorted keys' order kept as given, in one step."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path, what: str, mend: str = "") -> Any:
    """The JSON document at `path`; `what` names it in the error, whose mend is `mend`.

    Raises:
      JaxtagError: the file is absent, or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise JaxtagError(f"no {what} at {path}", mend) from None
    except (ValueError, RecursionError) as error:
        raise JaxtagError(f"{path} is not readable as a {what}: {error}", mend) from None


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill beside `path`, renamed to `path` when the block ends well, removed when it does not.

    A folder already at `path` is replaced only then.
    """
    side = path.with_name(path.name + SIDE)
    shutil.rmtree(side, ignore_errors=True)
    side.mkdir(parents=True)
    try:
        with named(path):
            yield side
    except BaseException:
        shutil.rmtree(side, ignore_errors=True)
        raise
    old = path.with_name(path.name + ".old")
    if path.exists():
        path.replace(old)
    side.replace(path)
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process alone while the block runs; a process that dies lets go of it.

    Raises:
      JaxtagError: another process holds it.
    """
    with open(folder / ".lock", "w") as file:
        try:
            with named(folder):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JaxtagError(f"{folder} is in use by another process", "wait for it, or name another folder") from None
        yield


def seal(folder: Path) -> dict[str, dict[str, int]]:
    """Size in bytes and CRC-32 of every file below `folder`, by relative name; stored in a manifest."""
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return {name: {"bytes": (folder / name).stat().st_size, "crc32": crc32(folder / name)} for name in names}


def check_seal(folder: Path, sealed: Mapping[str, Mapping[str, int]], mend: str) -> None:
    """Hold the files below `folder` against what `seal` found when they were written.

    Raises:
      JaxtagError: a file is missing, has another size, or (up to `CHECKED_BYTES`) another checksum; or is to lie
        outside the folder.
    """
    for name, known in sealed.items():
        path = folder / name
        if ".." in path.parts or "\0" in name or len(name) > 255 or not path.is_relative_to(folder):
            raise JaxtagError(f"{folder} is to have a file that lies elsewhere, {name!r:.80}", mend)
        if not path.is_file():
            raise JaxtagError(f"{path} is missing", mend)
        size = path.stat().st_size
        if size != known["bytes"]:
            raise JaxtagError(f"{path} has {size} bytes where {known['bytes']} were written", mend)
        if size <= CHECKED_BYTES and crc32(path) != known["crc32"]:
            raise JaxtagError(f"{path} is corrupt: its checksum is not the one written", mend)


def fingerprint(value: Any) -> str:
    """16 hexadecimal digits of the SHA-256 of `value` as canonical JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def crc32(path: Path) -> int:
    """CRC-32 of the file's bytes, read in blocks."""
    value = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            value = zlib.crc32(block, value)
    return value
