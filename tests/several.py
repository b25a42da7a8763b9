"""Several processes of one command on this machine, as a launcher starts them, each with simulated CPU devices."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 300  # seconds that a test waits for processes, which it then ends


def free_port() -> int:
    """A port that nothing listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def start(count: int, *arguments: Any, devices: int = 1, left: int = 0, **environ: str) -> list[tuple[int, str, str]]:
    """Exit code, standard output and standard error of `count` processes that run this file with `arguments`.

    The last `left` of them are not waited for.
    """
    port = free_port()
    own = {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAXTAG_COORDINATOR": f"127.0.0.1:{port}",
        "JAXTAG_PROCESSES": str(count),
        "JAXTAG_START_SECONDS": "100",
        "JAXTAG_STALL_SECONDS": "100",
        "PYTHONPATH": str(ROOT),
    }
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.several", *map(str, arguments)],
            env=os.environ | own | {"JAXTAG_PROCESS": str(i)} | environ,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(count)
    ]
    try:
        said = [process.communicate(timeout=LIMIT) for process in running[: count - left]]
    finally:
        for process in running:
            process.kill()
    return [(process.returncode, out, err) for process, (out, err) in zip(running, said)]


def main(order: dict[str, Any]) -> None:
    """Train, and where the order has `lines` evaluate and recommend, in one process of several.

    `second` is what process 1 is told otherwise. The order's `signal` is [process, step, number]: the signal that
    this process sends itself once it has begun that step.
    """
    from jaxtag.ending import code_of
    from jaxtag.parallel import distributed
    from jaxtag.training import loop

    process, step, number = order.get("signal") or (-1, 0, signal.SIGTERM)
    begun, saved = loop.Trainer._launch, Path(order["run"]) / "checkpoints"
    begins_at = int(order["overrides"].get("training.checkpoint_steps", 1 << 30))

    def launch(trainer: Any, steps: int) -> None:
        begun(trainer, steps)
        if int(os.environ["JAXTAG_PROCESS"]) == process and trainer._step == step:
            until = time.monotonic() + 60
            while begins_at <= step and not (saved / str(begins_at)).is_dir() and time.monotonic() < until:
                time.sleep(0.05)  # a save that has begun goes on in a thread of every process
            os.kill(os.getpid(), number)

    setattr(loop.Trainer, "_launch", launch)  # noqa: B010
    code = code_of("jaxtag", lambda: work(order))
    distributed.leave(code)
    sys.exit(code)


def work(order: dict[str, Any]) -> None:
    """What the order says, all by all processes."""
    import io

    from jaxtag.cli import parser
    from jaxtag.evaluation.evaluate import evaluate
    from jaxtag.parallel import distributed
    from jaxtag.recommend import open_recommender, recommend_lines

    if os.environ["JAXTAG_PROCESS"] == "1":
        order = order | order.get("second", {})
    with distributed.joined():
        args, _ = parser().parse_known_args(["train", order["recipe"], "--data", order["data"], "--run", order["run"]])
        args.size, args.overrides = "tiny", order["overrides"]
        args.run_verb(args)
        if order.get("lines") is None:
            return
        found = evaluate(args.run, "test")
        out = io.StringIO()
        lines = io.BytesIO("\n".join(order["lines"]).encode()) if distributed.leads() else io.BytesIO()
        recommend_lines(open_recommender(args.run, 3), lines, out)
        if distributed.leads():
            print(json.dumps({"evaluation": found, "recommended": out.getvalue()}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
