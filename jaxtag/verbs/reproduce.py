"""`jaxtag reproduce`: a paper's tables and figures."""

import argparse
from pathlib import Path

from jaxtag.errors import JaxtagError, nearest
from jaxtag.verbs import shared

SUMMARY = "Run what makes a paper's tables and figures, and show ours beside the paper's."
EXAMPLES = """\
  jaxtag-prep simulate --out DATA --posts 4000
  jaxtag reproduce zsl --data DATA --out OUT --size tiny
  jaxtag-prep posts --input posts.csv --out DATA --text text --preset zsl
  jaxtag reproduce zsl --data DATA --out OUT --tables 3 --cap 150 --rnn.model.width 256 --transformer.training.epochs 5
  jaxtag reproduce zsl --data DATA --out OUT --pretrained glove.txt
splits and word vectors are made in DATA by jaxtag-prep, as the commands shown; what is done is not done again, so the
same command goes on where it stopped. Fields of a recipe are set with its name before them: --cnn.model.filters 64
"""
OVERRIDES = True
PAPERS = ("zsl",)


def options(p: argparse.ArgumentParser) -> None:
    """Declare the options."""
    p.add_argument("paper", help="zsl")
    p.add_argument("--data", required=True, metavar="[NAME=]DIR", help="dataset folder; zsl has one dataset")
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of runs, tables and pictures")
    shared.size_option(p)
    p.add_argument("--tables", nargs="+", metavar="N", help="only these: 1 2 3 4, and 7.4, the section (all)")
    which = "what zero-shot methods start from (zsl/rnn; at size tiny zsl/ann)"
    p.add_argument("--encoder", default="", metavar="RECIPE", help=which)
    p.add_argument("--top", type=int, metavar="N", help="most used hashtags that are kept (50)")
    p.add_argument("--min-posts", type=int, metavar="N", help="posts that each must have (200)")
    p.add_argument("--cap", type=int, metavar="N", help="posts that each has at most, drawn at random (0: all)")
    p.add_argument("--folds", type=int, metavar="N", help="of Table 2 (5)")
    p.add_argument("--seeds", type=int, metavar="N", help="seeded splits behind each row of Table 3 (5)")
    p.add_argument("--dim", type=int, metavar="N", help="numbers of a word vector (150)")
    which = "transductive, inductive, or both with a comma, the first in Table 2 (transductive,inductive)"
    p.add_argument("--vectors", metavar="SETTING", help=which)
    which = "of Table 3: zero-shot, few-shot, or both with a comma (both)"
    p.add_argument("--kinds", metavar="KIND", help=which)
    p.add_argument("--pretrained", type=Path, metavar="FILE", help="word vectors to compare with: word2vec, GloVe, ...")


def run(args: argparse.Namespace) -> shared.Said:
    """Run what is left to run, and say where the page is."""
    if args.paper not in PAPERS:
        raise JaxtagError(f"no paper {args.paper!r} to reproduce", nearest(args.paper, PAPERS))
    from jaxtag.parallel.compiling import keep_compiled
    from jaxtag.reproduce import zsl, zsl_work

    settings, kinds = (tuple(given.split(",")) if given else None for given in (args.vectors, args.kinds))
    changed = {name: getattr(args, name) for name in ("top", "min_posts", "cap", "folds", "seeds", "dim")}
    changed |= {"settings": settings, "kinds": kinds, "file": args.pretrained}
    data = Path(args.data.rpartition("=")[2])
    work = zsl_work.work_of(data, args.out, args.size, args.encoder, args.overrides, **changed)
    keep_compiled()
    found = zsl.reproduce(work, tuple(args.tables or zsl.PARTS))
    absent = [f"table {n} left out: {t['absent']}" for n, t in found["tables"].items() if "absent" in t]
    return found, "\n".join(
        [*absent, (args.out / "zsl.md").read_text(encoding="utf-8"), f"page: {args.out / 'index.html'}"]
    )
