"""What the closed forms of zero-shot recommending cost, each beside the bare work that it cannot do without.

    python tests/benchmarks/zero_shot.py [--part accumulate grid rank] [--posts 1000000] [--run RUN] [--json]

accumulate   sums of a million posts' given features, 1024 wide, of 40 hashtags, against the matrix product X Xᵀ alone,
             in float32 in the same batches; they take turns, batch by batch, on features that are made once and reused
grid         a 7×7 grid of γ and λ, every W made, against 49 fits of the same sums by Cholesky factors, each alone, with
             their A Aᵀ; and what those 49 have in the end in common with the grid
rank         the ten best of a million candidates for one post, once their table is computed, 150 and 1024 wide
recommend    the same from a text, by the recommender of a zero-shot run, given as --run: names are pairs of the run's
             words, whose vectors and table are computed first
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxtag.estimators import eszsl
from jaxtag.estimators.moments import Moments, accumulate, finish, start
from jaxtag.ranking import top_k

WIDTH, HASHTAGS, VECTOR, BATCH, BLOCKS = 1024, 40, 150, 8192, 4


def seconds(call: Callable[[], Any]) -> float:
    """How long `call` and what it started take."""
    started = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - started


def spread(times: list[float]) -> dict[str, float]:
    """Median, least and most."""
    return {"median_s": statistics.median(times), "min_s": min(times), "max_s": max(times)}


def accumulating(posts: int) -> dict[str, Any]:
    """Seconds for `posts` posts both ways."""
    rng = np.random.default_rng(0)
    blocks = [jnp.asarray(np.maximum(rng.normal(1, 1, (BATCH, WIDTH)), 0), jnp.float32) for _ in range(BLOCKS)]
    labels = [jnp.asarray(rng.integers(0, HASHTAGS, (BATCH, 1)), jnp.int32) for _ in range(BLOCKS)]
    valid = jnp.ones(BATCH, bool)
    step = jax.jit(accumulate, donate_argnums=0)
    product = partial(jax.lax.dot_general, dimension_numbers=(((0,), (0,)), ((), ())), precision="highest")
    bare = jax.jit(lambda total, x: total + product(x, x), donate_argnums=0)
    jax.block_until_ready(step(start(blocks[0], valid, HASHTAGS), blocks[0], labels[0], valid))
    jax.block_until_ready(bare(jnp.zeros((WIDTH, WIDTH)), blocks[0]))
    state: dict[str, Any] = {"ours": start(blocks[0], valid, HASHTAGS), "bare": jnp.zeros((WIDTH, WIDTH))}

    def ours(i: int) -> Any:
        state["ours"] = step(state["ours"], blocks[i], labels[i], valid)
        return state["ours"]

    def alone(i: int) -> Any:
        state["bare"] = bare(state["bare"], blocks[i])
        return state["bare"]

    taken: dict[str, list[float]] = {"ours": [], "bare": []}
    batches = -(-posts // BATCH)
    for i in range(batches):
        turns = [("ours", ours), ("bare", alone)]
        for name, call in turns[:: 1 if i % 2 else -1]:
            taken[name].append(seconds(lambda call=call, i=i: call(i % BLOCKS)))
    found = finish(state["ours"])
    exact = sum(np.asarray(b, np.float64).T @ np.asarray(b, np.float64) for b in blocks) * (batches / BLOCKS)
    raw = found.about(np.zeros(WIDTH)).gram
    return {
        "posts": batches * BATCH,
        "ours_s": sum(taken["ours"]),
        "bare_s": sum(taken["bare"]),
        "ratio": sum(taken["ours"]) / sum(taken["bare"]),
        "ratio_of_medians": statistics.median(taken["ours"]) / statistics.median(taken["bare"]),
        "ours_batch": spread(taken["ours"]),
        "bare_batch": spread(taken["bare"]),
        "ours_relative_error": float(np.abs(raw / exact - 1).max()) if batches % BLOCKS == 0 else None,
        "bare_relative_error": float(np.abs(np.asarray(state["bare"], np.float64) / exact - 1).max())
        if batches % BLOCKS == 0
        else None,
    }


def gridded(rounds: int) -> dict[str, Any]:
    """Seconds of the grid and of separate fits."""
    from scipy.linalg import cho_factor, cho_solve

    rng = np.random.default_rng(1)
    x, tag = np.maximum(rng.normal(size=(4096, WIDTH)), 0), rng.integers(0, HASHTAGS, 4096)
    vectors = rng.normal(size=(HASHTAGS, VECTOR))
    moments = Moments(np.zeros(WIDTH), x.T @ x, np.eye(HASHTAGS)[tag].T @ x, np.bincount(tag, minlength=HASHTAGS))

    def alone(gamma: float, lam: float) -> np.ndarray:
        right = moments.by_hashtag.T @ vectors
        right = cho_solve(cho_factor(vectors.T @ vectors + lam * np.eye(VECTOR)), right.T).T
        return cho_solve(cho_factor(moments.gram + gamma * np.eye(WIDTH)), right)

    taken: dict[str, list[float]] = {"grid": [], "separate": []}
    far = 0.0
    for _ in range(rounds):
        began = time.perf_counter()
        grid = {(i, j): w for i, j, w in eszsl.solve(moments, vectors).points()}
        taken["grid"].append(time.perf_counter() - began)
        began = time.perf_counter()
        separate = {(i, j): alone(eszsl.GRID[i], eszsl.GRID[j]) for i, j in grid}
        taken["separate"].append(time.perf_counter() - began)
        far = max(float(np.abs(grid[k] - separate[k]).max() / np.abs(separate[k]).max()) for k in grid)
    ratios = [a / b for a, b in zip(taken["grid"], taken["separate"])]
    return {
        "ratio": statistics.median(ratios),
        "grid": spread(taken["grid"]),
        "separate": spread(taken["separate"]),
        "largest_relative_difference": far,
    }


def ranking(candidates: int, width: int, rounds: int) -> dict[str, Any]:
    """Seconds for one post."""
    table = jax.random.normal(jax.random.key(0), (candidates, width))
    ranked = jax.jit(lambda q, t: top_k(q, t, 10))
    queries = jax.random.normal(jax.random.key(1), (rounds + 1, 1, width))
    compiling = seconds(lambda: ranked(queries[0], table))
    times = [seconds(lambda q=q: ranked(q, table)) for q in queries[1:]]
    return {"candidates": candidates, "width": width, "first_s": compiling, **spread(times)}


def recommending(run: Path, candidates: int, rounds: int) -> dict[str, Any]:
    """Seconds until the recommender is ready, and for one post."""
    from jaxtag.data.hashtags import open_table
    from jaxtag.recommend import open_recommender
    from jaxtag.runs import open_run

    bound, _ = open_run(run)
    folder = bound.split.vectors_path(bound.experiment.model.vectors)
    words = [name for name in open_table(folder).names if name.isalpha() and len(name) > 2]
    most = int(candidates**0.5) + 1
    names = [f"{a}_{b}" for a in words[:most] for b in words[:most]][:candidates]
    texts = bound.dataset.text(bound.split.test[: rounds + 1])
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "names.txt"
        file.write_text("\n".join(names), encoding="utf-8")
        began = time.perf_counter()
        recommender = open_recommender(run, 10, candidates_file=file)
        ready = time.perf_counter() - began
    first = seconds(lambda: recommender(texts[:1]))
    times = [seconds(lambda text=text: recommender([text])) for text in texts[1:]]
    found = {"candidates": len(names), "system": bound.experiment.system, "width": recommender.width}
    return found | {"ready_s": ready, "first_s": first, **spread(times)}


def main() -> None:
    """Print a line a measurement, or JSON."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--part", nargs="+", choices=("accumulate", "grid", "rank", "recommend"))
    arguments.add_argument("--run", type=Path)
    arguments.add_argument("--posts", type=int, default=1_000_000)
    arguments.add_argument("--candidates", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--json", action="store_true")
    args = arguments.parse_args()
    parts = args.part or ("accumulate", "grid", "rank", *(("recommend",) if args.run else ()))
    found: dict[str, Any] = {}
    if "accumulate" in parts:
        found["accumulate"] = accumulating(args.posts)
    if "grid" in parts:
        found["grid"] = gridded(args.rounds)
    if "rank" in parts:
        found["rank"] = [ranking(args.candidates, width, args.rounds) for width in (150, 1024)]
    if "recommend" in parts:
        found["recommend"] = recommending(args.run, args.candidates, args.rounds)
    if args.json:
        print(json.dumps(found, indent=1))
        return
    if "accumulate" in found:
        a = found["accumulate"]
        print(
            f"{a['posts']:,} posts {WIDTH} wide: {a['ours_s']:.1f} s; the matrix product alone {a['bare_s']:.1f} s; "
            f"ratio {a['ratio']:.3f} (of medians {a['ratio_of_medians']:.3f}); relative error "
            f"{a['ours_relative_error']}, alone {a['bare_relative_error']}"
        )
    if "grid" in found:
        g = found["grid"]
        print(
            f"7×7 grid: {g['grid']['median_s']:.3f} s; 49 fits {g['separate']['median_s']:.3f} s; "
            f"ratio {g['ratio']:.3f}; largest relative difference {g['largest_relative_difference']:.1e}"
        )
    for r in found.get("rank", []):
        print(
            f"{r['candidates']:,} candidates {r['width']} wide, one post: {1e3 * r['median_s']:.0f} ms "
            f"({1e3 * r['min_s']:.0f} to {1e3 * r['max_s']:.0f}); first call {1e3 * r['first_s']:.0f} ms"
        )
    if "recommend" in found:
        r = found["recommend"]
        print(
            f"{r['candidates']:,} candidates, {r['system']}, {r['width']} wide, one text: {1e3 * r['median_s']:.0f} ms "
            f"({1e3 * r['min_s']:.0f} to {1e3 * r['max_s']:.0f}); first {1e3 * r['first_s']:.0f} ms; "
            f"ready in {r['ready_s']:.1f} s"
        )


if __name__ == "__main__":
    main()
