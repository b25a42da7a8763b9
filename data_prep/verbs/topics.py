"""`jaxtag-prep topics`: topics for a split."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .making import workers_of

SUMMARY = "Topics for a split, by LDA on its training posts, and every post's proportions."
EXAMPLES = """\
  jaxtag-prep topics --data data/mine
  jaxtag-prep topics --data data/mine --split top50 --topics 50 --passes 10

The first words of each topic are in splits/NAME/topics/top.txt.
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="dataset folder")
    add("--split", default="", metavar="NAME", help="the split (default: default)")
    add("--topics", type=int, default=100, metavar="K", help="how many (default 100)")
    add("--passes", type=int, default=5, metavar="N", help="times through the training posts (default 5)")
    add("--alpha", type=float, default=0.0, help="prior of a topic in a post (default 1/K)")
    add("--eta", type=float, default=0.0, help="prior of a word in a topic (default 1/K)")
    add(
        "--stop-words",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="leave English stop words out, and what has no letter (default)",
    )
    add("--seed", type=int, default=0, help="default 0")
    add("--workers", type=int, default=os.cpu_count() or 1, help="processes that infer (default: one a core)")


def run(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Fit the topics.

    Raises:
      JaxtagError: no such dataset or split, an option is impossible, or there are no words.
    """
    from .. import topics

    keys = ("topics", "passes", "alpha", "eta", "stop_words", "seed")
    fitting = topics.Fitting(**{key: arguments[key] for key in keys})
    info = topics.make(arguments["data"], arguments["split"], fitting, workers_of(arguments))
    return {key: value for key, value in info.items() if key not in ("files", "format", "proportions")}


def render(result: Mapping[str, Any]) -> str:
    """The topics as lines for a reader."""
    from jaxtag.data.show import topics_text

    lines = [f"topics: {topics_text(result)}", f"proportions: of all {result['rows']:,} posts"]
    return "\n".join([*lines, f"seconds: {result['seconds']}"])
