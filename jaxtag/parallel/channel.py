"""How processes of one command talk: a line of JSON at a time, each with process 0, over a connection that stays open.

It exists before JAX's own coordination does, so that a process that is missing, doubled or of other versions is named
in one line; JAX itself ends the process by a signal. While it is open, a connection that closes says who was lost; and
what must be decided alike everywhere (when to stop, how many steps a dispatch has) is decided by process 0.

The coordinator's port is held until everyone is there, and then let go of for JAX's service: one port is enough.
"""

import json
import selectors
import socket
import threading
import time
from collections.abc import Callable
from queue import Empty, Queue
from typing import Any

from jaxtag.errors import PREEMPTED, Lost
from jaxtag.parallel.processes import Processes

HELLO_BYTES = 1 << 16  # most of a first line: whoever connects is unknown until then
LINE_BYTES = 1 << 28  # most of a later one
VANISHED_SECONDS = 60  # after which a machine that does not answer is given up
Ended = Callable[[int, str], Any]


class Line:
    """One connection: whole lines in and out."""

    def __init__(self, connection: socket.socket, most: int = HELLO_BYTES):
        """Talk over `connection`, in lines of `most` bytes at most."""
        self.socket, self.most, self._sending, self._rest = connection, most, threading.Lock(), b""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def probe(self, seconds: float) -> None:
        """Notice within `seconds` that the other's machine vanished, which closes nothing."""
        each = max(1, int(seconds / 4))
        values = {"TCP_KEEPIDLE": each, "TCP_KEEPINTVL": each, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 4000 * each}
        for name, value in values.items():
            if hasattr(socket, name):  # not everywhere
                self.socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def send(self, message: dict[str, Any]) -> None:
        """Send `message`; a closed connection is noticed where lines are read."""
        try:
            with self._sending:
                self.socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            pass

    def read(self) -> list[dict[str, Any]] | None:
        """The messages that have come, perhaps none yet; None where the connection is closed.

        Raises:
          ValueError: what came is no message.
        """
        try:
            data = self.socket.recv(1 << 20)
        except (BlockingIOError, InterruptedError, TimeoutError):
            return []
        except OSError:
            return None
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        if any(len(line) > self.most or not line.startswith(b"{") for line in (*lines, self._rest or b"{")):
            raise ValueError("a line is too long, or no message")
        found = [json.loads(line) for line in lines]
        if not all(isinstance(message, dict) for message in found):
            raise ValueError("a line is no message")
        return found

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()


class Channel:
    """The open connections of one process: of process 0 to every other, of another to process 0."""

    def __init__(self, processes: Processes, lines: dict[int, Line], names: list[str], stall: float, ended: Ended):
        """Talk over `lines`, by process.

        Args:
          processes: which process this is.
          lines: from the rendezvous.
          names: the host of each process.
          stall: seconds within which a machine that vanished is noticed, if they are less than a minute; 0 is none.
          ended: called in a thread, with an exit code and a message, when another process was lost or has ended.
        """
        self.index, self.count, self.names = processes.index, processes.count, names
        self.asked = threading.Event()  # on process 0: some process was asked to stop
        self._lines, self._ended, self._left = lines, ended, set[int]()
        self._inbox: dict[int, Queue[dict[str, Any]]] = {i: Queue() for i in lines}
        self._turn, self._closing = 0, threading.Event()
        self._selector = selectors.DefaultSelector()
        for i, line in lines.items():
            line.most = LINE_BYTES
            line.probe(min(VANISHED_SECONDS, stall or VANISHED_SECONDS))
            self._selector.register(line.socket, selectors.EVENT_READ, i)
        self._thread = threading.Thread(target=self._listen, name="processes", daemon=True)
        self._thread.start()

    def exchange(self, what: str, value: Any, limit: float | None = None) -> list[Any]:
        """What each process gives for `value`, in their order; returns when all have given one.

        Args:
          what: is exchanged, as a message says it.
          value: as JSON has it.
          limit: seconds to wait, None without end.

        Raises:
          Lost: not every process has come in that time; the message names them.
        """
        self._turn += 1
        mine = {"kind": "turn", "turn": self._turn, "what": what, "value": value}
        if self.index:
            self._lines[0].send(mine)
            found = self._next(0, what, None if limit is None else limit + 10)
            if found is None:
                raise Lost(f"process 0 ({self.names[0]}) did not come to {what!r} within {limit:g} seconds")
            return found
        deadline = None if limit is None else time.monotonic() + limit
        found, late = [json.loads(json.dumps(value))], []  # as what the others send comes
        for i in range(1, self.count):
            left = None if deadline is None else max(deadline - time.monotonic(), 0.01)
            given = self._next(i, what, left)
            late += [i] if given is None else []
            found.append(None if given is None else given[0])
        if late:
            who = ("processes " if len(late) > 1 else "process ") + ", ".join(f"{i} ({self.names[i]})" for i in late)
            raise Lost(f"{who} did not come to {what!r} within {limit:g} seconds")
        for line in self._lines.values():
            line.send(mine | {"value": found})
        return found

    def lead(self, what: str, value: Any) -> Any:
        """What process 0 gives for `value`, everywhere; process 0 waits for no one."""
        self._turn += 1
        if self.index:
            return self._next(0, what, None)
        for line in self._lines.values():
            line.send({"kind": "turn", "turn": self._turn, "what": what, "value": value})
        return value

    def ask(self) -> None:
        """Ask process 0 to have all stop."""
        if self.index == 0:
            self.asked.set()
        else:
            self._lines[0].send({"kind": "stop"})

    def fail(self, code: int, message: str) -> None:
        """Say that this process ends with exit code `code`, and why."""
        for line in self._lines.values():
            line.send({"kind": "ended", "process": self.index, "code": code, "message": message})

    def close(self, limit: float | None) -> None:
        """End well: returns when every process has come here, within `limit` seconds."""
        self.exchange("the end", None, limit)
        self._closing.set()
        for line in self._lines.values():
            line.send({"kind": "bye"})

    def _next(self, i: int, what: str, limit: float | None) -> Any:
        """The next value from process `i`: a list of one from another process, all's or its own from process 0."""
        try:
            message = self._inbox[i].get(timeout=limit)
        except Empty:
            return None
        if (message["turn"], message["what"]) != (self._turn, what):
            raise RuntimeError(
                f"process {i} is at {message['turn']}, {message['what']!r}, this one at {self._turn}, {what!r}"
            )
        return message["value"] if i == 0 else [message["value"]]

    def _listen(self) -> None:
        while self._selector.get_map():
            for key, _ in self._selector.select():
                i = key.data
                try:
                    messages = self._lines[i].read()
                except ValueError:
                    messages = None
                for message in messages or ():
                    self._heard(i, message)
                if messages is None:
                    self._selector.unregister(key.fileobj)
                    if i not in self._left and not self._closing.is_set():
                        self._gone(i, PREEMPTED, None)

    def _heard(self, i: int, message: dict[str, Any]) -> None:
        kind = message.get("kind")
        if kind == "turn":
            self._inbox[i].put(message)
        elif kind == "stop":
            self.asked.set()
        elif kind == "bye":
            self._left.add(i)
        elif kind == "ended":
            self._gone(message["process"], message["code"], message["message"])

    def _gone(self, i: int, code: int, message: str | None) -> None:
        """Process `i` has ended, or was lost: tell the others, if this is process 0, and end."""
        told = {"kind": "ended", "process": i, "code": code, "message": message}
        if self.index == 0:
            for other, line in self._lines.items():
                if other != i:
                    line.send(told)
        name = f"process {i} of {self.count} ({self.names[i]})"
        self._ended(code, f"{name} was lost" if message is None else f"{name} ended: {message}")
