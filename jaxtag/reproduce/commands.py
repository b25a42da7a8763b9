"""Commands that a reproduction runs as its user would: `jaxtag-prep`, which jaxtag itself never imports."""

import shlex
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from jaxtag.data.dataset import Dataset
from jaxtag.errors import JaxtagError
from jaxtag.training.logs import say

SMALL = 2000  # a dataset with no more training posts is small enough for size tiny as it is


class Absent(JaxtagError):
    """What a table needs cannot be made from the data that there are: the table says so, the others go on."""


def prepare(*arguments: Any) -> None:
    """Run `jaxtag-prep` with these arguments, shown as they run; what it finds done it does not do again.

    Raises:
      Absent: it failed; the message is its own last line.
    """
    words = [str(a) for a in arguments]
    say(f"$ {shlex.join(['jaxtag-prep', *words])}")
    done = subprocess.run([sys.executable, "-m", "jaxtag_prep.cli", *words], capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["it gave no reason"]
        raise Absent(f"jaxtag-prep {words[0]} failed: {lines[-1].removeprefix('jaxtag-prep: ')}")


def prepare_all(commands: Sequence[Sequence[Any]]) -> None:
    """Run several, the first alone, what it makes may serve the others, then two at a time; raises as `prepare`."""
    if commands:
        prepare(*commands[0])
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda command: prepare(*command), commands[1:]))


def split_of(dataset: Dataset, size: str, split: str, name: str, top: int, cap: int) -> str:
    """The split that a reproduction runs on: the one asked for; at size tiny, perhaps one of a few posts.

    Args:
      dataset: whose; its split `default` where none is asked for.
      size: of the recipes; at `tiny` a large split gives way to a small one, made if need be.
      split: the split asked for, or empty.
      name: of what is made.
      top: hashtags of it at most, the most used.
      cap: posts of each at most.

    Raises:
      JaxtagError: the dataset has no such split.
      Absent: it has so few posts that none can be made.
    """
    found = dataset.split(split)
    if split or size != "tiny" or len(found.train) <= SMALL:
        return found.name
    prepare("split", "--data", dataset.path, "--name", name, "--top", top, "--cap", cap)
    return name
