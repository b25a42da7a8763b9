"""`jaxtag sweep`: a recipe over a grid of settings."""

import argparse
from pathlib import Path

from jaxtag.verbs import shared

SUMMARY = "Train a recipe at every point of a grid of settings, and find the best by validation."
EXAMPLES = f"""\
  jaxtag sweep zsl/cnn --data DATA --run DIR --size tiny --grid training.learning_rate=1e-3,5e-3 model.dropout=0,0.2
  jaxtag-prep split --data DATA --name cv --folds 5
  jaxtag sweep zsl/rnn --data DATA --run DIR --split cv --folds 5 --grid training.learning_rate=3e-4,1e-3
  jaxtag sweep zsl/cnn --data DATA --run DIR --grid "model.hidden=128,64;256,128"      fields that are lists: ;
  jaxtag sweep zsl/ann --data DATA --run DIR --zip training.batch=64,256 training.learning_rate=1e-3,4e-3
each point is cross-validated in DIR/POINT, its runs DIR/POINT/fold-0 ...; points are judged on validation parts, and
only the best one is evaluated on the test; the same command goes on where it stopped, and a larger grid adds to it
{shared.OVERRIDES}"""
OVERRIDES = True


def options(p: argparse.ArgumentParser) -> None:
    """Declare the options."""
    shared.recipe_options(p)
    shared.encoder_option(p)
    shared.data_option(p, required=True)
    p.add_argument("--run", type=Path, required=True, metavar="DIR", help="folder of the search")
    p.add_argument("--grid", nargs="+", default=[], metavar="FIELD=V,V", help="every combination of these values")
    p.add_argument("--zip", nargs="+", default=[], metavar="FIELD=V,V", help="first values together, then second, ...")
    p.add_argument("--split", default="", metavar="NAME", help="split, or with --folds the folds NAME-0 ... (cv)")
    p.add_argument("--folds", type=int, default=0, metavar="N", help="cross-validate each point on so many folds")
    p.add_argument("--metric", default="", help="what points are judged by, such as accuracy@1 (evaluation.metric)")


def run(args: argparse.Namespace) -> shared.Said:
    """Train what is left to train, and show the table."""
    from jaxtag.parallel.compiling import keep_compiled
    from jaxtag.recipes import resolve
    from jaxtag.report.document import to_markdown
    from jaxtag.search import space
    from jaxtag.search.grid import blocks, sweep

    base = resolve(args.recipe, args.size, args.overrides, args.encoder)
    overrides = space.product(space.side_by_side(space.parse(args.zip, base)), space.grid(space.parse(args.grid, base)))
    points = space.points(base, overrides)
    keep_compiled()
    name = args.split or ("cv" if args.folds else "")
    found = sweep(args.run, args.recipe, points, args.data, name, args.folds, args.metric)
    return found, to_markdown(blocks(found))
