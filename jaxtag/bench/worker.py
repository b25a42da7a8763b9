"""One side of a measurement in a process of its own, working only when it is its turn.

    python -m jaxtag.bench.worker

reads a JSON line that says what to measure, answers with a line that describes it, and then answers each further line.
`seconds` runs that long; the answer has steps, seconds and processor seconds. `trace`, a folder, runs a few steps and
writes what a profiler reads. `detail` asks what there is to say after measuring. Standard output holds nothing else.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from jaxtag.errors import JaxtagError


def make(asked: dict[str, Any]) -> Any:
    """The side that was asked for, ready to run.

    Raises:
      JaxtagError: the recipe, the data or the twin is not there.
    """
    from jaxtag.bench import posts
    from jaxtag.plan.devices import devices
    from jaxtag.recipes import resolve

    if asked["devices"]:  # before JAX starts, which a side of PyTorch never does
        devices(asked["devices"])
    experiment = resolve(asked["recipe"], asked["size"], asked["overrides"])
    if asked["data"]:
        read = posts.of_dataset(experiment, Path(asked["data"]), asked["split"])
    else:
        kind = {"uniform": asked["uniform"], "full": asked["full"]}
        read = posts.made_up(experiment, asked["words"], asked["hashtags"], **kind)
    if len(read.rows) < experiment.training.batch:
        raise JaxtagError(f"training.batch is {experiment.training.batch}, there are {len(read.rows)} posts")
    if asked["side"] == "torch":
        import torch

        from jaxtag.bench.theirs import Theirs

        torch.set_num_threads(asked["threads"])
        side: Any = Theirs(experiment, read, asked["torch_compile"])
    else:
        from jaxtag.bench.ours import Ours

        side = Ours(experiment, read)
    lengths = {name: int(n) for name, n in read.reading.lengths.items()}
    side.described |= {"batch": experiment.training.batch, "lengths": lengths, "posts": read.source}
    return side


def block(side: Any, seconds: float) -> dict[str, float]:
    """Run about `seconds`, in bursts of what a tenth of it takes; steps, seconds and processor seconds.

    A step before them is not counted: the first one after a wait finds its memory gone from the caches, and takes up to
    half as long again on either side.
    """
    side.steps(1)
    steps, burst, fed = 0, 1, getattr(side, "fed_seconds", 0.0)
    wall, cpu = time.perf_counter(), time.process_time()
    while (took := time.perf_counter() - wall) < seconds:
        side.steps(burst)
        steps += burst
        pace = steps / (time.perf_counter() - wall)
        burst = max(1, min(2 * burst, int(pace * seconds / 4), int(pace * (seconds - took)) + 1))
    took, cpu = time.perf_counter() - wall, time.process_time() - cpu
    fed = getattr(side, "fed_seconds", 0.0) - fed
    return {"steps": steps, "seconds": took, "cpu_seconds": cpu, "fed_seconds": fed}


def trace(side: Any, folder: str) -> dict[str, Any]:
    """Run about a second, at least three steps, under JAX's profiler; the files it wrote in `folder`."""
    import jax

    began = time.perf_counter()
    side.steps(1)
    many = max(3, min(50, int(1 / (time.perf_counter() - began))))
    with jax.profiler.trace(folder, create_perfetto_trace=True):
        side.steps(many)
    return {"steps": many, "files": sorted(str(p) for p in Path(folder).rglob("*") if p.is_file())}


def main() -> None:
    """Serve until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer

    def answer(value: dict[str, Any]) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    try:
        side = make(json.loads(sys.stdin.readline()))
    except JaxtagError as error:
        answer({"error": error.message, "mend": error.mend})
        return
    answer(side.described)
    for line in sys.stdin:
        match json.loads(line):
            case {"trace": folder}:
                answer(trace(side, folder))
            case {"seconds": seconds}:
                answer(block(side, float(seconds)))
            case _:
                answer({"memory_mib": round(side.memory_mib(), 1)} | side.detail())  # whose own memory is not counted


if __name__ == "__main__":
    main()
