"""Options that every verb that reads a user's files shares."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtag.errors import JaxtagError


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Add the options of how files are read and what may be wrong with them."""
    add = parser.add_argument
    add("--encoding", default="utf-8", help="of text files (default utf-8)")
    add("--max-bad", type=float, default=0.01, metavar="FRACTION", help="of bad rows to put up with (default 0.01)")
    add(
        "--max-expanded",
        type=float,
        default=100.0,
        metavar="TIMES",
        help="its size that a packed file may unpack to; what is beyond is not read (default 100)",
    )
    add("--name", default="", help="of the dataset (default: the first file's)")
    add("--licence", default="", help="of the source, if known")


NAMES = "none"  # of --images: names are images


def add_images(parser: argparse.ArgumentParser, usual: str) -> None:
    """Add the option of the folder of images; `usual` says which it is where none is given."""
    parser.add_argument(
        "--images",
        metavar="DIR",
        help=f"folder that the images are in, or none: their names alone, features are given later ({usual})",
    )


def gallery_of(arguments: Mapping[str, Any], usual: Path | None, workers: int) -> Any:
    """The gallery that `--images` says, of the folder `usual` where it says nothing.

    Raises:
      JaxtagError: there is no such folder, or none is named.
    """
    from ..gallery import Gallery

    given = arguments["images"]
    if given is None and usual is None:
        raise JaxtagError("--image needs the folder of the images", "name it with --images DIR, or say --images none")
    return Gallery(None if given == NAMES else Path(given) if given else usual, workers)


def of_images(gallery: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What a plan says of a gallery: how images are read, and which folder they are from."""
    from ..gallery import identity

    if gallery.folder is None:
        return {"images": "names"}, []
    return {"images": "files"}, [identity(gallery.folder)]


def fraction_of(arguments: Mapping[str, Any]) -> float:
    """The option `--max-bad`.

    Raises:
      JaxtagError: it is no fraction.
    """
    if not 0 <= arguments["max_bad"] <= 1:
        raise JaxtagError(f"--max-bad {arguments['max_bad']} is not between 0 and 1")
    return arguments["max_bad"]


def ratio_of(arguments: Mapping[str, Any]) -> float:
    """The option `--max-expanded`.

    Raises:
      JaxtagError: it is below 1.
    """
    if not arguments["max_expanded"] >= 1:
        raise JaxtagError(f"--max-expanded {arguments['max_expanded']} is below 1")
    return arguments["max_expanded"]
