"""The watchdog: ends a process that stands still, saying where.

It runs beside what is watched and hears of every step that is done; when none is for JAXTAG_STALL_SECONDS, it prints
the stacks of all threads and ends the process with exit code 75: what was saved is there, and the same command goes on.
"""

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from jaxtag.parallel.processes import STALL_SECONDS, seconds_of

_dogs: list["Watchdog"] = []  # the innermost is the last
_failed = [""]  # what was being done in the block that an error ended


class Watchdog:
    """Counts the seconds since a thing was last done; made by `watching`."""

    def __init__(self, limit: float, doing: str, set_by: str):
        """End the process when nothing is told for `limit` seconds, set by a variable, from `doing` on; 0 is never."""
        self.doing, self._limit, self._set_by, self._still = doing, limit, set_by, 0.0
        self._done = threading.Event()
        if limit:
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def tell(self, doing: str) -> None:
        """Something is done, and `doing` comes next."""
        self.doing, self._still = doing, 0.0

    def close(self) -> None:
        """Watch no longer."""
        self._done.set()

    def _watch(self) -> None:
        tick = min(self._limit / 10, 5.0)
        last = time.monotonic()
        while not self._done.wait(tick):
            now = time.monotonic()
            self._still += min(now - last, 2 * tick)  # a process that was suspended did not stand still
            last = now
            if self._still > self._limit and _dogs[-1:] == [self]:
                self._bite()

    def _bite(self) -> None:
        faulthandler.dump_traceback(file=sys.__stderr__ or 2, all_threads=True)
        text = (
            f"\njaxtag: stood still for {self._limit:g} seconds ({self._set_by}) while {self.doing}; where every "
            "thread stood is above; run the same command again to go on from the last checkpoint\n"
        )
        os.write(2, text.encode())
        os._exit(75)


@contextmanager
def watching(
    limit: float | None = None, doing: str = "starting", set_by: str = "JAXTAG_STALL_SECONDS"
) -> Iterator[Watchdog]:
    """Watch over a block; one inside another counts alone while it lasts.

    Args:
      limit: seconds, by default JAXTAG_STALL_SECONDS; 0 is never.
      doing: what the block does first, as the message says it.
      set_by: the variable that set the limit.

    Raises:
      JaxtagError: JAXTAG_STALL_SECONDS is no number of seconds.
    """
    limit = seconds_of(os.environ, "JAXTAG_STALL_SECONDS", STALL_SECONDS) if limit is None else limit
    dog = Watchdog(limit, doing, set_by)
    _dogs.append(dog)
    try:
        yield dog
    except BaseException:
        _failed[0] = _failed[0] or dog.doing
        raise
    finally:
        dog.close()
        _dogs.remove(dog)
        if _dogs:
            _dogs[-1].tell(_dogs[-1].doing)


def tell(doing: str) -> None:
    """Tell the innermost watchdog, if there is one, that something is done and `doing` comes next."""
    if _dogs:
        _dogs[-1].tell(doing)


def last() -> str:
    """What was being done when a watchdog last heard, or in the block that an error ended; empty where none was."""
    return _dogs[-1].doing if _dogs else _failed[0]
