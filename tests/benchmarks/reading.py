"""How fast one thread gathers batches of a dataset's text columns on the host.

    python tests/benchmarks/reading.py DATA

Rows are drawn from the training part; the columns are memory-mapped and, after the first pass, in the page
cache. Prints posts a second for several batch sizes, the median of five passes.
"""

import statistics
import sys
import time

import numpy as np

from jaxtag.data import batches
from jaxtag.data.dataset import open_dataset
from jaxtag.recipes import resolve

POSTS = 400_000  # read in a pass


def main() -> None:
    """Print a line a batch size."""
    dataset = open_dataset(sys.argv[1])
    split = dataset.split()
    reading = batches.reading(dataset, split, resolve("zsl/cnn"), ("tokens",), split.hashtags)
    print(f"{dataset.rows:,} posts; values a post in a batch: {reading.lengths}")
    for size in (64, 512, 4096):
        draw = np.random.default_rng(0)
        rows = [draw.choice(split.train, size) for _ in range(POSTS // size)]
        speeds = []
        for _ in range(5):
            started = time.perf_counter()
            for part in rows:
                reading.gather(part)
            speeds.append(size * len(rows) / (time.perf_counter() - started))
        print(f"batch {size:5}: {statistics.median(speeds):12,.0f} posts/s ({min(speeds):,.0f} to {max(speeds):,.0f})")


if __name__ == "__main__":
    main()
