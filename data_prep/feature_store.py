"""Folders of image features while they are made: beside their place until they are whole, and then sealed.

What a run that was stopped has left is gone on from when the same is asked again, and thrown away when it is not.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxtag.data import images
from jaxtag.data.dataset import Dataset
from jaxtag.data.images import DESCRIPTION, FORMAT, UNREADABLE
from jaxtag.errors import JaxtagError
from jaxtag.files import SIDE, fingerprint, held, read_json, seal, write_json

from .splits import NAME

_SETTINGS, _DONE, _LOCK = "settings.json", "done.txt", ".lock"  # of the work, gone in the end


def used_rows(dataset: Dataset) -> np.ndarray:
    """The rows of images that posts have, sorted, int64."""
    image = np.asarray(dataset.column("image"))
    rows = np.unique(image[image >= 0]).astype(np.int64)
    if not len(rows):
        raise JaxtagError(f"no post of {dataset.path} has an image", "prepare the dataset with images that can be read")
    return rows


def existing(dataset: Dataset, name: str, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """What was made before by the same settings; None where there is nothing of that name.

    Raises:
      JaxtagError: the name is no name of a folder, or something else is there.
    """
    if not NAME.fullmatch(name) or name.endswith((SIDE, ".old")):
        raise JaxtagError(f"{name!r} is no name for image features", "use letters, digits, '.', '_' and '-'")
    folder = dataset.path / "images" / name
    if not folder.exists():
        return None
    if not (folder / DESCRIPTION).is_file():
        raise JaxtagError(f"{folder} is there and came with the dataset", "choose another --name")
    info = read_json(folder / DESCRIPTION, "description of image features")
    differing = [key for key in settings if info.get(key) != settings[key]]
    if differing or info.get("images") != images.listing(dataset):
        what = f"{differing[0]} {info.get(differing[0])!r:.80}" if differing else "images of another list"
        raise JaxtagError(f"{folder} is there, of {what}", "choose another --name, or delete it")
    return images.open_features(dataset, name).info


@contextlib.contextmanager
def work(dataset: Dataset, name: str, settings: Mapping[str, Any]) -> Iterator[Path]:
    """The folder in which features are made; it stays when the block fails.

    Raises:
      JaxtagError: another process is at it.
    """
    side = dataset.path / "images" / (name + SIDE)
    side.mkdir(parents=True, exist_ok=True)
    with held(side):
        wanted = json.dumps({"settings": settings, "images": images.listing(dataset)}, sort_keys=True)
        path = side / _SETTINGS
        if not path.is_file() or path.read_text("utf-8") != wanted:
            for old in side.iterdir():
                if old.name != _LOCK:
                    shutil.rmtree(old) if old.is_dir() else old.unlink()
            path.write_text(wanted, "utf-8")
        yield side


def arrays(side: Path, rows: int, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The arrays to fill, zeros where nothing was written yet, memory-mapped; those of a run before where they fit."""
    found = {}
    for kind, shape in shapes.items():
        path, wanted = side / images.file_of(kind), (rows, *shape)
        with contextlib.suppress(ValueError, OSError, EOFError):
            old = np.lib.format.open_memmap(path, mode="r+")
            if old.shape == wanted and old.dtype == images.KINDS[kind][1]:
                found[kind] = old
                continue
        (side / _DONE).unlink(missing_ok=True)
        dtype = np.dtype(images.KINDS[kind][1])
        found[kind] = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=wanted)
    return found


def done(side: Path) -> set[int]:
    """The numbers of the blocks that are written."""
    path = side / _DONE
    if not path.is_file():
        return set()
    return {int(line) for line in path.read_text("utf-8").split("\n")[:-1] if line.isdigit()}  # the last may be cut


def mark(side: Path, block: int, written: Mapping[str, np.ndarray]) -> None:
    """Note that a block is written, once it is on the disk."""
    for array in written.values():
        array.flush()  # type: ignore[attr-defined]: a memory map
    with open(side / _DONE, "a", encoding="utf-8") as file:
        file.write(f"{block}\n")


def finish(
    side: Path,
    dataset: Dataset,
    name: str,
    settings: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    present: np.ndarray,
    bad: Mapping[int, str],
) -> dict[str, Any]:
    """Seal the folder and put it in its place.

    Args:
      side: the folder that `work` gave.
      dataset, name, settings: as `work` was given.
      shapes: of a row, by kind.
      present: which images have features, bool `[rows]`.
      bad: why others that posts have do not, by row.

    Returns:
      extractor.json.
    """
    np.save(side / "present.npy", present)
    files = images.files(dataset)
    with open(side / UNREADABLE, "w", encoding="utf-8") as file:
        for row in sorted(bad):
            file.write(json.dumps({"image": files[row]["file"], "row": row, "reason": bad[row]}) + "\n")
    for gone in (_SETTINGS, _DONE, DESCRIPTION, _LOCK):
        (side / gone).unlink(missing_ok=True)
    sealed = seal(side)
    info = {"format": FORMAT, "name": name, "images": images.listing(dataset), **settings, "rows": len(present)}
    info |= {"shapes": {kind: list(shape) for kind, shape in shapes.items()}, "present": int(present.sum())}
    info |= {"without": len(bad), "fingerprint": fingerprint(sealed), "files": sealed}
    write_json(side / DESCRIPTION, info)
    side.replace(dataset.path / "images" / name)
    return info


def check_bad(bad: Mapping[int, str], of: int, most: float, files: list[dict[str, Any]]) -> None:
    """Give up when more than `most` of the images are bad.

    Raises:
      JaxtagError: they are; the message has the count and the first.
    """
    if len(bad) <= most * of:
        return
    row = min(bad)
    raise JaxtagError(
        f"{len(bad)} of {of} images have no features, more than --max-bad {most:g} allows: "
        f"{files[row]['file']!r:.100}: {bad[row]}",
        "mend them and give the same command again, or allow more with --max-bad",
    )
