"""Small pictures made by Pillow, good and bad, and a folder of them, shared by the tests of images."""

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def array(seed: int, height: int = 12, width: int = 16) -> np.ndarray:
    """A picture `[height, width, 3]` uint8 that is smooth enough for JPEG."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (3, 4, 3), np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BILINEAR))


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    data = io.BytesIO()
    picture.save(data, kind, **options)
    return data.getvalue()


def jpeg(seed: int, **options: Any) -> bytes:
    return encoded(Image.fromarray(array(seed)), "JPEG", **options)


def bomb(side: int = 20_000) -> bytes:
    """A PNG of a few bytes that says it has `side` x `side` pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def gif(frames: int) -> bytes:
    first, *others = [Image.fromarray(array(i)) for i in range(frames)]
    return encoded(first, "GIF", save_all=True, append_images=others)


GOOD = {
    "a.jpg": jpeg(1),
    "b.png": encoded(Image.fromarray(array(2)), "PNG"),
    "grey.jpg": encoded(Image.fromarray(array(3)).convert("L"), "JPEG"),
    "cmyk.jpg": encoded(Image.fromarray(array(4)).convert("CMYK"), "JPEG"),
    "moving.gif": gif(3),
    "misnamed.jpg": encoded(Image.fromarray(array(5)), "PNG"),
    "below/deep.jpg": jpeg(6),
}
BAD = {
    "empty.jpg": (b"", "the file is empty"),
    "truncated.jpg": (jpeg(7)[:-200], "damaged: .*(?i:truncated)"),
    "truncated.png": (encoded(Image.fromarray(array(8)), "PNG")[:60], "damaged"),
    "page.jpg": (b"<html>not found</html>", "not an image of a format that is read"),
    "bomb.png": (bomb(), "20000 x 20000 pixels|more than"),
    "vector.svg": (b"<svg/>", "not an image"),
}


def folder(path: Path) -> Path:
    """The pictures as files, and `copy.jpg`, which has the bytes of `a.jpg`."""
    for name, data in {**GOOD, **{name: data for name, (data, _) in BAD.items()}, "copy.jpg": GOOD["a.jpg"]}.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def posts(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Rows as a table of JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path
