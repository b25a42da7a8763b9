"""A step of a population beside a step of one run: recipes at their size tiny, on made-up posts.

    python tests/benchmarks/population.py zsl/rnn_attention hmemn2n/hmemn2n --members 32

Both are the programs of `jaxtag sweep` and `jaxtag train`: many steps a dispatch, batches gathered inside. Members
differ in learning rate and seed; they are computed as `jaxtag.search.stacked` computes them on the devices at hand
(together on an accelerator, in turn on a CPU), or as --way says. Blocks take turns.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxtag.bench import posts
from jaxtag.building import build
from jaxtag.data.batches import Resident
from jaxtag.parallel.mesh import make_mesh
from jaxtag.plan.workload import sizes_of
from jaxtag.recipes import resolve
from jaxtag.report.tables import markdown
from jaxtag.search import stacked
from jaxtag.training.optimizers import optimizer
from jaxtag.training.state import abstract_state, create, numbers_of
from jaxtag.training.step import make_train_step, many_steps


def sides(recipe: str, args: argparse.Namespace) -> dict[str, Callable[[int], Any]]:
    """Of one run and of a population, a function that takes so many steps and waits for them."""
    experiment = resolve(recipe, args.size)
    made = posts.made_up(experiment, args.words, args.hashtags, 20_000)
    mesh = make_mesh(experiment.parallel, jax.devices()[:1])
    system, rule = build(experiment, sizes_of(experiment, made.workload)), optimizer(experiment.training)
    abstract = abstract_state(system, rule, mesh)
    source = Resident(made.reading, mesh)
    feed, source = source.feed(0, 1), source.without_posts(placed=False)
    steps_of = many_steps(make_train_step(system, rule), source, experiment.training.batch)
    states = [create(system, rule, abstract, seed, mesh) for seed in range(args.members)]
    numbers = [numbers_of(experiment, made.rows, made.hashtags, system.sizes.hashtags) for _ in states]
    for i, rate in enumerate(np.geomspace(1e-4, 1e-2, args.members)):
        numbers[i] |= {"learning_rate": np.float32(rate), "seed": np.uint32(i)}

    def dispatch(feed: Any, state: Any, numbers: Any, steps: Any) -> Any:
        return steps_of(state, numbers, feed, steps)

    row = stacked.mesh_of(jax.devices()[:1])
    every = jax.jit(stacked._mapped(dispatch, args.way or stacked.way_of(jax.default_backend()), row), donate_argnums=1)
    one = jax.jit(dispatch, donate_argnums=1)
    stack = lambda trees: jax.tree.map(lambda *x: jnp.stack(x), *trees)  # noqa: E731
    held: dict[str, tuple[Any, Any, Any, int]] = {
        "population": (every, stack(states), jax.device_put(stack(numbers)), args.members),
        "alone": (one, states[0], jax.device_put(numbers[0]), 0),
    }

    def run(name: str, steps: int) -> None:
        program, state, own, members = held[name]
        given = np.full(members, steps, np.int32) if members else np.int32(steps)
        state, sums = program(feed, state, own, jnp.asarray(given))
        held[name] = (program, state, own, members)
        jax.block_until_ready(sums)

    return {name: lambda steps, name=name: run(name, steps) for name in held}


def measured(recipe: str, args: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds a step of both, and their ratio in neighbouring blocks."""
    both, many, times = sides(recipe, args), {}, {}
    for name, run in both.items():
        run(1)  # compiles
        started = time.perf_counter()
        run(4)
        pace = (time.perf_counter() - started) / 4
        many[name], times[name] = max(1, min(1000, int(args.seconds / pace))), []
    for _ in range(args.rounds):
        for name, run in both.items():
            started = time.perf_counter()
            run(many[name])
            times[name].append((time.perf_counter() - started) / many[name])
    ratios = [a / b for a, b in zip(times["population"], times["alone"])]
    found = {f"{name}_ms": 1e3 * statistics.median(t) for name, t in times.items()}
    return {"recipe": recipe, "members": args.members, **found, "ratio": statistics.median(ratios), "ratio_all": ratios}


def main() -> None:
    """Print the table, and all of it as JSON below."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("recipes", nargs="*", default=["zsl/rnn_attention", "hmemn2n/hmemn2n"], metavar="RECIPE")
    p.add_argument("--members", type=int, default=32)
    p.add_argument("--way", choices=("in turn", "together"))
    p.add_argument("--size", default="tiny")
    p.add_argument("--words", type=int, default=5_000)
    p.add_argument("--hashtags", type=int, default=50)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=1.0)
    args = p.parse_args()
    rows = []
    for recipe in args.recipes:
        rows.append(measured(recipe, args))
        print(json.dumps(rows[-1]), file=sys.stderr)
    shown = [
        {"recipe": r["recipe"], "members": r["members"], "population ms": f"{r['population_ms']:.3f}",
         "alone ms": f"{r['alone_ms']:.3f}", "ratio": f"{r['ratio']:.2f}"}
        for r in rows
    ]  # fmt: skip
    print(markdown(shown, list(shown[0])))
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
