"""`jaxtag-prep instacities`: a dataset from InstaCities1M or InstaNY100K."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .making import add_making, identity, made, preset_of, render, workers_of
from .reading import NAMES, add_images, fraction_of, gallery_of, of_images

SUMMARY = "A dataset from InstaCities1M or InstaNY100K: captions and images of Instagram by city."
EXAMPLES = """\
  jaxtag-prep instacities --input InstaNY100K --out data/ny
  jaxtag-prep instacities --input InstaCities1M --list train.txt val.txt --out data/cities --cities cities.txt
  jaxtag-prep instacities --input InstaNY100K --out data/names --images none     regions of the images come later
  jaxtag-prep instacities --input InstaNY100K --out data/ny --propose-mapping mapping.tsv
  jaxtag-prep instacities --input InstaNY100K --out data/mapped --mapping mapping.tsv

A post is a caption and an image of one name, CITY/ID.txt and CITY/ID.jpg, in whatever folders: captions/newyork and
img_resized/newyork of InstaNY100K, say. Images without a caption, and lines of lists without a post, are bad rows;
images that are missing are counted, and their posts read without. The preset's steps are the lxmert4hashtag paper's:
posts of five words, no reposts, the 500 most used hashtags, no cities, five hashtags a post, none of fewer than ten
posts. A mapping list puts hashtags in the place of their variants; the one proposed is to be checked by hand first.
"""
__all__ = ["EXAMPLES", "SUMMARY", "options", "render", "run"]


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--input", required=True, type=Path, metavar="DIR", help="folder that has the captions")
    add_images(parser, "default: --input")
    which = "lists of the posts to take, CITY/ID or ID a line (default: all posts)"
    add("--list", nargs="+", default=[], type=Path, metavar="FILE", help=which)
    which = "posts that say that they repeat another's, #repost or 'Repost from @name' (default drop)"
    add("--reposts", choices=("drop", "keep"), default="drop", help=which)
    add("--encoding", default="utf-8", help="of captions and lists (default utf-8)")
    add("--max-bad", type=float, default=0.01, metavar="FRACTION", help="of bad rows to put up with (default 0.01)")
    add("--name", default="instacities", help="of the dataset (default instacities)")
    add("--licence", default="", help="of the source, if known")
    add_making(parser, "lxmert4hashtag")
    add("--seed", type=int, help="of the default split (default 0)")


def run(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Prepare the posts.

    Raises:
      JaxtagError: an argument, a list or the folder is not as it must be, or it has no posts.
    """
    from .. import build, gallery, instacities
    from ..plan import Plan

    folder, out = arguments["input"], arguments["out"]
    preset, max_bad, workers = preset_of(arguments, "instacities"), fraction_of(arguments), workers_of(arguments)
    wanted = instacities.Wanted(folder, tuple(arguments["list"]), arguments["reposts"], arguments["encoding"])
    lists = [identity(path) for path in wanted.lists]
    below = Path(arguments["images"]) if arguments["images"] not in (None, NAMES) else folder
    layout = instacities.find(folder, None if arguments["images"] == NAMES else below)
    images = gallery_of(arguments, folder, workers)
    how, told = of_images(images)
    sources = [*lists, *(told if below == folder and told else [gallery.identity(folder), *told])]
    reading = {"source": "instacities", "reposts": wanted.reposts, "encoding": wanted.encoding, **how}
    plan = Plan(arguments["name"], arguments["licence"], sources, reading, ("image",), preset)
    chunks = gallery.kept(out, images, instacities.read(wanted, layout, images))
    return made(arguments, build.build(out, plan, chunks, workers, max_bad))
