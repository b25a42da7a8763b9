"""`jaxtag-prep simulate`: a dataset of simulated posts."""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from .making import add_beam, add_making, beam_of, made, preset_of, render, workers_of

SUMMARY = "A dataset of simulated posts."
EXAMPLES = """\
  jaxtag-prep simulate --out data/simulated --posts 20000
  jaxtag-prep simulate --out data/other --posts 100000 --seed 7 --min-hashtag-posts 50
"""
__all__ = ["EXAMPLES", "SUMMARY", "options", "render", "run"]


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--posts", type=int, required=True, metavar="N", help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of the posts and of the split (default 0)")
    add_making(parser)
    add_beam(parser)


def run(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Simulate and prepare.

    Raises:
      JaxtagError: an argument or the folder is not as it must be.
    """
    from .. import build
    from .. import simulate as simulated
    from ..plan import Plan

    count, seed = arguments["posts"], arguments["seed"]
    preset = replace(preset_of(arguments), languages=())
    source = {"name": "simulated", "posts": count, "seed": seed}
    plan = Plan("simulated", "none needed", [source], {}, ("author", "time", "image"), preset)
    read = partial(simulated.read, arguments["out"], count, seed)
    beam = beam_of(arguments, [read])
    return made(arguments, build.build(arguments["out"], plan, read(), workers_of(arguments), beam=beam))
