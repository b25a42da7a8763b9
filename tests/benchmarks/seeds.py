"""Systems run with several seeds: means, deviations, paired differences; over all posts, and without some accounts.

    python tests/benchmarks/seeds.py hmemn2n=hm-0,hm-1,hm-2 cnn_attention=ca-0,ca-1,ca-2 fastText=PEERS/fasttext.npz \\
      --against hmemn2n:cnn_attention --posts posts.parquet --author author_id --without account_category=NewsFeed

A system's runs were evaluated on the same split; a .npz is what a peer recommended (`peers.py`). Without some accounts
means that the same runs are counted over the other accounts' posts alone.
"""

import argparse
from pathlib import Path

import numpy as np

from jaxtag.data import vocabulary
from jaxtag.data.dataset import Dataset
from jaxtag.evaluation import bootstrap
from jaxtag.report.tables import markdown
from jaxtag.runs import open_run

METRICS = ("precision@1", "recall@1", "f1@1", "f1@5", "recall@5")


def accounts(dataset: Dataset, posts: Path, author: str, without: str) -> np.ndarray:
    """Which of the dataset's rows are of accounts that `posts` marks `COL=VALUE`, bool `[rows]`."""
    from pyarrow import compute
    from pyarrow.parquet import read_table

    column, _, value = without.partition("=")
    table = read_table(posts, columns=[author, column])
    marked = compute.unique(table.filter(compute.equal(table[column], value))[author]).to_pylist()  # type: ignore
    names = vocabulary.load(dataset.path / "vocabulary" / "authors.txt").entries
    ids = np.flatnonzero(np.isin(names, [str(name) for name in marked]))
    return np.isin(np.asarray(dataset.column("author")), ids)


def rankings(systems: list[str]) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """What each system's runs recommended `[S, n, K]`, the posts' hashtags and their rows."""
    found, gold, rows = {}, None, None
    for given in systems:
        name, _, runs = given.rpartition("=")
        ranked = []
        for run in map(Path, runs.split(",")):
            saved = np.load(run if run.suffix == ".npz" else run / "predictions-test.npz")
            ranked.append(saved["ranked"])
            if "gold" in saved:
                assert gold is None or np.array_equal(gold, saved["gold"]), f"{run} is of another split"
                gold, rows = saved["gold"], saved["rows"]
        found[name] = np.stack(ranked)
    assert gold is not None and rows is not None, "at least one run is needed"
    return found, gold, rows


def scores(found: dict[str, np.ndarray], gold: np.ndarray, metric: str) -> str:
    """A row of means over seeds for each system, the best first."""
    rows = []
    for name, ranked in found.items():
        means = {m: bootstrap.intervals(ranked, gold, m) for m in dict.fromkeys((*METRICS, metric))}
        each = each_seed(ranked, gold, metric)
        row = {"system": name} | {m: f"{v['value']:.4f}" for m, v in means.items()}
        row[f"{metric} of seeds"] = ", ".join(f"{v:.4f}" for v in each) if len(each) > 1 else "–"
        row["deviation"] = f"{np.std(each, ddof=1):.4f}" if len(each) > 1 else "–"
        row[f"{metric}, 95 %"] = f"{means[metric]['low']:.4f} to {means[metric]['high']:.4f}"
        rows.append(row)
    rows.sort(key=lambda row: row[metric], reverse=True)
    return markdown(rows, list(rows[0]))


def each_seed(ranked: np.ndarray, gold: np.ndarray, metric: str) -> list[float]:
    """The metric of each run of `ranked [S, n, K]`."""
    return [bootstrap.intervals(run, gold, metric, draws=2)["value"] for run in ranked]


def ahead(a: np.ndarray, b: np.ndarray, gold: np.ndarray, metric: str) -> dict[str, str]:
    """How far a system is ahead of another: over posts drawn anew, and, of as many seeds, seed by seed."""
    d = bootstrap.paired(a, b, gold, metric)
    values = [np.array(each_seed(runs, gold, metric)) for runs in (a, b)]
    row = {f"{metric} by": f"{d['difference']:+.4f}", "95 %": f"{d['low']:+.4f} to {d['high']:+.4f}"}
    if len(a) == len(b) > 1:
        pairs = values[0] - values[1]
        row["seed by seed"] = f"{(pairs > 0).sum()} of {len(pairs)}, deviation {pairs.std(ddof=1):.4f}"
    return row | {"times": f"{values[0].mean() / values[1].mean():.3f}"}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="+", metavar="NAME=RUN,RUN", help="runs of a system, one a seed")
    parser.add_argument("--against", nargs="*", default=[], metavar="A:B", help="say how far A is ahead of B")
    parser.add_argument("--metric", default="f1@1", help="what is compared (f1@1)")
    parser.add_argument("--posts", type=Path, help="the Parquet file that the dataset was made from")
    parser.add_argument("--author", default="author", help="its column of authors")
    parser.add_argument("--without", default="", metavar="COL=VALUE", help="count without the accounts so marked")
    args = parser.parse_args()
    found, gold, rows = rankings(args.systems)
    parts = {f"all {len(gold):,} posts": np.ones(len(gold), bool)}
    if args.without:
        run = next(Path(p) for s in args.systems for p in s.rpartition("=")[2].split(",") if Path(p).suffix != ".npz")
        kept = ~accounts(open_run(run)[0].dataset, args.posts, args.author, args.without)[rows]
        parts[f"{kept.sum():,} posts, without {args.without}"] = kept
    for what, kept in parts.items():
        some = {name: ranked[:, kept] for name, ranked in found.items()}
        print(f"\n{what}\n\n{scores(some, gold[kept], args.metric)}\n")
        rows_ahead = []
        for a, b in (pair.split(":") for pair in args.against):
            rows_ahead.append({"ahead": a, "behind": b} | ahead(some[a], some[b], gold[kept], args.metric))
        if rows_ahead:
            print(markdown(rows_ahead, list(rows_ahead[0])))


if __name__ == "__main__":
    main()
