"""Nearest neighbours side by side with the bare matrix product that they need, on features made up in a file.

The bare product reads the same mapped file in the same blocks, makes the same float32 products, and keeps none. Both
are run in turn, and what is compared is a pair of neighbouring runs.
"""

import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxtag.bench.machine import Memory, cores, held_mib, processor
from jaxtag.errors import JaxtagError
from jaxtag.estimators import neighbour_voting, neighbours, voters
from jaxtag.progress import progress

MADE_AT_ONCE = 4096  # rows
HASHTAGS_A_POST = 6  # NUS-WIDE's mean
RANKED_AT_ONCE = 4096  # queries whose neighbours vote in one call


@dataclass(frozen=True)
class Setup:
    """What is made up and measured; the defaults are NUS-WIDE's size.

    Attributes:
      posts, queries, width: of the features, float16.
      hashtags: that the posts have six of, drawn at random.
      k: neighbours that vote.
      rounds: pairs of runs.
      distance: as of neighbour voting.
      scale: parts of the posts, and then of the queries, that are measured alone beside the whole: 4 is a quarter.
      seed: of what is made up.
    """

    posts: int = 245_603
    queries: int = 24_560
    width: int = 2048
    hashtags: int = 1000
    k: int = 5
    rounds: int = 2
    distance: neighbours.Distance = "l2"
    scale: Sequence[int] = (4, 2)
    seed: int = 0


def bench(setup: Setup, folder: Path) -> dict[str, Any]:
    """Measure neighbour voting by `setup`, on features that are made up in `folder` where they are not there.

    Returns:
      `machine`, `cores`, `setup`, `rows`: by number of posts and queries, median `seconds` of ours, `bare_seconds`,
      and their `ratio` with all ratios; `peak_mib` of memory beyond the mapped files, at most, and `mapped_mib`.

    Raises:
      JaxtagError: a number is not possible.
    """
    for name in ("posts", "queries", "width", "hashtags", "k", "rounds"):
        if getattr(setup, name) < 1:
            raise JaxtagError(f"{'-' if name == 'k' else '--'}{name} is {getattr(setup, name)}; it must be 1 or more")
    if any(s < 2 for s in setup.scale):
        raise JaxtagError(f"--parts are {setup.scale}; each must be 2 or more")
    rows, queries = (made(folder / f"{name}.npy", n, setup, name) for name, n in _sizes(setup).items())
    before = held_mib()
    sizes = [(len(rows), len(queries))]
    sizes += [(len(rows) // s, len(queries)) for s in setup.scale]
    sizes += [(len(rows), len(queries) // s) for s in setup.scale]
    measured = [_measured(setup, rows[:n], queries[:m], setup.rounds if not i else 1) for i, (n, m) in enumerate(sizes)]
    return {
        "machine": f"{platform.machine()} {processor()}".strip(),
        "cores": cores(),
        "devices": f"{len(jax.devices())} x {jax.devices()[0].device_kind}",
        "setup": asdict(setup),
        "mapped_mib": round((rows.nbytes + queries.nbytes) / 2**20),
        # What was there before counts, for a process that frees some of it meanwhile never holds more.
        "peak_mib": round(max(before, *(row.pop("peak_mib") for row in measured))),
        "before_mib": round(before),
        "rows": measured,
    }


def made(file: Path, count: int, setup: Setup, name: str) -> np.ndarray:
    """Features `[count, width]` float16 in `file`, mapped; made up in blocks if it is not of that shape."""
    if file.is_file():
        found = np.load(file, mmap_mode="r", allow_pickle=False)
        if found.shape == (count, setup.width) and found.dtype == np.float16:
            return found
    file.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([setup.seed, count, len(name)])
    side = file.with_suffix(".part")
    out = np.lib.format.open_memmap(side, "w+", np.float16, (count, setup.width))
    for start in progress(range(0, count, MADE_AT_ONCE), f"making up {name}"):
        part = out[start : start + MADE_AT_ONCE]
        part[:] = np.maximum(rng.standard_normal(part.shape, np.float32), 0)  # as pooled ReLUs are: half are 0
    out.flush()
    del out
    side.rename(file)
    return np.load(file, mmap_mode="r", allow_pickle=False)


def render(found: dict[str, Any]) -> str:
    """The table that a user sees."""
    lines = [f"{found['machine']}, {found['cores']} cores, {found['devices']}"]
    lines.append(f"{'posts':>9} {'queries':>8} {'ours s':>9} {'bare s':>9} {'ratio':>6}")
    for row in found["rows"]:
        lines.append(
            f"{row['posts']:>9,} {row['queries']:>8,} {row['seconds']:>9.2f} {row['bare_seconds']:>9.2f} "
            f"{row['ratio']:>6.3f}"
        )
    lines.append(
        f"memory: {found['peak_mib']} MiB at most, of which {found['before_mib']} before, "
        f"beyond {found['mapped_mib']} MiB of mapped files"
    )
    return "\n".join(lines)


def _sizes(setup: Setup) -> dict[str, int]:
    return {"posts": setup.posts, "queries": setup.queries}


def _measured(setup: Setup, rows: np.ndarray, queries: np.ndarray, rounds: int) -> dict[str, Any]:
    """A row of `bench`."""
    vote = _voting(setup, len(rows))
    # Compiled before it is timed.
    warm = queries[: neighbours.QUERIES]
    few = rows[: min(len(rows), 2 * neighbours.ROWS)]
    vote(neighbours.search(warm, few, setup.k, setup.distance)[0])
    _bare(warm, few)
    ours, bare, peak = [], [], 0.0
    for _ in range(rounds):
        started = time.perf_counter()
        with Memory() as memory:
            vote(neighbours.search(queries, rows, setup.k, setup.distance, what="neighbours")[0])
        ours.append(time.perf_counter() - started)
        peak = max(peak, memory.peak)
        started = time.perf_counter()
        _bare(queries, rows)
        bare.append(time.perf_counter() - started)
    ratios = [a / b for a, b in zip(ours, bare)]
    return {
        "posts": len(rows), "queries": len(queries), "seconds": statistics.median(ours),
        "bare_seconds": statistics.median(bare), "ratio": statistics.median(ratios), "ratio_all": ratios,
        "peak_mib": peak,
    }  # fmt: skip


def _voting(setup: Setup, posts: int) -> Any:
    """Ranks all hashtags by the votes of neighbours `[m, k]`."""
    rng = np.random.default_rng(setup.seed)
    settings = neighbour_voting.Settings(k=setup.k)
    kept = voters.kept(rng.integers(0, setup.hashtags, (posts, HASHTAGS_A_POST)))
    fitted = jax.device_put(kept | {"uses": np.full(setup.hashtags, 1 / posts, np.float32)})

    @jax.jit
    def ranked(fitted: Any, places: jax.Array) -> jax.Array:
        scores = neighbour_voting.scores(settings, fitted, places, voters.hashtags_of(fitted, places))
        return neighbours.k_greatest(scores, min(5, setup.hashtags))[0]

    def vote(places: np.ndarray) -> None:
        size = min(RANKED_AT_ONCE, len(places))
        for start in range(0, len(places), size):
            part = np.full((size, setup.k), -1, np.int32)
            given = places[start : start + size]
            part[: len(given)] = given
            jax.block_until_ready(ranked(fitted, part))

    return vote


@jax.jit
def _product(queries: jax.Array, rows: jax.Array) -> jax.Array:
    dimensions = (((1,), (1,)), ((), ()))
    return jax.lax.dot_general(queries, rows.astype(jnp.float32), dimensions, precision=jax.lax.Precision.HIGHEST)


def _bare(queries: np.ndarray, rows: np.ndarray) -> None:
    """All products of `queries` with `rows`, in the blocks of `neighbours.search`; none is kept."""
    at_once, block = min(neighbours.QUERIES, len(queries)), min(neighbours.ROWS, len(rows))
    for start in range(0, len(queries), at_once):
        part = np.zeros((at_once, queries.shape[1]), np.float32)
        given = queries[start : start + at_once]
        part[: len(given)] = given
        asked = jax.device_put(part)
        for first in range(0, len(rows), block):
            # The last block begins early enough to be whole.
            where = min(first, len(rows) - block)
            jax.block_until_ready(_product(asked, jax.device_put(rows[where : where + block])))
