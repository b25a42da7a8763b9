"""`jaxtag recommend`: hashtags for new posts."""

import argparse
import sys
from pathlib import Path
from typing import Any

from jaxtag.verbs import shared

SUMMARY = "Recommend hashtags for a text, or for JSON lines from standard input."
EXAMPLES = """\
  jaxtag recommend RUN "sunset over the harbour tonight"
  jaxtag recommend RUN "sunset over the harbour tonight" -k 3 --candidates travel,food,music
  jaxtag recommend RUN "sunset over the harbour tonight" --candidates trending:7
  jaxtag recommend RUN < posts.jsonl > recommended.jsonl     lines like {"text": "..."}
"""
AMONG = (
    "recommend among these only, or among popular:N, the N most used, or trending:DAYS (:N), the N (100) most used in "
    "the dataset's last DAYS days; zero-shot runs take any hashtags"
)


def options(p: argparse.ArgumentParser) -> None:
    """Declare the options."""
    shared.run_argument(p)
    p.add_argument("text", nargs="?", metavar="TEXT", help="a post; without it, JSON lines on standard input")
    p.add_argument("-k", type=int, default=5, help="how many hashtags (5)")
    p.add_argument("--candidates", metavar="A,B,C", help=AMONG)
    p.add_argument("--candidates-file", type=Path, metavar="F", help="the same, one a line")


def run(args: argparse.Namespace) -> shared.Said:
    """Recommend; what lines are given in are answered as they come."""
    from jaxtag.parallel.compiling import keep_compiled
    from jaxtag.recommend import open_recommender, recommend_lines

    keep_compiled()
    recommender = open_recommender(args.run, args.k, args.candidates, args.candidates_file, args.data)
    if args.text is None:
        return recommend_lines(recommender, sys.stdin.buffer, sys.stdout), ""
    found = recommender([args.text])[0]
    return {"text": args.text, "hashtags": found}, "\n".join(map(_line, found))


def _line(row: dict[str, Any]) -> str:
    return f"#{row['hashtag']}  {row.get('probability', row.get('score')):.3f}"
