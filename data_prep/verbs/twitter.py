"""`jaxtag-prep twitter`: a dataset from tweets as Twitter's API gives them."""

import argparse
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from .making import add_beam, add_making, beam_of, identity, made, preset_of, render, workers_of
from .reading import add_reading, fraction_of, ratio_of

SUMMARY = "A dataset from tweets: JSON of Twitter's API, v1.1 or v2, or of twarc."
EXAMPLES = """\
  jaxtag-prep twitter --input tweets.jsonl --out data/mine
  jaxtag-prep twitter --input 2019-01-*.jsonl.gz --out data/zsl --preset zsl
  jaxtag-prep twitter --input search.json.zst stream.jsonl.xz --out data/own --reposts drop --language-is en
"""
__all__ = ["EXAMPLES", "SUMMARY", "options", "render", "run"]


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--input", nargs="+", required=True, type=Path, metavar="FILE", help="JSON of any layout (.gz .xz .zst too)")
    add(
        "--reposts",
        choices=("original", "drop", "keep"),
        default="original",
        help="put the original in a repost's place (default), drop reposts, or keep them as their reposter's",
    )
    add_reading(parser)
    add_making(parser)
    add_beam(parser)
    add("--seed", type=int, help="of the default split (default 0)")


def run(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Prepare the tweets.

    Raises:
      JaxtagError: an argument, a file or the folder is not as it must be.
    """
    from .. import build, twitter
    from ..plan import Plan

    preset, max_bad = preset_of(arguments), fraction_of(arguments)
    reading = twitter.Reading(arguments["reposts"], arguments["encoding"], ratio_of(arguments))
    files = [Path(file) for file in arguments["input"]]
    plan = Plan(
        name=arguments["name"] or files[0].name.split(".")[0],
        licence=arguments["licence"],
        sources=[identity(file) for file in files],
        reading=reading.to_json(),
        has=("author", "time"),
        preset=preset,
    )
    chunks = twitter.read(files, reading)
    beam = beam_of(arguments, [partial(twitter.read, [file], reading) for file in files])
    return made(arguments, build.build(arguments["out"], plan, chunks, workers_of(arguments), max_bad, beam))
