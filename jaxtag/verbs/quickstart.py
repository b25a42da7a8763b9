"""`jaxtag quickstart`: the whole job once."""

import argparse
from pathlib import Path

from jaxtag.verbs import shared

SUMMARY = "Do the whole job once on simulated posts: prepare, train, evaluate, recommend, report."
EXAMPLES = """\
  jaxtag quickstart
  jaxtag quickstart --out try --posts 5000
"""
PROCESSES = "one"


def options(p: argparse.ArgumentParser) -> None:
    """Declare the options."""
    p.add_argument("--out", type=Path, default=Path("quickstart"), metavar="DIR", help="folder to write (quickstart)")
    p.add_argument("--posts", type=int, default=20_000, help="simulated posts (20000)")


def run(args: argparse.Namespace) -> shared.Said:
    """Run every step as a command of its own."""
    from jaxtag.quickstart import run

    return shared.lines(run(args.out, args.posts))
