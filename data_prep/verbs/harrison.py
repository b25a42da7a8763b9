"""`jaxtag-prep harrison`: a dataset from HARRISON."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .making import add_making, identity, made, preset_of, render, workers_of
from .reading import add_images, fraction_of, gallery_of, of_images

SUMMARY = "A dataset from HARRISON: photos of Instagram with their hashtags."
EXAMPLES = """\
  jaxtag-prep harrison --input HARRISON --out data/harrison
  jaxtag-prep harrison --input HARRISON --out data/harrison --images /photos
  jaxtag-prep harrison --input HARRISON --out data/names --images none

HARRISON has data_list.txt and tag_list.txt; the photos that they list, instagram_dataset/..., are below --images.
"""
__all__ = ["EXAMPLES", "SUMMARY", "options", "render", "run"]


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--input", required=True, type=Path, metavar="DIR", help="folder that has the lists")
    add_images(parser, "default: --input")
    add("--encoding", default="utf-8", help="of the lists (default utf-8)")
    add("--max-bad", type=float, default=0.01, metavar="FRACTION", help="of bad lines to put up with (default 0.01)")
    add("--name", default="harrison", help="of the dataset (default harrison)")
    add("--licence", default="", help="of the source, if known")
    add_making(parser, "amnn")
    add("--seed", type=int, help="of the default split (default 0)")


def run(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Prepare the photos.

    Raises:
      JaxtagError: an argument, a list or the folder is not as it must be.
    """
    from .. import build, gallery, harrison
    from ..plan import Plan

    preset, max_bad, workers = preset_of(arguments, "harrison"), fraction_of(arguments), workers_of(arguments)
    photos, hashtags = harrison.lists(arguments["input"])
    images = gallery_of(arguments, arguments["input"], workers)
    how, folder = of_images(images)
    reading = {"source": "harrison", "encoding": arguments["encoding"], **how}
    sources = [identity(photos), identity(hashtags)] + folder
    plan = Plan(arguments["name"], arguments["licence"], sources, reading, ("image",), preset)
    chunks = gallery.kept(arguments["out"], images, harrison.read(photos, hashtags, images, arguments["encoding"]))
    return made(arguments["out"], build.build(arguments["out"], plan, chunks, workers, max_bad))
