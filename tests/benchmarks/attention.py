"""How even the attention of history systems is, over an author's earlier posts and over their words.

    python tests/benchmarks/attention.py RUN ...

For the first test posts of each run and every hop: entropy of the weights as a share of its greatest, ln n, over posts
of at least 3 earlier ones, and over the words of earlier posts of at least 4; 0 is one alone, 1 all alike. A memory
network over bags of words has no weights of words.
"""

import argparse
from pathlib import Path

import jax
import numpy as np

from jaxtag.report.tables import markdown
from jaxtag.runs import open_run
from jaxtag.training.restored import restore_best

POSTS, BATCH = 2048, 512
LEAST = {"posts": 3, "words": 4}


def shares(weights: np.ndarray, real: np.ndarray, least: int) -> np.ndarray:
    """Entropy over ln n of the rows of `weights [m, n]` that have `least` of the `real` places and some weight."""
    weights = np.where(real, weights, 0).astype(np.float64)
    count, total = real.sum(1), weights.sum(1)
    kept = (count >= least) & (total > 1e-6)
    p = weights[kept] / total[kept, None]
    return -(p * np.log(np.where(p > 0, p, 1))).sum(1) / np.log(count[kept])


def entropies(run: Path) -> list[dict[str, str]]:
    """A row for each hop and kind of weights."""
    bound, _ = open_run(run)
    state = restore_best(run, bound)
    explain = jax.jit(lambda batch: bound.system.explain(state["params"], state["collections"], batch)["history"])
    found: dict[tuple[int, str], list[np.ndarray]] = {}
    for start in range(0, POSTS, BATCH):
        batch = bound.reading.gather(bound.split.test[start : start + BATCH])
        weights, real = np.asarray(explain(batch)), batch["history"] != 0
        for hop in range(weights.shape[1]):
            of_posts = weights[:, hop].sum(-1) if weights.ndim == 4 else weights[:, hop]
            found.setdefault((hop, "posts"), []).append(shares(of_posts, real.any(-1), LEAST["posts"]))
            if weights.ndim == 4:
                words, there = (x.reshape(-1, real.shape[-1]) for x in (weights[:, hop], real))
                found.setdefault((hop, "words"), []).append(shares(words, there, LEAST["words"]))
    rows = []
    for (hop, what), values in sorted(found.items()):
        each = np.concatenate(values)
        said = {"mean": f"{each.mean():.2f}", "median": f"{np.median(each):.2f}", "weights": f"{len(each):,}"}
        rows.append({"run": run.name, "hop": str(hop + 1), "over": what, **said})
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    rows = [row for run in parser.parse_args().runs for row in entropies(run)]
    print(markdown(rows, list(rows[0])))


if __name__ == "__main__":
    main()
