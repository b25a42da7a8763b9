"""A side of a measurement as a process of its own, and how it is spoken to."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from jaxtag.errors import JaxtagError

SHARED = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # neither side takes the whole device's memory from the start


class Side:
    """A worker process (`jaxtag.bench.worker`)."""

    def __init__(self, asked: Mapping[str, Any]):
        """Start it, for what is `asked`."""
        self._asked = asked
        threads = {} if asked["side"] == "jaxtag" else {"OMP_NUM_THREADS": str(asked["threads"])}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jaxtag.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | threads | SHARED,
        )

    def described(self) -> dict[str, Any]:
        """Make the side, alone on the machine, and hear what it is."""
        return self.ask(dict(self._asked))

    def block(self, seconds: float) -> dict[str, float]:
        """Let it work for `seconds`."""
        return self.ask({"seconds": seconds})

    def close(self) -> None:
        """End the process: its input ends."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def ask(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """What the process answers.

        Raises:
          JaxtagError: what it was asked for cannot be made.
        """
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(value) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the measured {self._asked['side']} process ended; its own message stands above")
        found = json.loads(line)
        if "error" in found:
            raise JaxtagError(found["error"], found["mend"])
        return found
