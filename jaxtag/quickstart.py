"""The quickstart: the commands a newcomer would type, run one after another and shown as they run."""

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from jaxtag.errors import JaxtagError

SYSTEMS = ("cnn", "rnn_attention")


def run(out: Path, posts: int) -> dict[str, Any]:
    """Prepare simulated posts, train two systems, evaluate, recommend and report, below the folder `out`.

    Every step is the command that it prints; a step that was done before is not done again.

    Returns:
      `{"f1@1": {system: …}, "report", "seconds"}`.

    Raises:
      JaxtagError: a step failed; its own message stands above.
    """
    started = time.perf_counter()
    data, runs = out / "data", {name: out / name for name in SYSTEMS}
    if not (data / "dataset.json").exists():
        _command("jaxtag-prep", "simulate", "--out", data, "--posts", posts)
    _command("jaxtag", "data", "show", data)
    for name, folder in runs.items():
        _command("jaxtag", "train", f"zsl/{name}", "--size", "tiny", "--data", data, "--run", folder)
        _command("jaxtag", "evaluate", folder)
    example = _example(data)
    _command("jaxtag", "recommend", runs["rnn_attention"], example, "-k", 3)
    _command("jaxtag", "report", *runs.values(), "--out", out / "report")
    scores = {n: json.loads((f / "evaluation-test.json").read_text())["f1@1"] for n, f in runs.items()}
    return {
        **{f"F1@1 of zsl/{name} on the test part": round(score, 3) for name, score in scores.items()},
        "report": str(out / "report" / "index.html"),
        "seconds": round(time.perf_counter() - started),
    }


def _example(data: Path) -> str:
    """The text of the first test post, to recommend for."""
    from jaxtag.data.dataset import open_dataset

    dataset = open_dataset(data)
    return dataset.text(dataset.split().test[:1])[0]


def _command(program: str, *arguments: Any) -> None:
    words = [str(a) for a in arguments]
    print(f"\n$ {shlex.join([program, *words])}", flush=True, file=sys.stderr)
    module = "jaxtag_prep.cli" if program == "jaxtag-prep" else "jaxtag.cli"
    # What the steps print is for people; standard output is left to the quickstart's own result.
    if subprocess.run([sys.executable, "-m", module, *words], stdout=sys.stderr).returncode:
        raise JaxtagError(f"the quickstart stopped at {program} {words[0]}", "its message is above")
