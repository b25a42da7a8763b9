"""`jaxtag data show`: what is in a dataset folder."""

import argparse
from pathlib import Path

from jaxtag.verbs import shared

SUMMARY = "Show a dataset: where its posts went, statistics, and its splits with their leakage audits."
EXAMPLES = """\
  jaxtag data show DATA
  jaxtag data show DATA --json
"""


def options(p: argparse.ArgumentParser) -> None:
    """Declare the options."""
    p.add_argument("dir", type=Path, metavar="DIR", help="dataset folder")


def run(args: argparse.Namespace) -> shared.Said:
    """The description."""
    from jaxtag.data.inspect import describe
    from jaxtag.data.show import render

    found = describe(args.dir)
    return found, render(found)
