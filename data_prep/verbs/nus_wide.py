"""`jaxtag-prep nus-wide`: a dataset from NUS-WIDE."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .making import add_making, identity, made, preset_of, render, workers_of
from .reading import add_images, fraction_of, gallery_of, of_images

SUMMARY = "A dataset from NUS-WIDE: photos of Flickr with their tags."
EXAMPLES = """\
  jaxtag-prep nus-wide --input NUS-WIDE --out data/nus_wide
  jaxtag-prep nus-wide --input NUS-WIDE/lists --images NUS-WIDE/Flickr --out data/nus_wide
  jaxtag-prep nus-wide --input NUS-WIDE --out data/names --images none --max-hashtags 30

NUS-WIDE, or a folder below it, has Imagelist.txt and All_Tags.txt; where Final_Tag_List.txt is there too, only the
tags that it lists are taken. A photo may lie at its published path below --images, or under its Flickr id alone.
"""
__all__ = ["EXAMPLES", "SUMMARY", "options", "render", "run"]


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--input", required=True, type=Path, metavar="DIR", help="folder that has the lists")
    add_images(parser, "default: --input")
    add("--encoding", default="utf-8", help="of the lists (default utf-8)")
    add("--max-bad", type=float, default=0.01, metavar="FRACTION", help="of bad lines to put up with (default 0.01)")
    add("--name", default="nus-wide", help="of the dataset (default nus-wide)")
    add("--licence", default="", help="of the source, if known")
    add_making(parser, "amnn")
    add("--seed", type=int, help="of the default split (default 0)")


def run(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Prepare the photos.

    Raises:
      JaxtagError: an argument, a list or the folder is not as it must be.
    """
    from .. import build, gallery, nus_wide
    from ..plan import Plan

    preset, max_bad, workers = preset_of(arguments, "nus-wide"), fraction_of(arguments), workers_of(arguments)
    photos, tags, known = nus_wide.lists(arguments["input"])
    images = gallery_of(arguments, arguments["input"], workers)
    how, folder = of_images(images)
    reading = {"source": "nus-wide", "encoding": arguments["encoding"], **how}
    sources = [identity(file) for file in (photos, tags, known) if file] + folder
    plan = Plan(arguments["name"], arguments["licence"], sources, reading, ("image",), preset)
    chunks = gallery.kept(arguments["out"], images, nus_wide.read(photos, tags, known, images, arguments["encoding"]))
    return made(arguments["out"], build.build(arguments["out"], plan, chunks, workers, max_bad))
