"""`jaxtag recommend`: hashtags for new posts."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxtag.errors import JaxtagError
from jaxtag.verbs import shared

if TYPE_CHECKING:
    from jaxtag.requests import Reader

SUMMARY = "Recommend hashtags for a text, an image, or JSON lines from standard input."
EXAMPLES = """\
  jaxtag recommend RUN "sunset over the harbour tonight"
  jaxtag recommend RUN "sunset over the harbour tonight" -k 3 --candidates travel,food,music
  jaxtag recommend RUN "sunset over the harbour tonight" --candidates trending:7
  jaxtag recommend RUN "sunset over the harbour tonight" --author ann --explain
  jaxtag recommend RUN "sunset over the harbour tonight" --image photo.jpg
  jaxtag recommend RUN --image photo.jpg
  jaxtag recommend RUN "sunset over the harbour tonight" -k 20 --threshold 0.5     up to 20 of that probability or more
  jaxtag recommend RUN < posts.jsonl > recommended.jsonl     lines like {"text": "..."}
runs that read images: a line may have "image": "photo.jpg", beside the text or in its place
runs that read history: a line may have "author": "ann", whose latest posts in the dataset are read, or
"history": ["...", "..."], the latest first
"""
AMONG = (
    "recommend among these only, or among popular:N, the N most used, or trending:DAYS (:N), the N (100) most used in "
    "the dataset's last DAYS days; zero-shot runs take any hashtags"
)
PROCESSES = "many"


def options(p: argparse.ArgumentParser) -> None:
    """Declare the options."""
    shared.run_argument(p)
    p.add_argument("text", nargs="?", metavar="TEXT", help="a post; without it, JSON lines on standard input")
    p.add_argument("--image", type=Path, metavar="FILE", help="its image, of runs that read images")
    p.add_argument("-k", type=int, default=5, help="how many hashtags (5)")
    p.add_argument("--threshold", type=float, metavar="P", help=shared.THRESHOLD)
    p.add_argument("--candidates", metavar="A,B,C", help=AMONG)
    p.add_argument("--candidates-file", type=Path, metavar="F", help="the same, one a line")
    p.add_argument("--author", default="", metavar="ID", help="who wrote TEXT: their posts in the dataset are read too")
    p.add_argument("--explain", action="store_true", help="say which words, regions and earlier posts counted")


def run(args: argparse.Namespace) -> shared.Said:
    """Recommend; what lines are given in are answered as they come."""
    from jaxtag.data.new_images import read_named
    from jaxtag.explain import render
    from jaxtag.parallel.compiling import keep_compiled
    from jaxtag.recommend import STRANGER, is_stranger, open_recommender, recommend_lines
    from jaxtag.requests import Request

    keep_compiled()
    if args.author and args.text is None and args.image is None:
        raise JaxtagError("--author goes with a TEXT", 'in JSON lines, name each line\'s "author"')
    image = read_named(args.image) if args.image else b""
    among = args.candidates, args.candidates_file
    recommender = open_recommender(args.run, args.k, *among, args.data, args.explain, args.threshold)
    if args.text is None and args.image is None:
        return recommend_lines(recommender, sys.stdin.buffer, sys.stdout), ""
    _check(args, recommender.reader)
    request = Request(args.text or "", args.author, image=image)
    if is_stranger(recommender, request):
        print(f"jaxtag: --author {args.author}: {STRANGER}", file=sys.stderr)
    found = recommender.answer([request])[0]
    none = f"no hashtag has a probability of {recommender.threshold:g} or more"
    said = ["\n".join(map(_line, found["hashtags"])) or none] + ([render(found["explanation"])] if args.explain else [])
    asked = {"text": args.text, "image": args.image and str(args.image), "author": args.author}
    return {**{name: value for name, value in asked.items() if value}, **found}, "\n\n".join(said)


def _check(args: argparse.Namespace, reader: "Reader") -> None:
    """Refuse what the run's system does not read."""
    if args.author and not reader.reads_history:
        raise JaxtagError(f"--author {args.author}: the system of {args.run} reads no history", "leave --author out")
    if args.image and not reader.reads_images:
        raise JaxtagError(f"--image {args.image}: the system of {args.run} reads no images", "leave --image out")
    if not args.image and not reader.reads_text:
        raise JaxtagError(f"the system of {args.run} reads images alone", "give --image FILE")


def _line(row: dict[str, Any]) -> str:
    return f"#{row['hashtag']}  {row.get('probability', row.get('score')):.3f}"
