"""`jaxtag-prep wordpieces`: WordPiece ids for a dataset."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .making import workers_of

SUMMARY = "A WordPiece vocabulary, trained on the dataset or given, and every post's piece ids."
EXAMPLES = """\
  jaxtag-prep wordpieces --data data/mine
  jaxtag-prep wordpieces --data data/mine --size 8000
  jaxtag-prep wordpieces --data data/mine --vocabulary bert-base-uncased/

Adds the column wordpieces; splits and their vectors stay as they are. Given again it does nothing; with other
settings it replaces what was there. A vocabulary is a vocab.txt with one piece a line, or a folder that has one.
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="dataset folder")
    add("--size", type=int, help="pieces to train (default 30522)")
    add("--min-count", type=int, metavar="N", help="occurrences that two pieces need to be joined (default 2)")
    add("--vocabulary", type=Path, metavar="FILE|DIR", help="take the pieces from here instead of training")
    add(
        "--lower",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="fold case and accents first (default: as the folder of the vocabulary says, else yes)",
    )
    add("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")


def run(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Add the pieces.

    Raises:
      JaxtagError: no such dataset, or the vocabulary cannot be used.
    """
    from jaxtag.errors import JaxtagError

    from .. import wordpieces

    training = {key: arguments[key] for key in ("size", "min_count") if arguments[key] is not None}
    if arguments["vocabulary"] is not None and training:
        option = "--" + next(iter(training)).replace("_", "-")
        raise JaxtagError(f"{option} is of training, and --vocabulary gives pieces", "leave one of them out")
    wanted = wordpieces.Wanted(**training, vocabulary=arguments["vocabulary"], lower=arguments["lower"])
    return wordpieces.make(arguments["data"], wanted, workers_of(arguments))


def render(result: Mapping[str, Any]) -> str:
    """The pieces as lines for a reader."""
    origin = f"from {result['vocabulary']['name']}" if "vocabulary" in result else "trained on the dataset"
    unknown = f"{result['unknown']:,} unknown ({result['unknown'] / max(result['values'], 1):.1%})"
    lines = [
        f"WordPieces: {result['pieces']:,}, {origin}, case {'folded' if result['lower'] else 'kept'}",
        f"posts: {result['values']:,} pieces, {unknown}",
    ]
    return "\n".join([*lines, f"seconds: {result['seconds']}"])
