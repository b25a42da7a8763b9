"""`jaxtag-prep split`: another split of a dataset, or its folds."""

import argparse
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxtag.errors import JaxtagError

from ..rule import RULE_FIELDS, SPLIT_FIELDS
from .making import add_rule

SUMMARY = "Another split of a dataset, or its folds, with an audit of what leaks."
EXAMPLES = """\
  jaxtag-prep split --data data/mine --name top50 --top 50 --per-post one --cap 150
  jaxtag-prep split --data data/mine --name late --division time --fractions 0.7,0.1,0.2
  jaxtag-prep split --data data/mine --name fold --folds 5                 fold-0 ... fold-4, stratified
  jaxtag-prep split --data data/mine --name zero-0 --unseen 10 --seed 0
  jaxtag-prep split --data data/mine --name few-0 --unseen 10 --seed 0 --shots 5-10
  jaxtag-prep split --data data/mine --name named --unseen-hashtags travel,food,sea --generalised
  jaxtag-prep split --data data/mine --name new --division time --unseen-after 2024-01-01
options that are not given are those of the split `default`
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="dataset folder")
    add("--name", required=True, help="of the split")
    add_rule(parser)
    ways = "by time the latest posts test; by author none is in two parts (default random)"
    add("--division", choices=("random", "time", "author"), help=ways)
    add("--folds", type=int, metavar="N", help="N splits NAME-0 ... that test on a share of the posts each")
    add("--validation", type=float, metavar="X", help="share of a fold's other posts for validation (default 0.1)")
    add("--unseen", type=int, metavar="N", help="so many hashtags, drawn at random, are in no training post")
    add("--unseen-hashtags", metavar="A,B,C|FILE", help="the same by name; a file has one a line")
    add("--seen-hashtags", metavar="A,B,C|FILE", help="those that train; without an unseen list all others are unseen")
    add("--unseen-after", metavar="TIME", help="hashtags first used after it are unseen; needs --division time")
    add("--shots", metavar="LOW-HIGH", help="posts of each unseen hashtag that train all the same, such as 5-10")
    add("--generalised", action="store_true", default=None, help="seen hashtags are candidates too, and tested on")
    add("--seed", type=int, help="of everything drawn (default 0)")


def run(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Make the split, its options over the rule of the split `default`.

    Raises:
      JaxtagError: no such dataset, an option is impossible, or no post is left.
    """
    from jaxtag.data.dataset import open_dataset

    from .. import splits

    given = {key: arguments[key] for key in (*RULE_FIELDS, *SPLIT_FIELDS) if arguments[key] is not None}
    given |= {key: _hashtags(given[key], key) for key in ("unseen_hashtags", "seen_hashtags") if key in given}
    if "unseen_after" in given:
        given["unseen_after"] = _seconds(given["unseen_after"])
    if "shots" in given:
        given["shots"] = _shots(given["shots"])
    if "validation" in given and not given.get("folds"):
        raise JaxtagError("--validation is of folds", "give --folds N, or all three parts with --fractions")
    if "fractions" in given and given.get("folds"):
        raise JaxtagError("folds have no --fractions", "give --validation, the share of a fold's other posts")
    rule = replace(splits.default_rule(open_dataset(arguments["data"])), **given)
    if rule.folds:
        return {"splits": [_said(info) for info in splits.make_folds(arguments["data"], arguments["name"], rule)]}
    return _said(splits.make(arguments["data"], arguments["name"], rule))


def render(result: Mapping[str, Any]) -> str:
    """The splits as `jaxtag data show` shows them."""
    from jaxtag.data.show import splits_lines

    lines = splits_lines({info["name"]: info for info in result.get("splits", [result])})
    return "\n".join([*lines[1:], f"seconds: {result['seconds']}"])


def _said(info: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in info.items() if key not in ("files", "format")}


def _hashtags(listed: str, option: str) -> tuple[str, ...]:
    """Hashtags of a list with commas, or of a file with one a line; with or without '#', once each."""
    names = listed.split(",")
    if len(names) == 1 and Path(listed).is_file():
        try:
            names = Path(listed).read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise JaxtagError(f"{listed} is not UTF-8: {error}", "give a text file with one hashtag a line") from None
    cleaned = (unicodedata.normalize("NFC", name.strip().lstrip("#＃").lower()) for name in names)
    unique = tuple(dict.fromkeys(name for name in cleaned if name))
    if not unique:
        raise JaxtagError(f"--{option.replace('_', '-')} names no hashtag", "name some, separated by commas")
    return unique


def _seconds(text: str) -> int:
    from .. import times

    try:
        return times.seconds(text)
    except ValueError as error:
        raise JaxtagError(f"--unseen-after: {error}", "say a time such as 2024-01-31 or 2024-01-31T18:00") from None


def _shots(text: str) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    try:
        return int(low), int(high if dash else low)
    except ValueError:
        raise JaxtagError(f"--shots {text!r} is no range of counts", "say 5-10, or 5") from None
