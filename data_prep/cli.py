"""The `jaxtag-prep` command: one short function per verb; what they do lives in the other modules."""

import argparse
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from jaxtag.errors import JaxtagError, nearest


class _Parser(argparse.ArgumentParser):
    """A parser whose mistakes are one line, with the nearest right name."""

    def error(self, message: str) -> NoReturn:
        raise JaxtagError(message, f"see {self.prog} --help")

    def check(self, argv: Sequence[str]) -> None:
        """Find options that there are not, before a missing one is complained of."""
        known = [option for option in self._option_string_actions if option.startswith("--")]
        for argument in argv:
            name = argument.partition("=")[0]
            if name.startswith("--") and name not in (*known, "--"):
                raise JaxtagError(f"{self.prog} has no option {name}", nearest(name, known))


def _posts(arguments: argparse.Namespace) -> dict[str, Any]:
    from .importing import posts

    return posts(vars(arguments))


def _simulate(arguments: argparse.Namespace) -> dict[str, Any]:
    from .importing import simulate

    return simulate(vars(arguments))


def _split(arguments: argparse.Namespace) -> dict[str, Any]:
    from .importing import split

    return split(vars(arguments))


def _vectors(arguments: argparse.Namespace) -> dict[str, Any]:
    from .importing import vectors

    return vectors(vars(arguments))


def main(argv: Sequence[str] | None = None) -> int:
    """Run `jaxtag-prep`; returns the exit code: 0, 2 (the user's mistake), 1 (ours) or 130 (interrupted)."""
    argv = sys.argv[1:] if argv is None else list(argv)
    started = time.monotonic()
    try:
        parser, verbs = _parsers()
        if argv and not argv[0].startswith("-") and argv[0] not in verbs:
            raise JaxtagError(f"no verb {argv[0]!r}", nearest(argv[0], verbs))
        if argv and argv[0] in verbs:
            verbs[argv[0]].check(argv[1:])
        arguments = parser.parse_args(argv)
        result = arguments.run(arguments) | {"seconds": round(time.monotonic() - started, 1)}
        print(json.dumps(result, ensure_ascii=False) if arguments.json else _render(result))
    except JaxtagError as error:
        print(f"jaxtag-prep: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:  # a full disk, a folder that may not be written
        print(f"jaxtag-prep: {error.filename or 'reading or writing'}: {error.strerror or error}", file=sys.stderr)
        return 2
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def _render(result: dict[str, Any]) -> str:
    """A result as lines for a reader."""
    lines = []
    for key, value in result.items():
        if key == "funnel":
            lines += [f"{step['posts']:>12,}  {step['step']}" for step in value]
        elif isinstance(value, dict):
            lines.append(f"{key}: " + ", ".join(f"{name} {number}" for name, number in value.items()))
        else:
            lines.append(f"{key}: {', '.join(map(str, value)) if isinstance(value, list) else value}")
    return "\n".join(lines)


def _parsers() -> tuple[_Parser, dict[str, _Parser]]:
    parser = _Parser(
        prog="jaxtag-prep",
        description="Make dataset folders that jaxtag trains on. A run that was stopped goes on when given again.",
        epilog="jaxtag-prep VERB --help has examples.",
        allow_abbrev=False,
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    found: dict[str, _Parser] = {}

    def verb(name: str, run: Callable[[argparse.Namespace], dict[str, Any]], summary: str, examples: str) -> _Parser:
        found[name] = verbs.add_parser(
            name,
            help=summary,
            description=summary,
            epilog="examples:\n" + examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        found[name].set_defaults(run=run)
        found[name].add_argument("--json", action="store_true", help="print exactly one JSON document")
        return found[name]

    _add_posts(verb("posts", _posts, "A dataset from tables of posts: CSV, Parquet, JSON lines.", _POSTS_EXAMPLES))
    _add_simulate(verb("simulate", _simulate, "A dataset of simulated posts.", _SIMULATE_EXAMPLES))
    _add_split(verb("split", _split, "Another split of a dataset.", _SPLIT_EXAMPLES))
    _add_vectors(verb("vectors", _vectors, "Word vectors for a split, by word2vec.", _VECTORS_EXAMPLES))
    return parser, found


_POSTS_EXAMPLES = """\
  jaxtag-prep posts --input posts.csv --out data/mine --text content --author author_id --time publish_date
  jaxtag-prep posts --input a.parquet b.parquet --out data/en --text text --language lang --language-is en
  jaxtag-prep posts --input p.jsonl.gz --out data/zsl --text text --language lang --preset zsl --repost type=R
"""
_SIMULATE_EXAMPLES = """\
  jaxtag-prep simulate --out data/simulated --posts 20000
  jaxtag-prep simulate --out data/other --posts 100000 --seed 7 --min-hashtag-posts 50
"""
_SPLIT_EXAMPLES = """\
  jaxtag-prep split --data data/mine --name top50 --top 50 --per-post one
  jaxtag-prep split --data data/mine --name second --seed 1 --fractions 0.7,0.1,0.2
"""
_VECTORS_EXAMPLES = """\
  jaxtag-prep vectors --data data/mine
  jaxtag-prep vectors --data data/mine --split top50 --setting transductive --dim 300 --epochs 10
  jaxtag-prep vectors --data data/mine --workers 2     faster, but no two runs alike
"""


def _add_posts(parser: _Parser) -> None:
    add = parser.add_argument
    add("--input", nargs="+", required=True, type=Path, metavar="FILE", help=".csv .tsv .jsonl (.gz) or .parquet files")
    add("--text", required=True, metavar="COL", help="column of the text")
    add("--author", default="", metavar="COL", help="column of the author")
    add("--time", default="", metavar="COL", help="column of the time: ISO 8601, 10/31/2017 19:58, Unix time …")
    add("--language", default="", metavar="COL", help="column of the language")
    add("--hashtags", default="", metavar="COL", help="column of hashtags, added to those in the text")
    add("--id", default="", metavar="COL", help="column of the post's id")
    add("--repost", default="", metavar="COL[=VALUE]", help="drop rows with this value (any but 0 or false, with none)")
    add("--encoding", default="utf-8", help="of text files (default utf-8)")
    add("--max-bad", type=float, default=0.01, metavar="FRACTION", help="of bad rows to put up with (default 0.01)")
    add("--name", default="", help="of the dataset (default: the first file's)")
    add("--licence", default="", help="of the source, if known")
    _add_making(parser)


def _add_simulate(parser: _Parser) -> None:
    parser.add_argument("--posts", type=int, required=True, metavar="N", help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of the posts and of the split (default 0)")
    _add_making(parser)


def _add_making(parser: _Parser) -> None:
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    add("--preset", default="general", help="general (default) or zsl: the settings that the options below start from")
    add("--language-is", metavar="VALUE[,VALUE]", help="languages to keep; any keeps all")
    add("--ascii-only", action=argparse.BooleanOptionalAction, default=None, help="delete characters outside ASCII")
    add("--stop-words", action=argparse.BooleanOptionalAction, default=None, help="drop English stop words")
    add("--words-counted", choices=("source", "cleaned"), help="which words --min-words counts")
    add("--history", type=int, metavar="M", help="earlier posts of the author to remember (default 5)")
    add("--workers", type=int, default=os.cpu_count() or 1, help="processes that clean text (default: one a core)")
    _add_rule(parser)
    if parser.prog.endswith("posts"):
        add("--seed", type=int, help="of the default split (default 0)")


def _add_rule(parser: _Parser) -> None:
    add = parser.add_argument
    add("--min-words", type=int, metavar="N", help="words that an example must have")
    add("--min-hashtag-posts", type=int, metavar="N", help="examples that a kept hashtag must have")
    add("--top", type=int, metavar="N", help="keep only so many of the most used hashtags; 0 keeps all")
    add("--per-post", choices=("all", "one"), help="all kept hashtags of a post, or only posts with exactly one")
    add("--min-word-count", type=int, metavar="N", help="training posts' occurrences that make a word known")
    add("--fractions", type=numbers, metavar="A,B,C", help="of train, validation and test (default 0.8,0.1,0.1)")


def _add_split(parser: _Parser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="dataset folder")
    parser.add_argument("--name", required=True, help="of the split")
    _add_rule(parser)
    parser.add_argument("--seed", type=int, help="of the division (default 0)")


def _add_vectors(parser: _Parser) -> None:
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


def numbers(text: str) -> tuple[float, ...]:
    """Numbers with commas between them; argparse names the function in its message."""
    return tuple(float(part) for part in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
