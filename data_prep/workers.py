"""A pure function over a stream in several processes, results in order, memory bounded."""

import contextlib
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from multiprocessing import get_context, parent_process
from typing import Any, TypeVar

from jaxtag.errors import JaxtagError

A = TypeVar("A")
B = TypeVar("B")
AHEAD = 4  # items in flight for each process


def ordered(function: Callable[[A], B], items: Iterable[A], workers: int) -> Iterator[B]:
    """`function` of each item, in order.

    Args:
      function: pure, and picklable when `workers` is more than one.
      items: taken as results are asked for, at most `AHEAD` for each process before their turn.
      workers: processes; 1 calls the function here.

    Raises:
      JaxtagError: a process died.
    """
    items = iter(items)
    first = list(islice(items, workers * AHEAD)) if workers > 1 else []
    if len(first) < workers * AHEAD:  # one process, or done here before others would have started
        yield from map(function, chain(first, items))
        return
    # Forking would copy the locks of Arrow's and TFDS's threads as they happen to be.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start, (function,))
    waiting: deque[Future[B]] = deque()
    try:
        for item in chain(first, items):
            with _uninterrupted():
                waiting.append(pool.submit(_call, item))
            if len(waiting) >= workers * AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise JaxtagError("a worker process died, perhaps for want of memory", "try again with --workers 1") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """No Ctrl-C and no SIGTERM: a process that starts now inherits that, and leaves them to its parent.

    Here they only wait: ignored, they would be lost.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_function: Callable[[Any], Any] | None = None


def _start(function: Callable[[Any], Any]) -> None:
    """Begin a worker: keep the function, and end when the parent does, which may be killed."""
    global _function
    _function = function
    parent = parent_process()
    assert parent is not None

    def end() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()


def _call(item: Any) -> Any:
    assert _function is not None
    return _function(item)
