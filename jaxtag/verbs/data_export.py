"""`jaxtag data export`: a part of a split for other tools."""

import argparse
from pathlib import Path

from jaxtag.verbs import shared

SUMMARY = "Write a part of a split as JSON lines that any other tool can read."
EXAMPLES = """\
  jaxtag data export DATA --part test --out test.jsonl
"""


def options(p: argparse.ArgumentParser) -> None:
    """Declare the options."""
    p.add_argument("dir", type=Path, metavar="DIR", help="dataset folder")
    shared.split_option(p)
    shared.part_option(p)
    p.add_argument("--out", type=Path, required=True, metavar="F", help="file to write")


def run(args: argparse.Namespace) -> shared.Said:
    """Export, and say how many posts."""
    from jaxtag.data.inspect import export

    return shared.lines(export(args.dir, args.split, args.part, args.out))
