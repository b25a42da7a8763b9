"""`jaxtag crossvalidate`: a recipe over the folds of a dataset."""

import argparse
from pathlib import Path

from jaxtag.verbs import shared

SUMMARY = "Train and evaluate a recipe on every fold of a dataset; mean and spread of every metric."
EXAMPLES = f"""\
  jaxtag-prep split --data DATA --name cv --folds 5
  jaxtag crossvalidate zsl/cnn --data DATA --split cv --folds 5 --run RUN
the same command goes on where it stopped: a fold that is done is not done again
{shared.OVERRIDES}"""
OVERRIDES = True
PROCESSES = "one"


def options(p: argparse.ArgumentParser) -> None:
    """Declare the options."""
    shared.recipe_options(p)
    shared.encoder_option(p)
    shared.data_option(p, required=True)
    p.add_argument("--split", default="cv", metavar="NAME", help="the folds are the splits NAME-0, NAME-1, … (cv)")
    p.add_argument("--folds", type=int, default=5, metavar="N", help="how many (5)")
    p.add_argument("--run", type=Path, required=True, metavar="RUN", help="folder; each fold is a run in it")


def run(args: argparse.Namespace) -> shared.Said:
    """Train and evaluate what is left to do, and show the table."""
    from jaxtag.crossvalidate import crossvalidate, render
    from jaxtag.parallel.compiling import keep_compiled
    from jaxtag.recipes import resolve

    experiment = resolve(args.recipe, args.size, args.overrides, args.encoder)
    keep_compiled()
    found = crossvalidate(args.run, args.recipe, experiment, args.data, args.split, args.folds)
    return found, render(found)
