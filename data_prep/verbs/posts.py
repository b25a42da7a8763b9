"""`jaxtag-prep posts`: a dataset from tables of posts."""

import argparse
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from jaxtag.errors import JaxtagError

from .making import add_beam, add_making, beam_of, identity, made, preset_of, render, workers_of
from .reading import add_images, add_reading, fraction_of, gallery_of, of_images, ratio_of

SUMMARY = "A dataset from tables of posts: CSV, Parquet, JSON."
EXAMPLES = """\
  jaxtag-prep posts --input posts.csv --out data/mine --text content --author author_id --time publish_date
  jaxtag-prep posts --input a.parquet b.parquet --out data/en --text text --language lang --language-is en
  jaxtag-prep posts --input p.jsonl.gz --out data/zsl --text text --language lang --preset zsl --repost type=R
  jaxtag-prep posts --input posts.jsonl --out data/photos --text text --image photo --images photos --preset amnn
  jaxtag-prep posts --input 2019-*.parquet --out data/all --text text --beam runner=FlinkRunner,flink_master=host:8081
"""
__all__ = ["EXAMPLES", "SUMMARY", "options", "render", "run"]


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add(
        "--input",
        nargs="+",
        required=True,
        type=Path,
        metavar="FILE",
        help=".csv .tsv .jsonl .json (.gz .xz .zst too), .parquet",
    )
    add("--text", default="", metavar="COL", help="column of the text; may be left out where there are images")
    add("--author", default="", metavar="COL", help="column of the author")
    add("--time", default="", metavar="COL", help="column of the time: ISO 8601, 10/31/2017 19:58, Unix time …")
    add("--language", default="", metavar="COL", help="column of the language")
    add("--hashtags", default="", metavar="COL", help="column of hashtags, added to those in the text")
    add("--id", default="", metavar="COL", help="column of the post's id")
    add("--image", default="", metavar="COL", help="column of the image, or list of images: a path below --images")
    add_images(parser, "needed with --image")
    add(
        "--repost",
        default="",
        metavar="COL[=VALUE]",
        help="reposts: rows with this value (any but 0 or false, with none)",
    )
    add_reading(parser)
    add_making(parser)
    add_beam(parser)
    add("--seed", type=int, help="of the default split (default 0)")


def run(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Prepare the tables.

    Raises:
      JaxtagError: an argument, a file or the folder is not as it must be.
    """
    from .. import build, gallery, posts
    from ..plan import Plan

    preset, max_bad, pictured = preset_of(arguments), fraction_of(arguments), bool(arguments["image"])
    if not arguments["text"] and not pictured:
        raise JaxtagError("posts need a text, or an image", "name the column with --text, or with --image")
    if pictured and arguments["beam"] is not None:
        raise JaxtagError("--beam prepares posts without images", "prepare posts with images with --workers")
    if arguments["images"] is not None and not pictured:
        raise JaxtagError("--images says where images are, and no column names any", "name it with --image")
    repost, _, value = arguments["repost"].partition("=")
    named = {
        key: arguments[key] for key in ("text", "author", "time", "language", "hashtags", "id", "image", "encoding")
    }
    mapping = posts.Mapping(**named, repost=repost, repost_value=value, max_expanded=ratio_of(arguments))
    files = [Path(file) for file in arguments["input"]]
    images = gallery_of(arguments, None, workers_of(arguments)) if pictured else None
    how, folder = of_images(images) if images else ({}, [])
    plan = Plan(
        name=arguments["name"] or files[0].name.split(".")[0],
        licence=arguments["licence"],
        sources=[identity(file) for file in files] + folder,
        reading=mapping.to_json() | how,
        has=tuple(key for key in ("author", "time", "image") if arguments[key]),
        preset=preset,
    )
    beam = beam_of(arguments, [partial(posts.read, [file], mapping) for file in files])
    chunks = posts.read(files, mapping, images)
    if images:
        chunks = gallery.kept(arguments["out"], images, chunks)
    return made(arguments, build.build(arguments["out"], plan, chunks, workers_of(arguments), max_bad, beam))
