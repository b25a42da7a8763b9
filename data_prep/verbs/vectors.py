"""`jaxtag-prep vectors`: word vectors for a split."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .making import workers_of

SUMMARY = "Word vectors for a split, by word2vec."
EXAMPLES = """\
  jaxtag-prep vectors --data data/mine
  jaxtag-prep vectors --data data/mine --split top50 --setting transductive --dim 300 --epochs 10
  jaxtag-prep vectors --data data/mine --workers 2     faster, but no two runs alike
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="dataset folder")
    add("--split", default="", metavar="NAME", help="the split (default: default)")
    add("--setting", choices=("inductive", "transductive"), default="inductive", help="which texts (default inductive)")
    add("--model", choices=("skipgram", "cbow"), default="skipgram", help="default skipgram")
    add("--dim", type=int, default=150, help="numbers of a vector (default 150)")
    add("--epochs", type=int, default=5, help="times through the texts (default 5)")
    add("--window", type=int, default=5, help="words on each side (default 5)")
    add("--min-count", type=int, default=2, help="occurrences that a word needs (default 2)")
    add("--seed", type=int, default=0, help="default 0")
    add("--workers", type=int, default=1, help="threads; with more than 1 no two runs are alike (default 1)")


def run(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Train the vectors.

    Raises:
      JaxtagError: no such dataset or split, an option is impossible, or no word is frequent enough.
    """
    from .. import word_vectors

    keys = ("setting", "model", "dim", "epochs", "window", "min_count", "seed")
    training = word_vectors.Training(**{key: arguments[key] for key in keys})
    info = word_vectors.make(arguments["data"], arguments["split"], training, workers_of(arguments))
    return {key: value for key, value in info.items() if key not in ("files", "format")}
