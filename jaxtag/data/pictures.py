"""One image file to pixels: read within bounds and decoded by Pillow, whatever is in it.

Files are untrusted: only formats of photographs are read, an image is never decoded before its size is known, and
whatever Pillow raises on damaged bytes is a `BadImage` that says why.
"""

import io
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

MOST_BYTES = 1 << 28  # of a file
MOST_PIXELS = 1 << 26  # of an image: 8192 x 8192
_FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "BMP", "AVIF")
_ENDINGS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"), "MPO": (".jpg", ".jpeg", ".mpo"), "PNG": (".png",), "GIF": (".gif",),
    "WEBP": (".webp",), "BMP": (".bmp",), "AVIF": (".avif",),
}  # fmt: skip
_ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")


class BadImage(Exception):
    """An image that cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Look:
    """What an image is.

    Attributes:
      width, height: in pixels, as stored.
      remarks: what is unusual about it, in words to be counted.
    """

    width: int
    height: int
    remarks: tuple[str, ...]


def read(path: Path) -> bytes:
    """The bytes of the image file at `path`.

    Raises:
      BadImage: there is no such file, it is empty or far too large, or it cannot be read.
    """
    try:
        if not path.is_file():
            raise BadImage("there is no such file")
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise BadImage(f"a file of {size} bytes, more than {MOST_BYTES}")
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise BadImage(f"the file cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not data:
        raise BadImage("the file is empty")
    return data


def look(data: bytes, name: str = "") -> Look:
    """Decode a whole image, as coarsely as its format allows, to see that it can be.

    Args:
      data: the file's bytes.
      name: of the file, whose ending may say another format.

    Raises:
      BadImage: it cannot be decoded, or is too large.
    """
    image = _opened(data)
    size, kind, mode = image.size, str(image.format), image.mode
    try:
        animated = kind in _ANIMATED and getattr(image, "is_animated", False)
        image.draft("RGB", (1, 1))  # a JPEG is read to its end all the same
        image.load()
    except Exception as error:  # Pillow's readers raise anything on hostile bytes
        raise _damaged(error) from None
    ending = Path(name).suffix.lower()
    remarks = ("animated images, of which the first picture is taken",) if animated else ()
    remarks += ("grey images",) if mode in ("1", "L", "LA", "I", "I;16", "I;16B", "F") else ()
    remarks += ("images in CMYK",) if mode == "CMYK" else ()
    misnamed = ending and ending not in _ENDINGS[kind]
    remarks += ("images whose name says another format",) if misnamed else ()
    return Look(size[0], size[1], remarks)


def pixels(data: bytes, side: int) -> np.ndarray:
    """An image as networks take it: its first picture, upright, on white where transparent, squeezed to a square.

    Args:
      data: the file's bytes.
      side: pixels of a side; resized by Pillow's bilinear filter.

    Returns:
      `[side, side, 3]` uint8, red first.

    Raises:
      BadImage: it cannot be decoded, or is too large.
    """
    image = _opened(data)
    try:
        return np.asarray(_rgb(image).resize((side, side), _pillow().Resampling.BILINEAR))
    except Exception as error:  # as above
        raise _damaged(error) from None


@cache
def _pillow() -> Any:
    from PIL import Image

    Image.init()
    # Pillow warns of large images on standard error; here they are refused by their size.
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    return Image


def _opened(data: bytes) -> Any:
    """The image, its size known and within bounds, not decoded yet."""
    pillow = _pillow()
    try:
        image = pillow.open(io.BytesIO(data), formats=[name for name in _FORMATS if name in pillow.OPEN])
    except pillow.UnidentifiedImageError:
        raise BadImage(f"not an image of a format that is read ({', '.join(_FORMATS)})") from None
    except pillow.DecompressionBombError:
        raise BadImage(f"more than {MOST_PIXELS} pixels") from None
    except Exception as error:  # as above
        raise _damaged(error) from None
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise BadImage(f"{width} x {height} pixels, more than {MOST_PIXELS}")
    if width * height == 0:
        raise BadImage("an image without pixels")
    return image


def _rgb(image: Any) -> Any:
    """The image in red, green and blue of 8 bits."""
    from PIL import ImageOps

    pillow = _pillow()
    image = ImageOps.exif_transpose(image)
    if image.mode[0] in "IF":  # 16 bits or more of grey, which `convert` would cut off at 255
        values = np.clip(np.asarray(image, np.float32), 0, 65535) / 257
        return pillow.fromarray(values.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        above = image.convert("RGBA")
        return pillow.alpha_composite(pillow.new("RGBA", above.size, "white"), above).convert("RGB")
    return image.convert("RGB")


def _damaged(error: Exception) -> BadImage:
    said = " ".join(str(error).split()) or type(error).__name__
    return BadImage(f"damaged: {said:.200}")
