"""`jaxtag train`: train a recipe."""

import argparse
from pathlib import Path

from jaxtag.verbs import shared

SUMMARY = "Train a recipe on a dataset, or go on where the run stopped."
EXAMPLES = f"""\
  jaxtag train zsl/cnn --data DATA --run RUN
  jaxtag train zsl/rnn_attention --data DATA --run RUN --size tiny --training.epochs 3
  jaxtag train zsl/eszsl --data DATA --split zero --run RUN --encoder zsl/transformer --encoder.training.epochs 3
  jaxtag train my_recipes.py:wider --data DATA --run RUN --parallel.fsdp 4
the same command goes on where an interrupted run stopped
{shared.OVERRIDES}"""
OVERRIDES = True
PROCESSES = "many"


def options(p: argparse.ArgumentParser) -> None:
    """Declare the options."""
    shared.recipe_options(p)
    shared.encoder_option(p)
    shared.data_option(p, required=True)
    shared.split_option(p)
    p.add_argument(
        "--run", type=Path, required=True, metavar="RUN", help="folder of the run; gone on with if it exists"
    )


def run(args: argparse.Namespace) -> shared.Said:
    """Train, and say how it went."""
    from jaxtag.data.dataset import open_dataset
    from jaxtag.parallel.compiling import keep_compiled, spent
    from jaxtag.recipes import resolve
    from jaxtag.runs import bind
    from jaxtag.training.train import train

    experiment = resolve(args.recipe, args.size, args.overrides, args.encoder)
    dataset = open_dataset(args.data)
    keep_compiled()
    bound = bind(experiment, dataset, dataset.split(args.split))
    return shared.lines(train(args.run, args.recipe, bound) | spent())
