"""`jaxtag sweep`: a recipe over a grid of settings."""

import argparse
from pathlib import Path

from jaxtag.errors import JaxtagError
from jaxtag.verbs import shared

SUMMARY = "Train a recipe at many settings, a grid or what Optuna chooses, and find the best by validation."
EXAMPLES = f"""\
  jaxtag sweep zsl/cnn --data DATA --run DIR --size tiny --grid training.learning_rate=1e-3,5e-3 model.dropout=0,0.2
  jaxtag-prep split --data DATA --name cv --folds 5
  jaxtag sweep zsl/rnn --data DATA --run DIR --split cv --folds 5 --grid training.learning_rate=3e-4,1e-3
  jaxtag sweep zsl/cnn --data DATA --run DIR --grid "model.hidden=128,64;256,128"      fields that are lists: ;
  jaxtag sweep zsl/ann --data DATA --run DIR --zip training.batch=64,256 training.learning_rate=1e-3,4e-3
  jaxtag sweep zsl/rnn --data DATA --run DIR --halving --grid training.learning_rate=1e-4,3e-4,1e-3,3e-3,1e-2
  jaxtag sweep zsl/rnn --data DATA --run DIR --study 40 --space training.learning_rate=1e-4..1e-2:log \\
      model.dropout=0..0.5 training.batch=32,64,128
  jaxtag sweep zsl/rnn --data DATA --run DIR --study 40 --storage postgresql://user@host/db --space ...
--study needs pip install 'jaxtag[study]'; a range is LOW..HIGH, with :log spread by its logarithm, whole numbers of a
field that is one; trials behind the median at an evaluation, or with --folds after a fold, are pruned; the same command
given once more, here or on another machine with the same --storage, is another worker on the same study
a database needs its driver, for PostgreSQL pip install 'psycopg[binary]', for MySQL pip install pymysql and an address
mysql+pymysql://...; a password is better in ~/.pgpass than in the address; no file or message of a study repeats it
runs that differ only in numbers (learning_rate, weight_decay, dropout, smoothing, l2, seed, fold ...) train together as
one program; a field that changes shapes, such as model.hidden, makes several programs, and is named
each point is cross-validated in DIR/POINT, its runs DIR/POINT/fold-0 ...; points are judged on validation parts, and
only the best one is evaluated on the test; the same command goes on where it stopped, and a larger grid adds to it
{shared.OVERRIDES}"""
OVERRIDES = True
PROCESSES = "one"


def options(p: argparse.ArgumentParser) -> None:
    """Declare the options."""
    shared.recipe_options(p)
    shared.encoder_option(p)
    shared.data_option(p, required=True)
    p.add_argument("--run", type=Path, required=True, metavar="DIR", help="folder of the search")
    p.add_argument("--grid", nargs="+", default=[], metavar="FIELD=V,V", help="every combination of these values")
    p.add_argument("--zip", nargs="+", default=[], metavar="FIELD=V,V", help="first values together, then second, ...")
    p.add_argument("--study", type=int, default=0, metavar="N", help="N trials that Optuna chooses, in place of a grid")
    p.add_argument("--space", nargs="+", default=[], metavar="FIELD=A..B", help="ranges and choices of a study")
    p.add_argument(
        "--storage",
        default="",
        metavar="URL",
        help="where a study's trials are: sqlite:///FILE, postgresql://..., mysql+pymysql://..., or a journal file "
        "(DIR/study.journal)",
    )
    p.add_argument("--split", default="", metavar="NAME", help="split, or with --folds the folds NAME-0 ... (cv)")
    p.add_argument("--folds", type=int, default=0, metavar="N", help="cross-validate each point on so many folds")
    p.add_argument(
        "--population",
        type=int,
        default=0,
        metavar="N",
        help="runs that one program trains at most (as many as memory allows; 1 trains one after the other)",
    )
    p.add_argument(
        "--halving",
        action="store_true",
        help="after 1, 2, 4, ... evaluations only the better half of a population's points goes on",
    )
    p.add_argument("--metric", default="", help="what points are judged by, such as accuracy@1 (evaluation.metric)")


def run(args: argparse.Namespace) -> shared.Said:
    """Train what is left to train, and show the table."""
    from jaxtag.parallel.compiling import keep_compiled
    from jaxtag.recipes import resolve
    from jaxtag.report.document import to_markdown
    from jaxtag.search import ranges, space
    from jaxtag.search.grid import blocks, sweep
    from jaxtag.search.study import Space, study

    base = resolve(args.recipe, args.size, args.overrides, args.encoder)
    name = args.split or ("cv" if args.folds else "")
    _check(args)
    keep_compiled()
    if args.study:
        searched = Space(args.recipe, base, ranges.parse_space(args.space, base))
        judged = (args.folds, args.metric, args.storage)
        found = study(args.run, searched, args.study, args.data, name, *judged)
        return found, to_markdown(blocks(found))
    overrides = space.product(space.side_by_side(space.parse(args.zip, base)), space.grid(space.parse(args.grid, base)))
    points = space.points(base, overrides)
    judged = (args.metric, args.population, args.halving)
    found = sweep(args.run, args.recipe, points, args.data, name, args.folds, *judged)
    return found, to_markdown(blocks(found))


def _check(args: argparse.Namespace) -> None:
    """Refuse options that do not go together.

    Raises:
      JaxtagError: a study with options of a grid, or the other way round.
    """
    grids = [n for n in ("grid", "zip", "population", "halving") if getattr(args, n)]
    studies = [n for n in ("space", "storage") if getattr(args, n)]
    if args.study and grids:
        raise JaxtagError(f"--study and --{grids[0]} do not go together", "name what a study searches with --space")
    if not args.study and studies:
        raise JaxtagError(f"--{studies[0]} is of a study, and --study is not given", "--study N trains N trials")
