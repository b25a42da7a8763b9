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
  jaxtag reproduce amnn --data harrison=DIR nus_wide=DIR mm_ins=DIR --out OUT --pretrained glove=glove.6B.300d.txt
  jaxtag reproduce amnn --data mm_ins=DIR --out OUT --tables V --extractor resnet50=my_features
  jaxtag-prep instacities --input InstaNY100K --out DATA
  jaxtag reproduce lxmert4hashtag --data DATA --out OUT --lxmert.model.init lxmert:LXMERT
splits and word vectors are made in DATA by jaxtag-prep, as the commands shown; what is done is not done again, so the
same command goes on where it stopped. Fields of a recipe are set with its name before them: --cnn.model.filters 64
"""
OVERRIDES = True
# Tables of each paper, and the options that are its own.
PAPERS = {
    "zsl": ("1 2 3 4 7.4", ("encoder", "top", "min_posts", "cap", "folds", "vectors", "kinds")),
    "hmemn2n": ("1 2 3", ("split",)),
    "amnn": ("II III IV V VI VII VIII IX", ("split", "extractor", "shuffle")),
    "lxmert4hashtag": ("2 3", ("split", "extractor")),
}
PROCESSES = "one"


def options(p: argparse.ArgumentParser) -> None:
    """Declare the options."""
    p.add_argument("paper", help=" or ".join(PAPERS))
    which = "dataset folder; of amnn, of mm_ins, harrison and nus_wide those that there are; a DIR alone is of mm_ins"
    p.add_argument("--data", nargs="+", required=True, metavar="[NAME=]DIR", help=which)
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of runs, tables and pictures")
    shared.size_option(p)
    which = "; ".join(f"{paper} {tables}" for paper, (tables, _) in PAPERS.items())
    p.add_argument("--tables", nargs="+", metavar="N", help=f"only these: {which}; 7.4 is the section (all)")
    p.add_argument("--seeds", type=int, metavar="N", help="of zsl, splits behind a row of Table 3 (5); else runs (1)")
    p.add_argument("--dim", type=int, metavar="N", help="numbers of a word vector (zsl 150; others 300)")
    which = "word vectors: of zsl, to compare with; of hmemn2n, the SVMs'; of amnn, glove=FILE ..."
    p.add_argument("--pretrained", nargs="+", metavar="[NAME=]FILE", help=which)
    which = "zsl: what zero-shot methods start from (zsl/rnn; at size tiny zsl/ann)"
    p.add_argument("--encoder", metavar="RECIPE", help=which)
    p.add_argument("--top", type=int, metavar="N", help="zsl: most used hashtags that are kept (50)")
    p.add_argument("--min-posts", type=int, metavar="N", help="zsl: posts that each must have (200)")
    p.add_argument("--cap", type=int, metavar="N", help="zsl: posts that each has at most, drawn at random (0: all)")
    p.add_argument("--folds", type=int, metavar="N", help="zsl: of Table 2 (5)")
    which = "zsl: transductive, inductive, or both with a comma, the first in Table 2 (transductive,inductive)"
    p.add_argument("--vectors", metavar="SETTING", help=which)
    p.add_argument("--kinds", metavar="KIND", help="zsl: of Table 3: zero-shot, few-shot, or both with a comma (both)")
    p.add_argument("--split", metavar="NAME", help="split of the dataset, not of zsl (the one named default)")
    which = "amnn, lxmert4hashtag: image features of other names, such as resnet50=NAME"
    p.add_argument("--extractor", nargs="+", metavar="NAME=NAME", help=which)
    which = "amnn: hashtags of Tables VIII and IX, once a post or each_time it is learned from (once)"
    p.add_argument("--shuffle", metavar="WHEN", help=which)


def run(args: argparse.Namespace) -> shared.Said:
    """Run what is left to run, and say where the page is."""
    if args.paper not in PAPERS:
        raise JaxtagError(f"no paper {args.paper!r} to reproduce", nearest(args.paper, PAPERS))
    for paper, (_, own) in PAPERS.items():
        for name in own:
            if getattr(args, name) is not None and name not in PAPERS[args.paper][1]:
                option = f"--{name.replace('_', '-')}"
                raise JaxtagError(f"{option} is of the {paper} paper, not of {args.paper}", f"leave {option} out")
    from jaxtag.parallel.compiling import keep_compiled

    keep_compiled()
    found = {"zsl": _zsl, "hmemn2n": _hmemn2n, "amnn": _amnn, "lxmert4hashtag": _lxmert4hashtag}[args.paper](args)
    absent = [f"table {n} left out: {t['absent']}" for n, t in found["tables"].items() if "absent" in t]
    text = (args.out / f"{args.paper}.md").read_text(encoding="utf-8")
    return found, "\n".join([*absent, text, f"page: {args.out / 'index.html'}"])


def _zsl(args: argparse.Namespace) -> dict[str, Any]:
    from jaxtag.reproduce import zsl, zsl_work

    settings, kinds = (tuple(given.split(",")) if given else None for given in (args.vectors, args.kinds))
    changed = {name: getattr(args, name) for name in ("top", "min_posts", "cap", "folds", "seeds", "dim")}
    changed |= {"settings": settings, "kinds": kinds, "file": _one(args, "pretrained")}
    work = zsl_work.work_of(_data(args), args.out, args.size, args.encoder or "", args.overrides, **changed)
    return zsl.reproduce(work, tuple(args.tables or zsl.PARTS))


def _hmemn2n(args: argparse.Namespace) -> dict[str, Any]:
    from jaxtag.reproduce import hmemn2n, hmemn2n_work

    changed = {"split": args.split, "seeds": args.seeds, "dim": args.dim, "file": _one(args, "pretrained")}
    work = hmemn2n_work.work_of(_data(args), args.out, args.size, args.overrides, **changed)
    return hmemn2n.reproduce(work, tuple(args.tables or hmemn2n.PARTS))


def _amnn(args: argparse.Namespace) -> dict[str, Any]:
    from jaxtag.reproduce import amnn, amnn_paper, amnn_work, paper

    def given(name: str, known: Any, alone: str = "") -> dict[str, str]:
        return paper.named(getattr(args, name) or (), f"--{name}", list(known), alone)

    data = {name: Path(folder) for name, folder in given("data", amnn_paper.NAMES, "mm_ins").items()}
    files = {name: Path(file) for name, file in given("pretrained", amnn_work.TEXTS).items()}
    changed = {"seeds": args.seeds, "dim": args.dim, "files": files, "shuffle": args.shuffle}
    changed |= {"extractors": given("extractor", amnn_work.IMAGES), "split": args.split}
    work = amnn_work.work_of(data, args.out, args.size, args.overrides, **changed)
    return amnn.reproduce(work, tuple(args.tables or amnn.PARTS))


def _lxmert4hashtag(args: argparse.Namespace) -> dict[str, Any]:
    from jaxtag.reproduce import lxmert4hashtag, lxmert4hashtag_work, paper

    extractors = paper.named(args.extractor or (), "--extractor", lxmert4hashtag_work.ROLES)
    changed = {"split": args.split, "seeds": args.seeds, "dim": args.dim, "file": _one(args, "pretrained")}
    work = lxmert4hashtag_work.work_of(
        _data(args), args.out, args.size, args.overrides, extractors=extractors, **changed
    )
    return lxmert4hashtag.reproduce(work, tuple(args.tables or lxmert4hashtag.PARTS))


def _data(args: argparse.Namespace) -> Path:
    """The folder of a paper with one dataset."""
    return Path(str(_one(args, "data")).rpartition("=")[2])


def _one(args: argparse.Namespace, name: str) -> Path | None:
    """An option of which a paper takes one value, None where it is not given."""
    given = getattr(args, name)
    if given and len(given) > 1:
        raise JaxtagError(f"--{name} of the {args.paper} paper is one, not {len(given)}", f"--{name} {given[0]}")
    return Path(given[0]) if given else None
