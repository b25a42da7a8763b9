"""Runs against the tools a user would pick instead, on the same posts, with paired bootstrap intervals.

    python tests/benchmarks/peers.py --peers ../shared/tools/peers.py --out PEERS RUN1 RUN2

Exports the split that the runs were trained on, lets the peers' script train and rank on it, keeps what
each peer recommended in PEERS/<peer>.npz (a second call reads that), and prints one table of scores and
one of differences. Needs scikit-learn and fasttext-wheel, and runs that were evaluated on the test part.
"""

import argparse
import importlib.util
import json
import time
from pathlib import Path
from types import ModuleType

import numpy as np

from jaxtag.data.inspect import export
from jaxtag.data.vocabulary import Vocabulary
from jaxtag.evaluation import bootstrap
from jaxtag.report.tables import markdown
from jaxtag.runs import open_run

METRICS = ("precision@1", "recall@1", "f1@1", "f1@5", "recall@5")
WIDTH = 5  # recommendations kept of each peer


def load(path: Path) -> ModuleType:
    """The peers' script as a module."""
    spec = importlib.util.spec_from_file_location("peers", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_peers(script: Path, data: Path, split: str, out: Path, vocabulary: Vocabulary) -> None:
    """Let every peer train and rank; what it recommended goes to `out` as dataset hashtag ids."""
    for part in ("train", "test"):
        export(data, split, part, out / f"{part}.jsonl")
    peers = load(script)
    printed = peers.report

    def keep(name: str, started: float, ranked: list, gold: list) -> None:
        printed(name, started, ranked, gold)
        ids = np.full((len(ranked), WIDTH), -1, np.int32)
        for row, found in zip(ids, ranked):
            known = [vocabulary.ids.get(str(h), -1) for h in list(found)[:WIDTH]]
            row[: len(known)] = known
        np.savez(out / f"{name.replace(' ', '_')}.npz", ranked=ids, seconds=time.time() - started, name=name)

    peers.report = keep
    peers.main(str(out / "train.jsonl"), str(out / "test.jsonl"))


def main() -> None:
    """Print scores, and differences between the runs and the peers."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("runs", type=Path, nargs="+")
    arguments.add_argument("--peers", type=Path, required=True, help="the peers' script")
    arguments.add_argument("--out", type=Path, required=True, help="folder for what they recommend")
    args = arguments.parse_args()
    bound, _ = open_run(args.runs[0])
    args.out.mkdir(parents=True, exist_ok=True)
    if not list(args.out.glob("*.npz")):
        run_peers(args.peers, bound.dataset.path, bound.split.name, args.out, bound.dataset.hashtags)
    ours = {run.name: np.load(run / "predictions-test.npz") for run in args.runs}
    gold = ours[args.runs[0].name]["gold"]
    theirs = {str(found["name"]): found["ranked"] for found in map(np.load, sorted(args.out.glob("*.npz")))}
    rankings = {name: found["ranked"] for name, found in ours.items()} | theirs
    scores = []
    for name, ranked in rankings.items():
        found = {m: bootstrap.intervals(ranked, gold, m) for m in METRICS}
        shown = {m: f"{v['value']:.4f}" for m, v in found.items()}
        scores.append(
            {"system": name, **shown, "f1@1, 95 %": f"{found['f1@1']['low']:.4f} to {found['f1@1']['high']:.4f}"}
        )
    print(markdown(scores, list(scores[0])))
    differences = []
    for name in ours:
        for peer, ranked in rankings.items():
            if peer != name:
                d = bootstrap.paired(rankings[name], ranked, gold)
                differences.append(
                    {
                        "run": name,
                        "against": peer,
                        "f1@1 ahead by": f"{d['difference']:+.4f}",
                        "95 %": f"{d['low']:+.4f} to {d['high']:+.4f}",
                    }
                )
    print("\n" + markdown(differences, list(differences[0])))
    print("\n" + json.dumps({"posts": len(gold)}))


if __name__ == "__main__":
    main()
