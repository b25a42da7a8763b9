"""Image files to pixels: every kind that is met, against Pillow's own values; every kind of bad one, by its reason."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxtag.data import pictures
from jaxtag.data.pictures import BadImage
from tests import photos


def plain(data: bytes, side: int) -> np.ndarray:
    """What Pillow makes of an image without transparency, rotation or more than 8 bits."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))


@pytest.mark.parametrize("name", photos.GOOD)
def test_good_images(name: str) -> None:
    data = photos.GOOD[name]
    found = pictures.pixels(data, 9)
    assert found.shape == (9, 9, 3) and found.dtype == np.uint8
    np.testing.assert_array_equal(found, plain(data, 9))
    seen = pictures.look(data, name)
    assert (seen.width, seen.height) == (16, 12)
    said = {
        "grey.jpg": "grey images",
        "cmyk.jpg": "images in CMYK",
        "moving.gif": "animated images, of which the first picture is taken",
        "misnamed.jpg": "images whose name says another format",
    }
    assert seen.remarks == ((said[name],) if name in said else ())


def test_a_lossless_image_keeps_its_pixels() -> None:
    square = photos.array(0, 8, 8)
    np.testing.assert_array_equal(pictures.pixels(photos.encoded(Image.fromarray(square), "PNG"), 8), square)


@pytest.mark.parametrize("name", photos.BAD)
def test_bad_images(name: str) -> None:
    data, reason = photos.BAD[name]
    for use in (pictures.look, lambda data: pictures.pixels(data, 9)):
        if data:
            with pytest.raises(BadImage, match=reason):
                use(data)


def test_files_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "large").write_bytes(b"x" * 11)
    monkeypatch.setattr(pictures, "MOST_BYTES", 10)
    for name, reason in (("none", "no such file"), ("empty", "is empty"), ("large", "11 bytes"), (".", "no such file")):
        with pytest.raises(BadImage, match=reason):
            pictures.read(tmp_path / name)


@pytest.mark.parametrize("cut", [3, 20, 100, 300])
def test_no_cut_of_a_jpeg_is_taken_for_whole(cut: int) -> None:
    data = photos.jpeg(7)
    with pytest.raises(BadImage):
        pictures.look(data[:-cut])


def test_damaged_bytes_never_raise_anything_else() -> None:
    rng = np.random.default_rng(0)
    for data in photos.GOOD.values():
        for _ in range(40):
            broken = np.frombuffer(data, np.uint8).copy()
            places = rng.integers(0, len(broken), 6)
            broken[places] = rng.integers(0, 256, 6)
            for use in (pictures.look, lambda some: pictures.pixels(some, 5)):
                try:
                    use(broken.tobytes())
                except BadImage as error:
                    assert str(error)


def test_transparent_is_white_and_sixteen_bits_are_scaled() -> None:
    clear = Image.fromarray(np.dstack([photos.array(1, 8, 8), np.zeros((8, 8), np.uint8)]), "RGBA")
    assert (pictures.pixels(photos.encoded(clear, "PNG"), 8) == 255).all()
    grey = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    found = pictures.pixels(photos.encoded(Image.fromarray(grey), "PNG"), 8)
    np.testing.assert_array_equal(found[..., 0], (grey / 257).astype(np.uint8))


def test_a_rotated_photo_is_upright() -> None:
    tall = np.zeros((12, 6, 3), np.uint8)
    tall[:4] = 255  # its top is white
    turned = Image.fromarray(np.rot90(tall))
    exif = Image.Exif()
    exif[274] = 6  # to be turned clockwise to be seen
    found = pictures.pixels(photos.encoded(turned, "PNG", exif=exif), 12)
    assert (found[:3] == 255).all() and (found[6:] == 0).all()


def test_limits_are_of_pixels_not_of_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST_PIXELS", 16 * 12)
    assert pictures.look(photos.jpeg(1)).width == 16
    monkeypatch.setattr(pictures, "MOST_PIXELS", 16 * 12 - 1)
    with pytest.raises(BadImage, match="16 x 12 pixels"):
        pictures.look(photos.jpeg(1))
