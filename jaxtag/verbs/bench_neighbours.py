"""`jaxtag bench neighbours`: how long neighbour voting takes, beside the bare matrix product that it needs."""

import argparse
from pathlib import Path

from jaxtag.verbs import shared

SUMMARY = "Measure neighbour voting on made-up features, in turn with the bare matrix product."
EXAMPLES = """\
  jaxtag bench neighbours --features DIR --out neighbours.json
  jaxtag bench neighbours --features DIR --posts 24000 --queries 2400 --rounds 3
the default is NUS-WIDE's size; DIR then holds 1.1 GB, which are made up once
leave the machine alone meanwhile"""
OVERRIDES = False
PROCESSES = "one"


def options(p: argparse.ArgumentParser) -> None:
    """Declare the options."""
    p.add_argument("--features", type=Path, required=True, metavar="DIR", help="where made-up features lie")
    p.add_argument("--posts", type=int, default=245_603, metavar="N", help="posts among which are neighbours (245603)")
    p.add_argument("--queries", type=int, default=24_560, metavar="N", help="posts whose neighbours vote (24560)")
    p.add_argument("--width", type=int, default=2048, metavar="N", help="numbers of a post (2048)")
    p.add_argument("--hashtags", type=int, default=1000, metavar="N", help="hashtags of made-up posts (1000)")
    p.add_argument("-k", type=int, default=5, metavar="N", help="neighbours that vote (5)")
    p.add_argument("--distance", choices=("l2", "cosine"), default="l2", help="by which they are near (l2)")
    p.add_argument("--rounds", type=int, default=2, metavar="N", help="pairs of runs of the whole (2)")
    p.add_argument(
        "--parts", type=int, nargs="*", default=[4, 2], metavar="N",
        help="measure an N-th of the posts, and one of the queries, beside the whole (4 2)",
    )  # fmt: skip
    p.add_argument("--out", type=Path, metavar="FILE", help="write the JSON document there as well")


def run(args: argparse.Namespace) -> shared.Said:
    """Measure, and show the table."""
    from jaxtag.bench import nearest
    from jaxtag.files import write_json

    setup = nearest.Setup(
        args.posts, args.queries, args.width, args.hashtags, args.k, args.rounds, args.distance, tuple(args.parts)
    )
    found = nearest.bench(setup, args.features)
    if args.out:
        write_json(args.out, found)
    return found, nearest.render(found)
