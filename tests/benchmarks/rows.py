"""What a step costs with large word tables, dense and row-sparse, at growing vocabularies.

    python tests/benchmarks/rows.py [--model bag|rnn_attention] [--rows 0 16384] [--words 60000 300000]

A batch is 128 posts of 312 words, Zipf-distributed over the vocabulary: as much as a post with its author's five
latest, 52 words each. `bag` is the mean of 300 wide word vectors and a softmax over 4,000 hashtags; `rnn_attention` is
the recipe's tiny size with 300 wide vectors, on 40 words a post. Prints, for every vocabulary, the median milliseconds
of a step in dispatches of many, over rounds that take turns, and the share of steps that had more distinct words than
rows.
"""

import argparse
import statistics
import time
from dataclasses import dataclass, replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxtag.building import build
from jaxtag.entries import Entry
from jaxtag.experiment import Experiment, Training
from jaxtag.layers.embedding import SoftmaxHead, WordTable
from jaxtag.parallel.mesh import make_mesh, replicated
from jaxtag.recipes import resolve
from jaxtag.systems import Sizes, System
from jaxtag.training.objectives import OBJECTIVES
from jaxtag.training.optimizers import optimizer
from jaxtag.training.state import abstract_state, create, numbers_of
from jaxtag.training.step import make_dispatch, make_train_step

BATCH, HASHTAGS, WIDTH, POSTS = 128, 4000, 300, 4096


@dataclass(frozen=True)
class Settings:
    """Of the stand-in; no dropout."""

    dropout: float = 0.0


class Bag(nn.Module):
    """Mean word vector, softmax."""

    settings: Settings
    words: int
    hashtags: int

    @nn.compact
    def __call__(self, batch: dict[str, jax.Array], rate: Any, key: Any) -> jax.Array:
        """tokens `[B, T]` to logits `[B, hashtags]`."""
        vectors, mask = WordTable(self.words, WIDTH, name="word_table")(batch["tokens"])
        mean = vectors.sum(1) / jnp.maximum(mask.sum(1, keepdims=True), 1)
        return SoftmaxHead(self.hashtags, WIDTH, name="head")(mean)


class Drawn:
    """A source of posts drawn once: `jaxtag.data.batches.Resident` without a dataset."""

    steps = 64

    def __init__(self, words: int, length: int, mesh: Any, posts: int = POSTS, hashtags: int = HASHTAGS):
        """Draw `posts` posts of `length` words."""
        rng = np.random.default_rng(0)
        share = 1 / np.arange(1, words - 1)
        tokens = rng.choice(words - 2, (posts, length), p=share / share.sum()).astype(np.int32) + 2
        self._mesh = mesh
        host = {"tokens": tokens, "hashtags": rng.integers(0, hashtags, (posts, 8)).astype(np.int32)}
        self.arrays = jax.device_put(host, replicated(mesh))

    def feed_shardings(self) -> Any:
        """Where `arrays` lies."""
        return replicated(self._mesh)

    def fetch(self, feed: Any, numbers: Any, step: jax.Array, place: jax.Array, batch: int) -> Any:
        """The batch of `step`: posts one after another."""
        rows = (step * batch + jnp.arange(batch)) % len(feed["tokens"])
        return jax.tree.map(lambda x: x[rows], feed)


class Runner:
    """One program and its state, ready to run."""

    def __init__(self, model: str, words: int, training: Training):
        """Make the state of `model` with `words` words, and compile its dispatch."""
        length = 312 if model == "bag" else 40
        mesh = make_mesh(resolve("zsl/cnn").parallel, jax.devices()[:1])
        sizes = Sizes(words, HASHTAGS, {"tokens": length})
        if model == "bag":
            experiment = Experiment("bag", Settings(), training=training)
            entry = Entry("bag", "", "", ("tokens",), "table", "")
            system = System(entry, Bag(experiment.model, words, HASHTAGS), OBJECTIVES["pairs"], sizes)
        else:
            experiment = resolve(f"zsl/{model}", "tiny", {"model.embedding": WIDTH})
            experiment = replace(experiment, training=training)
            system = build(experiment, sizes)
        rule = optimizer(training)
        abstract = abstract_state(system, rule, mesh)
        self.state = create(system, rule, abstract, 0, mesh)
        self._source: Any = Drawn(words, length, mesh)
        put = lambda x: jax.device_put(x, replicated(mesh))  # noqa: E731
        self._put, self._numbers = put, put(numbers_of(experiment, np.arange(POSTS), HASHTAGS, HASHTAGS))
        self._dispatch = make_dispatch(make_train_step(system, rule, mesh), self._source, BATCH, abstract, mesh)

    def __call__(self, steps: int) -> tuple[float, np.ndarray]:
        """Seconds a step, and the distinct words of each."""
        started = time.perf_counter()
        self.state, sums = self._dispatch(self.state, self._numbers, self._source.arrays, self._put(np.int32(steps)))
        rows = np.asarray(sums["rows"])[:steps]
        return (time.perf_counter() - started) / steps, rows


def main() -> None:
    """Print a line a vocabulary and a way."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--model", choices=("bag", "rnn_attention"), default="bag")
    arguments.add_argument("--optimizer", default="adagrad")
    arguments.add_argument("--rows", type=int, nargs="+", default=[0, 16384])
    arguments.add_argument("--words", type=int, nargs="+", default=[60_000, 300_000])
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--steps", type=int, default=8)
    args = arguments.parse_args()
    training = Training(optimizer=args.optimizer, learning_rate=0.01, batch=BATCH, steps=100)
    runners = {
        (words, rows): Runner(args.model, words, replace(training, rows=rows))
        for words in args.words
        for rows in args.rows
    }
    for runner in runners.values():
        runner(1)
    times: dict[tuple[int, int], list[float]] = {key: [] for key in runners}
    found: dict[tuple[int, int], list[float]] = {key: [] for key in runners}
    for _ in range(args.rounds):
        for key, runner in runners.items():
            seconds, rows = runner(args.steps)
            times[key].append(seconds)
            found[key] += rows.tolist()
    for (words, rows), seconds in times.items():
        counts = np.array(found[words, rows])
        over = f"; {counts.mean():,.0f} distinct, {(counts > rows).mean():.0%} over" if counts.any() else ""
        way = f"rows {rows:,}" if counts.any() else "dense"
        print(
            f"{words:9,} words, {way:12}: {1e3 * statistics.median(seconds):7.1f} ms a step "
            f"({1e3 * min(seconds):.1f} to {1e3 * max(seconds):.1f}){over}"
        )


if __name__ == "__main__":
    main()
