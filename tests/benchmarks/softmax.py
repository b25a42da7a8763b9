"""A softmax head over very many hashtags, in blocks of posts against all scores at once: time and memory.

    python tests/benchmarks/softmax.py --hashtags 100000 --batch 1024 --features 1024 --posts 256

Loss and gradients towards features, table and bias, in turns in one process; memory is what the compiled program asks
for beside its arguments and results, the table's gradient among these.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxtag.layers.blocked_softmax import Blocks, summed_pairs
from jaxtag.report.tables import markdown
from jaxtag.training.objectives import pairs


def programs(args: argparse.Namespace, given: tuple[Any, ...]) -> dict[str, Any]:
    """Both compiled for `given`."""
    smoothing = jnp.float32(0)
    blocks = Blocks(args.posts, args.width)

    def plain(x: Any, kernel: Any, bias: Any, labels: Any, allowed: Any) -> Any:
        return pairs(x @ kernel + bias, labels, allowed, smoothing)[0].sum()

    def blocked(x: Any, kernel: Any, bias: Any, labels: Any, allowed: Any) -> Any:
        return summed_pairs(blocks, x, kernel, bias, labels, allowed, smoothing)[0]

    def compiled(function: Callable[..., Any]) -> Any:
        return jax.jit(jax.value_and_grad(function, argnums=(0, 1, 2))).lower(*given).compile()

    return {"all at once": compiled(plain), "in blocks": compiled(blocked)}


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = {"hashtags": 100_000, "batch": 1024, "features": 1024, "posts": 256, "width": 4096, "rounds": 5}
    for name, usual in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=usual, metavar="N", help=f"({usual})")
    args = parser.parse_args()
    key = jax.random.key(0)
    given = (
        jax.random.normal(key, (args.batch, args.features)),
        0.02 * jax.random.normal(key, (args.features, args.hashtags)),
        jnp.zeros(args.hashtags),
        jax.random.randint(key, (args.batch, 2), 0, args.hashtags),
        jnp.ones(args.hashtags, bool),
    )
    both = programs(args, given)
    seconds: dict[str, list[float]] = {name: [] for name in both}
    for turn in range(args.rounds + 1):  # the first is not counted
        for name, program in both.items():
            started = time.perf_counter()
            jax.block_until_ready(program(*given))
            seconds[name] += [time.perf_counter() - started] if turn else []
    ratios = [b / a for a, b in zip(*seconds.values(), strict=True)]
    memory = {name: program.memory_analysis().temp_size_in_bytes for name, program in both.items()}
    rows = [
        {"scores": name, "seconds": f"{statistics.median(s):.2f}", "MB beyond": f"{memory[name] / 1e6:.0f}"}
        for name, s in seconds.items()
    ]
    print(markdown(rows, list(rows[0])))
    share = memory["in blocks"] / memory["all at once"]
    print(f"time {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), memory {share:.3f}")
    told = {"seconds": seconds, "bytes_beyond": memory, "ratio": statistics.median(ratios), "memory_ratio": share}
    print(json.dumps(vars(args) | told))


if __name__ == "__main__":
    main()
