"""Options and endings that several verbs share."""

import argparse
from pathlib import Path
from typing import Any

Said = tuple[Any, str]  # what --json prints, and what a person reads instead

THRESHOLD = "recommend what has this probability or more, of runs with the objective sigmoid; 0 is none (the run's own)"
OVERRIDES = """\
every field of the experiment can be set: --training.learning_rate 3e-4 --model.dropout 0.3
--data.length 32 --parallel.fsdp 4 (the run's experiment.json lists them all)
"""


def recipe_options(p: argparse.ArgumentParser, default: str = "paper") -> None:
    """A recipe, and the size it is taken at."""
    p.add_argument("recipe", help="such as zsl/cnn (see jaxtag systems), or path/to/file.py:function")
    size_option(p, default)


def size_option(p: argparse.ArgumentParser, default: str = "paper") -> None:
    """`--size`."""
    p.add_argument("--size", default=default, metavar="SIZE", help=f"paper, or tiny: seconds on a CPU ({default})")


def encoder_option(p: argparse.ArgumentParser) -> None:
    """`--encoder`."""
    p.add_argument(
        "--encoder",
        default="",
        metavar="RECIPE",
        help="of a zero-shot recipe: what it starts from (its own), such as zsl/transformer; or vectors, the mean of a "
        "post's word vectors",
    )


def data_option(p: argparse.ArgumentParser, required: bool = False, help: str = "dataset folder") -> None:
    """`--data`."""
    p.add_argument("--data", type=Path, required=required, metavar="DIR", help=help)


def split_option(p: argparse.ArgumentParser) -> None:
    """`--split`."""
    p.add_argument("--split", default="", metavar="NAME", help="split of the dataset (the one named default)")


def part_option(p: argparse.ArgumentParser) -> None:
    """`--part`."""
    p.add_argument("--part", default="test", metavar="PART", help="train, validation or test (test)")


def run_argument(p: argparse.ArgumentParser) -> None:
    """The run a verb is about, and where its dataset lies now."""
    p.add_argument("run", type=Path, metavar="RUN", help="folder of a trained run")
    data_option(p, help="dataset folder, if it has moved since training")


def lines(found: dict[str, Any]) -> Said:
    """A result whose values a person reads line by line."""
    return found, "\n".join(f"{key}: {value}" for key, value in found.items() if not isinstance(value, dict | list))
