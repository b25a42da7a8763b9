"""Signals while a run trains: SIGTERM and SIGINT let it save and stop, and lose nothing."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable

from jaxtag.errors import PREEMPTED


class signals:
    """While open, SIGTERM and SIGINT set an event instead of ending the process.

    Python hears of a signal between two of its own instructions, and compiling, which may take minutes, is one. While
    `idle` says that there is nothing to save, the process therefore ends at once, with exit code 75.
    """

    def __init__(self, stop: threading.Event, idle: Callable[[], bool] = lambda: False):
        """Set `stop`; `idle` is asked from another thread."""
        self._stop, self._idle = stop, idle
        self._before: dict[int, object] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        handle = lambda *_: self._stop.set()  # noqa: E731
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, daemon=True).start()
        self._before = {s: signal.signal(s, handle) for s in (signal.SIGTERM, signal.SIGINT)}

    def __exit__(self, *_: object) -> None:
        if not self._before:
            return
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(self._fd)
        self._writer.close()

    def _watch(self) -> None:
        with self._reader:
            while heard := self._reader.recv(1):
                if heard[0] in self._before and self._idle():
                    said = "jaxtag: stopped before a step was done; the same command goes on"
                    print(said, file=sys.stderr, flush=True)
                    os._exit(PREEMPTED)
