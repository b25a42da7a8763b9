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
  jaxtag-prep simulate --out data/pictures --posts 8000 --vague 0.8
"""
__all__ = ["EXAMPLES", "SUMMARY", "options", "render", "run"]


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--posts", type=int, required=True, metavar="N", help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of the posts and of the split (default 0)")
    parser.add_argument("--vague", type=float, metavar="V",
                        help="how much of a post's subject its text leaves to its image, above 0 and below 1 "
                             "(default 1/3)")  # fmt: skip
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

    count, seed, vague = arguments["posts"], arguments["seed"], arguments["vague"]
    preset = replace(preset_of(arguments), languages=())
    source = {"name": "simulated", "posts": count, "seed": seed}
    source |= {} if vague is None else {"vague": vague}
    plan = Plan("simulated", "none needed", [source], {}, ("author", "time", "image"), preset)
    read = partial(simulated.read, arguments["out"], count, seed, vague)
    beam = beam_of(arguments, [read])
    return made(arguments, build.build(arguments["out"], plan, read(), workers_of(arguments), beam=beam))
