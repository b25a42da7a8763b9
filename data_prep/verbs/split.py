"""`jaxtag-prep split`: another split of a dataset."""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..rule import RULE_FIELDS
from .making import add_rule

SUMMARY = "Another split of a dataset."
EXAMPLES = """\
  jaxtag-prep split --data data/mine --name top50 --top 50 --per-post one
  jaxtag-prep split --data data/mine --name second --seed 1 --fractions 0.7,0.1,0.2
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="dataset folder")
    parser.add_argument("--name", required=True, help="of the split")
    add_rule(parser)
    parser.add_argument("--seed", type=int, help="of the division (default 0)")


def run(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Make the split, its options over the rule of the split `default`.

    Raises:
      JaxtagError: no such dataset, an option is impossible, or no post is left.
    """
    from jaxtag.data.dataset import open_dataset

    from .. import splits

    given = {key: arguments[key] for key in RULE_FIELDS if arguments[key] is not None}
    rule = replace(splits.default_rule(open_dataset(arguments["data"])), **given)
    info = splits.make(arguments["data"], arguments["name"], rule)
    return {key: value for key, value in info.items() if key not in ("files", "format")}
