"""What a measurement says of the machine that it ran on."""

import os
import platform
import resource
import threading
from pathlib import Path
from types import TracebackType

EVERY = 0.05  # seconds between looks at the memory


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "")
    except OSError:
        return platform.processor()


def held_mib() -> float:
    """MiB that this process holds beyond mapped files; where the system does not tell, the most it ever held at all."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").split("\n")
        held = {line.partition(":")[0]: line.partition(":")[2].split() for line in lines}
        return int(held["RssAnon"][0]) / 1024
    except (OSError, KeyError):
        return peak_mib()


def peak_mib() -> float:
    """The most MiB that this process ever held, mapped files that it read among them."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Memory:
    """The most that `held_mib` was while the block ran, in `peak`."""

    def __enter__(self) -> "Memory":
        self.peak, self._done = held_mib(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(EVERY):
            self.peak = max(self.peak, held_mib())
