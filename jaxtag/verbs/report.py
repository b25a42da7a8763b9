"""`jaxtag report`: tables, pictures and a page."""

import argparse
from pathlib import Path

from jaxtag.verbs import shared

SUMMARY = "Compare runs: tables, pictures and a page."
EXAMPLES = """\
  jaxtag report RUN1 RUN2 --out REPORT
"""


def options(p: argparse.ArgumentParser) -> None:
    """Declare the options."""
    p.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of evaluated runs")
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")


def run(args: argparse.Namespace) -> shared.Said:
    """Write the report, and say where it is."""
    from jaxtag.report.page import write

    return shared.lines(write(args.runs, args.out))
