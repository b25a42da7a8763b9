"""`jaxtag reproduce`: a paper's tables and figures."""

import argparse
from pathlib import Path
from typing import Any

from jaxtag.errors import JaxtagError, nearest
from jaxtag.verbs import shared

SUMMARY = "Run what makes a paper's tables and figures, and show ours beside the paper's."
EXAMPLES = """\
  jaxtag-prep simulate --out DATA --posts 4000
  jaxtag reproduce zsl --data DATA --out OUT --size tiny
  jaxtag-prep posts --input posts.csv --out DATA --text text --preset zsl
  jaxtag reproduce zsl --data DATA --out OUT --tables 3 --cap 150 --rnn.model.width 256 --transformer.training.epochs 5
  jaxtag reproduce zsl --data DATA --out OUT --pretrained glove.txt
  jaxtag-prep posts --input posts.csv --out DATA --text text --author author --time time --preset hmemn2n
  jaxtag reproduce hmemn2n --data DATA --out OUT --seeds 3 --hmemn2n.training.epochs 20
splits and word vectors are made in DATA by jaxtag-prep, as the commands shown; what is done is not done again, so the
same command goes on where it stopped. Fields of a recipe are set with its name before them: --cnn.model.filters 64
"""
OVERRIDES = True
# Tables of each paper, and the options that are its own.
PAPERS = {
    "zsl": ("1 2 3 4 7.4", ("encoder", "top", "min_posts", "cap", "folds", "vectors", "kinds")),
    "hmemn2n": ("1 2 3", ("split",)),
}


def options(p: argparse.ArgumentParser) -> None:
    """Declare the options."""
    p.add_argument("paper", help=" or ".join(PAPERS))
    p.add_argument("--data", required=True, metavar="[NAME=]DIR", help="dataset folder; each paper has one dataset")
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of runs, tables and pictures")
    shared.size_option(p)
    which = "; ".join(f"{paper} {tables}" for paper, (tables, _) in PAPERS.items())
    p.add_argument("--tables", nargs="+", metavar="N", help=f"only these: {which}; 7.4 is the section (all)")
    p.add_argument("--seeds", type=int, metavar="N", help="of zsl, splits behind a row of Table 3 (5); else runs (1)")
    p.add_argument("--dim", type=int, metavar="N", help="numbers of a word vector (zsl 150; the SVMs of hmemn2n 300)")
    which = "word vectors: of zsl, to compare with; of hmemn2n, the SVMs': word2vec, GloVe, ..."
    p.add_argument("--pretrained", type=Path, metavar="FILE", help=which)
    which = "zsl: what zero-shot methods start from (zsl/rnn; at size tiny zsl/ann)"
    p.add_argument("--encoder", metavar="RECIPE", help=which)
    p.add_argument("--top", type=int, metavar="N", help="zsl: most used hashtags that are kept (50)")
    p.add_argument("--min-posts", type=int, metavar="N", help="zsl: posts that each must have (200)")
    p.add_argument("--cap", type=int, metavar="N", help="zsl: posts that each has at most, drawn at random (0: all)")
    p.add_argument("--folds", type=int, metavar="N", help="zsl: of Table 2 (5)")
    which = "zsl: transductive, inductive, or both with a comma, the first in Table 2 (transductive,inductive)"
    p.add_argument("--vectors", metavar="SETTING", help=which)
    p.add_argument("--kinds", metavar="KIND", help="zsl: of Table 3: zero-shot, few-shot, or both with a comma (both)")
    p.add_argument("--split", metavar="NAME", help="hmemn2n: split of the dataset (the one named default)")


def run(args: argparse.Namespace) -> shared.Said:
    """Run what is left to run, and say where the page is."""
    if args.paper not in PAPERS:
        raise JaxtagError(f"no paper {args.paper!r} to reproduce", nearest(args.paper, PAPERS))
    for paper, (_, own) in PAPERS.items():
        for name in own if paper != args.paper else ():
            if getattr(args, name) is not None:
                option = f"--{name.replace('_', '-')}"
                raise JaxtagError(f"{option} is of the {paper} paper, not of {args.paper}", f"leave {option} out")
    from jaxtag.parallel.compiling import keep_compiled

    keep_compiled()
    found = (_zsl if args.paper == "zsl" else _hmemn2n)(args, Path(args.data.rpartition("=")[2]))
    absent = [f"table {n} left out: {t['absent']}" for n, t in found["tables"].items() if "absent" in t]
    text = (args.out / f"{args.paper}.md").read_text(encoding="utf-8")
    return found, "\n".join([*absent, text, f"page: {args.out / 'index.html'}"])


def _zsl(args: argparse.Namespace, data: Path) -> dict[str, Any]:
    from jaxtag.reproduce import zsl, zsl_work

    settings, kinds = (tuple(given.split(",")) if given else None for given in (args.vectors, args.kinds))
    changed = {name: getattr(args, name) for name in ("top", "min_posts", "cap", "folds", "seeds", "dim")}
    changed |= {"settings": settings, "kinds": kinds, "file": args.pretrained}
    work = zsl_work.work_of(data, args.out, args.size, args.encoder or "", args.overrides, **changed)
    return zsl.reproduce(work, tuple(args.tables or zsl.PARTS))


def _hmemn2n(args: argparse.Namespace, data: Path) -> dict[str, Any]:
    from jaxtag.reproduce import hmemn2n, hmemn2n_work

    changed = {"split": args.split, "seeds": args.seeds, "dim": args.dim, "file": args.pretrained}
    work = hmemn2n_work.work_of(data, args.out, args.size, args.overrides, **changed)
    return hmemn2n.reproduce(work, tuple(args.tables or hmemn2n.PARTS))
