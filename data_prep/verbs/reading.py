"""Options that every verb that reads a user's files shares."""

import argparse
from collections.abc import Mapping
from typing import Any

from jaxtag.errors import JaxtagError


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Add the options of how files are read and what may be wrong with them."""
    add = parser.add_argument
    add("--encoding", default="utf-8", help="of text files (default utf-8)")
    add("--max-bad", type=float, default=0.01, metavar="FRACTION", help="of bad rows to put up with (default 0.01)")
    add(
        "--max-expanded",
        type=float,
        default=100.0,
        metavar="TIMES",
        help="its size that a packed file may unpack to; what is beyond is not read (default 100)",
    )
    add("--name", default="", help="of the dataset (default: the first file's)")
    add("--licence", default="", help="of the source, if known")


def fraction_of(arguments: Mapping[str, Any]) -> float:
    """The option `--max-bad`.

    Raises:
      JaxtagError: it is no fraction.
    """
    if not 0 <= arguments["max_bad"] <= 1:
        raise JaxtagError(f"--max-bad {arguments['max_bad']} is not between 0 and 1")
    return arguments["max_bad"]


def ratio_of(arguments: Mapping[str, Any]) -> float:
    """The option `--max-expanded`.

    Raises:
      JaxtagError: it is below 1.
    """
    if not arguments["max_expanded"] >= 1:
        raise JaxtagError(f"--max-expanded {arguments['max_expanded']} is below 1")
    return arguments["max_expanded"]
