"""`jaxtag-prep instagram`: a dataset from posts that Instaloader saved."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .making import add_making, made, preset_of, render, workers_of
from .reading import add_images, fraction_of, gallery_of, of_images, ratio_of

SUMMARY = "A dataset from Instagram posts as Instaloader saves them, of profiles or hashtags."
EXAMPLES = """\
  jaxtag-prep instagram --input downloads --out data/instagram
  jaxtag-prep instagram --input downloads --out data/all --preset general --language-is en
  jaxtag-prep instagram --input metadata --images none --out data/names

A post is the files of one stem: NAME.json.xz or NAME.json, NAME.txt with its caption, and NAME.jpg, or NAME_1.jpg,
NAME_2.jpg ... of a post with several images, of which the first that can be read is taken.
"""
__all__ = ["EXAMPLES", "SUMMARY", "options", "render", "run"]


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--input", required=True, type=Path, metavar="DIR", help="folder of Instaloader's folders")
    add_images(parser, "default: --input")
    add("--max-bad", type=float, default=0.01, metavar="FRACTION", help="of bad posts to put up with (default 0.01)")
    add("--max-expanded", type=float, default=100.0, metavar="TIMES", help="its size that a packed file may unpack to")
    add("--name", default="instagram", help="of the dataset (default instagram)")
    add("--licence", default="", help="of the source, if known")
    add_making(parser, "amnn")
    add("--seed", type=int, help="of the default split (default 0)")


def run(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Prepare the posts.

    Raises:
      JaxtagError: an argument or the folder is not as it must be, or it has no posts.
    """
    from .. import build, gallery, instagram
    from ..plan import Plan

    preset, max_bad, workers = preset_of(arguments, "instagram"), fraction_of(arguments), workers_of(arguments)
    images, expanded = gallery_of(arguments, arguments["input"], workers), ratio_of(arguments)
    how, folder = of_images(images)
    same = images.folder == arguments["input"]
    sources = folder if same else [gallery.identity(arguments["input"]), *folder]
    reading = {"source": "instagram", "max_expanded": expanded, **how}
    plan = Plan(arguments["name"], arguments["licence"], sources, reading, ("author", "time", "image"), preset)
    chunks = gallery.kept(arguments["out"], images, instagram.read(arguments["input"], images, expanded))
    return made(arguments, build.build(arguments["out"], plan, chunks, workers, max_bad))
