"""The `jaxtag` command: one short function a verb, no logic of its own, nothing heavy imported for --help."""

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from jaxtag.errors import JaxtagError, Preempted, nearest

Said = tuple[Any, str]  # what --json prints, and what a person reads instead


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are JaxtagErrors, and whose options cannot be abbreviated."""

    def __init__(self, *args: Any, **kwargs: Any):
        kwargs |= {"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter}
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print."""
        raise JaxtagError(message, f"see {self.prog} --help")


def train(args: argparse.Namespace) -> Said:
    """Train a recipe on a dataset, or go on where the run stopped."""
    from jaxtag.data.dataset import open_dataset
    from jaxtag.parallel.compiling import keep_compiled
    from jaxtag.recipes import resolve
    from jaxtag.runs import bind
    from jaxtag.training.loop import train as run_training

    experiment = resolve(args.recipe, args.size, args.overrides)
    dataset = open_dataset(args.data)
    keep_compiled()
    bound = bind(experiment, dataset, dataset.split(args.split))
    return _lines(run_training(args.run, args.recipe, bound))


def evaluate(args: argparse.Namespace) -> Said:
    """Evaluate a run on a part of its split, beside the built-in baselines."""
    from jaxtag.evaluation.evaluate import evaluate as run_evaluation
    from jaxtag.parallel.compiling import keep_compiled
    from jaxtag.report.tables import metrics_table

    keep_compiled()
    found = run_evaluation(args.run, args.part, args.data)
    return found, metrics_table({found["recipe"]: found, **found["baselines"]})


def recommend(args: argparse.Namespace) -> Said:
    """Recommend hashtags for a text, or for JSON lines from standard input."""
    from jaxtag.parallel.compiling import keep_compiled
    from jaxtag.recommend import open_recommender, recommend_lines

    keep_compiled()
    recommender = open_recommender(args.run, args.k, args.candidates, args.candidates_file, args.data)
    if args.text is None:
        return recommend_lines(recommender, sys.stdin.buffer, sys.stdout), ""
    found = recommender([args.text])[0]
    return {"text": args.text, "hashtags": found}, "\n".join(f"#{r['hashtag']}  {r['probability']:.3f}" for r in found)


def systems(args: argparse.Namespace) -> Said:
    """List the recipes: paper, columns read, kind of output, default objective."""
    from jaxtag.recipes import recipe_rows
    from jaxtag.report.tables import markdown

    rows = recipe_rows()
    return rows, markdown(rows, list(rows[0]))


def data_show(args: argparse.Namespace) -> Said:
    """Show a dataset: where its posts went, its columns and its splits."""
    from jaxtag.data.inspect import describe, render

    found = describe(args.dir)
    return found, render(found)


def data_export(args: argparse.Namespace) -> Said:
    """Write a part of a split as JSON lines that any other tool can read."""
    from jaxtag.data.inspect import export

    return _lines(export(args.dir, args.split, args.part, args.out))


def report(args: argparse.Namespace) -> Said:
    """Compare runs: tables, pictures and a page."""
    from jaxtag.report.page import write

    return _lines(write(args.runs, args.out))


def quickstart(args: argparse.Namespace) -> Said:
    """Do the whole job once on simulated posts: prepare, train, evaluate, recommend, report."""
    from jaxtag.quickstart import run

    return _lines(run(args.out, args.posts))


def _lines(found: dict[str, Any]) -> Said:
    """A result whose values a person reads line by line."""
    return found, "\n".join(f"{key}: {value}" for key, value in found.items() if not isinstance(value, dict | list))


def parser() -> Parser:
    """The command line as a whole."""
    root = Parser(
        prog="jaxtag",
        description="Train, compare and use hashtag recommenders in JAX.",
        epilog="first time here: jaxtag quickstart",
    )
    verbs = root.add_subparsers(dest="verb", required=True, metavar="VERB")
    _train_options(_verb(verbs, "train", train, TRAIN_EXAMPLES + OVERRIDES))
    _evaluate_options(_verb(verbs, "evaluate", evaluate, EVALUATE_EXAMPLES))
    _recommend_options(_verb(verbs, "recommend", recommend, RECOMMEND_EXAMPLES))
    _verb(verbs, "systems", systems, "\n  jaxtag systems\n  jaxtag systems --json\n")
    data = verbs.add_parser("data", help="show or export a dataset")
    data_verbs = data.add_subparsers(dest="data_verb", required=True, metavar="VERB")
    show = _verb(data_verbs, "show", data_show, "\n  jaxtag data show DATA\n")
    show.add_argument("dir", type=Path, metavar="DIR", help="dataset folder")
    _export_options(_verb(data_verbs, "export", data_export, EXPORT_EXAMPLES))
    _report_options(_verb(verbs, "report", report, "\n  jaxtag report RUN1 RUN2 --out REPORT\n"))
    _quickstart_options(_verb(verbs, "quickstart", quickstart, QUICKSTART_EXAMPLES))
    return root


TRAIN_EXAMPLES = """
  jaxtag train zsl/cnn --data DATA --run RUN
  jaxtag train zsl/rnn_attention --data DATA --run RUN --size tiny --training.epochs 3
  jaxtag train my_recipes.py:wider --data DATA --run RUN --parallel.fsdp 4
the same command goes on where an interrupted run stopped
"""
EVALUATE_EXAMPLES = """
  jaxtag evaluate RUN
  jaxtag evaluate RUN --part validation --json
"""
RECOMMEND_EXAMPLES = """
  jaxtag recommend RUN "sunset over the harbour tonight"
  jaxtag recommend RUN "sunset over the harbour tonight" -k 3 --candidates travel,food,music
  jaxtag recommend RUN < posts.jsonl > recommended.jsonl     lines like {"text": "..."}
"""
EXPORT_EXAMPLES = "\n  jaxtag data export DATA --part test --out test.jsonl\n"
QUICKSTART_EXAMPLES = "\n  jaxtag quickstart\n  jaxtag quickstart --out try --posts 5000\n"
OVERRIDES = """
every field of the experiment can be set: --training.learning_rate 3e-4 --model.dropout 0.3
--data.length 32 --parallel.fsdp 4 (the run's experiment.json lists them all)
"""


def _train_options(p: Parser) -> None:
    p.add_argument("recipe", help="such as zsl/cnn (see jaxtag systems), or path/to/file.py:function")
    p.add_argument("--data", type=Path, required=True, metavar="DIR", help="dataset folder")
    p.add_argument("--split", default="", metavar="NAME", help="split of the dataset (the one named default)")
    p.add_argument(
        "--run", type=Path, required=True, metavar="RUN", help="folder of the run; gone on with if it exists"
    )
    p.add_argument("--size", default="paper", metavar="SIZE", help="paper, or tiny: seconds on a CPU (paper)")
    p.set_defaults(takes_overrides=True)


def _evaluate_options(p: Parser) -> None:
    p.add_argument("run", type=Path, metavar="RUN", help="folder of a trained run")
    p.add_argument("--part", default="test", metavar="PART", help="train, validation or test (test)")
    p.add_argument("--data", type=Path, metavar="DIR", help="dataset folder, if it has moved since training")


def _recommend_options(p: Parser) -> None:
    p.add_argument("run", type=Path, metavar="RUN", help="folder of a trained run")
    p.add_argument("text", nargs="?", metavar="TEXT", help="a post; without it, JSON lines on standard input")
    p.add_argument("-k", type=int, default=5, help="how many hashtags (5)")
    p.add_argument("--candidates", metavar="A,B,C", help="recommend among these only")
    p.add_argument("--candidates-file", type=Path, metavar="F", help="the same, one a line")
    p.add_argument("--data", type=Path, metavar="DIR", help="dataset folder, if it has moved since training")


def _export_options(p: Parser) -> None:
    p.add_argument("dir", type=Path, metavar="DIR", help="dataset folder")
    p.add_argument("--split", default="", metavar="NAME", help="split of the dataset (the one named default)")
    p.add_argument("--part", default="test", metavar="PART", help="train, validation or test (test)")
    p.add_argument("--out", type=Path, required=True, metavar="F", help="file to write")


def _report_options(p: Parser) -> None:
    p.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of evaluated runs")
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")


def _quickstart_options(p: Parser) -> None:
    p.add_argument("--out", type=Path, default=Path("quickstart"), metavar="DIR", help="folder to write (quickstart)")
    p.add_argument("--posts", type=int, default=20_000, help="simulated posts (20000)")


def _verb(verbs: Any, name: str, function: Callable[[argparse.Namespace], Said], examples: str) -> Parser:
    """One verb: its help is its function's docstring, followed by examples."""
    text = (function.__doc__ or "").strip()
    p = verbs.add_parser(
        name, help=text[0].lower() + text[1:].rstrip("."), description=text, epilog="examples:" + examples
    )
    p.add_argument("--json", action="store_true", help="print one JSON document on standard output")
    p.set_defaults(function=function, takes_overrides=False)
    return p


def _overrides(extra: Sequence[str], allowed: bool) -> dict[str, str]:
    """`--part.field value` and `--part.field=value` as a mapping."""
    found: dict[str, str] = {}
    rest = list(extra)
    while rest:
        key, equals, value = rest.pop(0).partition("=")
        if not (allowed and key.startswith("--") and "." in key):
            raise JaxtagError(f"unknown argument {key!r}", "see --help")
        if not equals:
            if not rest:
                raise JaxtagError(f"{key} has no value")
            value = rest.pop(0)
        found[key[2:]] = value
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0, 2 for the user's mistake, 1 for ours, 75 when stopped and saved."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        known = ("train", "evaluate", "recommend", "systems", "data", "report", "quickstart")
        if argv and not argv[0].startswith("-") and argv[0] not in known:
            raise JaxtagError(f"no verb {argv[0]!r}", nearest(argv[0], known))
        args, extra = parser().parse_known_args(argv)
        args.overrides = _overrides(extra, args.takes_overrides)
        found, text = args.function(args)
        if args.json and found is not None:
            print(json.dumps(found, ensure_ascii=False))
        elif text:
            print(text)
    except JaxtagError as error:
        print(f"jaxtag: {error}", file=sys.stderr)
        sys.exit(2)
    except Preempted as error:
        print(f"jaxtag: {error}", file=sys.stderr)
        sys.exit(75)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read the output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception:
        traceback.print_exc()
        sys.exit(1)


if __name__ == "__main__":
    main()
