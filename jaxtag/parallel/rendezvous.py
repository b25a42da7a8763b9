"""How the processes of one command meet: each says who it is to process 0, which lets all begin, or says who is wrong.

Process 0 listens at the coordinator's port. Whoever connects and does not speak this is left aside.
"""

import selectors
import socket
import time
from collections.abc import Mapping
from typing import Any

from jaxtag.errors import JaxtagError, Lost
from jaxtag.parallel.channel import Line
from jaxtag.parallel.processes import Processes

PROTOCOL = 1
ANSWER_SECONDS = 15  # that process 0 may take beyond the limit to say who is missing
NAMED = 8  # missing processes that a message names


def meet(processes: Processes, versions: Mapping[str, str], limit: float) -> tuple[dict[int, Line], list[str]]:
    """Meet the other processes.

    Args:
      processes: how many there are, and which this is.
      versions: of the packages that must be the same everywhere.
      limit: seconds to wait.

    Returns:
      The connections: of process 0 to each other, of another to process 0; and the host of each process.

    Raises:
      JaxtagError: the coordinator's address is wrong, two processes have one number, or versions or counts differ.
      Lost: a process did not come in time.
    """
    hello = {
        "jaxtag": PROTOCOL,
        "process": processes.index,
        "count": processes.count,
        "host": socket.gethostname()[:200],
        "versions": dict(versions),
    }
    return _gather(processes, hello, limit) if processes.index == 0 else _report(processes, hello, limit)


def _gather(processes: Processes, hello: dict[str, Any], limit: float) -> tuple[dict[int, Line], list[str]]:
    """Process 0's part."""
    deadline, present = time.monotonic() + limit, dict[int, tuple[Line, dict[str, Any]]]()
    new = dict[socket.socket, Line]()
    with _listener(processes) as listener, selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)

        def drop(line: Line) -> None:
            selector.unregister(line.socket)
            new.pop(line.socket, None)
            for index in [i for i, (known, _) in present.items() if known is line]:
                del present[index]
            line.close()

        while len(present) < processes.count - 1:
            left = deadline - time.monotonic()
            if left <= 0:
                _refuse(present, *_missing(processes, present, limit))
            for key, _ in selector.select(left):
                if key.fileobj is listener:
                    connection, _ = listener.accept()
                    connection.setblocking(False)
                    new[connection] = Line(connection)
                    selector.register(connection, selectors.EVENT_READ, new[connection])
                    continue
                line = key.data
                try:
                    said = line.read()
                except ValueError:
                    said = None
                if said is None or any(message.get("jaxtag") != PROTOCOL for message in said):
                    drop(line)  # a process that died while it waited, or none of ours
                    continue
                for message in said:
                    new.pop(line.socket, None)
                    _check(processes, hello, message, present, line)
                    present[message["process"]] = line, message
        for line in new.values():
            line.close()
    names = [hello["host"], *(present[i][1]["host"] for i in range(1, processes.count))]
    for line, _ in present.values():
        line.socket.setblocking(True)
        line.send({"begin": names})
    return {i: line for i, (line, _) in present.items()}, names


def _listener(processes: Processes) -> socket.socket:
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", processes.port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
        return socket.create_server(("", processes.port), backlog=1024)
    except OSError as error:
        raise JaxtagError(
            f"process 0 cannot listen at port {processes.port}: {error.strerror}; another process 0, or another "
            "program, may hold it",
            "give another port, or end that program",
        ) from error


def _check(
    processes: Processes, mine: dict[str, Any], hello: dict[str, Any],
    present: dict[int, tuple[Line, dict[str, Any]]], line: Line,
) -> None:  # fmt: skip
    """Refuse all when `hello` cannot be one of them."""
    told: list[Any] = [hello.get(key) for key in ("process", "count", "host", "versions")]
    index, count, host, versions = told
    ours = isinstance(index, int) and isinstance(host, str) and isinstance(versions, dict)
    everyone = {**present, -1: (line, hello)}
    if not ours or count != processes.count or not 0 <= index < processes.count:
        _refuse(
            everyone,
            f"process {index} ({host}) says that there are {count} processes, process 0 ({mine['host']}) that there "
            f"are {processes.count}",
            "give every process the same number of processes",
        )
    other = mine["host"] if index == 0 else present[index][1]["host"] if index in present else None
    if other is not None:
        _refuse(
            everyone, f"two processes say that they are process {index}, on {other} and on {host}",
            f"give each its own number from 0 to {count - 1}",
        )  # fmt: skip
    for name in sorted({*mine["versions"], *versions}):
        if versions.get(name) != mine["versions"].get(name):
            _refuse(
                everyone,
                f"process {index} ({host}) has {name} {versions.get(name)}, process 0 ({mine['host']}) has "
                f"{mine['versions'].get(name)}",
                "install the same version on every host",
            )


def _missing(processes: Processes, present: Mapping[int, Any], limit: float) -> tuple[str, str, int]:
    """What is said of those that did not come: message, mend and exit code."""
    gone = [i for i in range(1, processes.count) if i not in present]
    which = ", ".join(map(str, gone[:NAMED])) + (f" and {len(gone) - NAMED} more" if len(gone) > NAMED else "")
    who = f"process{'es' if len(gone) > 1 else ''} {which} of {processes.count}"
    message = f"{who} did not come to {processes.address} within {limit:g} seconds"
    if not _local(processes.host):
        said = f"{message}; {processes.host} ({processes.told_by}) is no address of this host, where process 0 runs"
        return said, "name the host of process 0", 2
    return message, "see its output, or raise JAXTAG_START_SECONDS, and run the same command again", 75


def _local(host: str) -> bool:
    """Whether `host` is an address of this machine."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as probe:
            try:
                probe.bind((address[0], 0))
                return True
            except OSError:
                continue
    return False


def _refuse(present: Mapping[int, tuple[Line, Any]], message: str, mend: str, code: int = 2) -> None:
    """Tell everyone who is there why they do not begin, and raise it."""
    for line, _ in present.values():
        line.send({"refused": message, "mend": mend, "code": code})
    _raise(message, mend, code)


def _raise(message: str, mend: str, code: int) -> None:
    raise JaxtagError(message, mend) if code == 2 else Lost(f"{message}; {mend}")


def _report(processes: Processes, hello: dict[str, Any], limit: float) -> tuple[dict[int, Line], list[str]]:
    """The part of every other process."""
    deadline, pause, reason = time.monotonic() + limit, 0.1, ""
    while (left := deadline - time.monotonic()) > 0:
        try:
            connection = socket.create_connection((processes.host, processes.port), timeout=min(left, 10))
        except OSError as error:  # of names too: a pod's may be known only later
            reason = error.strerror or str(error)
            time.sleep(min(pause, max(left, 0)))
            pause = min(2 * pause, 1.0)
            continue
        line = Line(connection)
        line.send(hello)
        found = _verdict(processes, line, deadline + ANSWER_SECONDS)
        if found is not None:
            connection.settimeout(None)
            return {0: line}, found
        line.close()
        reason = "it closed the connection"
        time.sleep(min(pause, max(deadline - time.monotonic(), 0)))
        pause = min(2 * pause, 1.0)
    raise JaxtagError(
        f"process {processes.index} of {processes.count} found no process 0 at {processes.address} "
        f"({processes.told_by}) within {limit:g} seconds: {reason}",
        "name the host and a port of process 0, and see whether that process has begun",
    )


def _verdict(processes: Processes, line: Line, deadline: float) -> list[str] | None:
    """The hosts of all processes once process 0 lets them begin; None where it closed the connection."""
    while (left := deadline - time.monotonic()) > 0:
        line.socket.settimeout(left)
        try:
            said = line.read()
        except ValueError:
            raise JaxtagError(
                f"what answers process {processes.index} at {processes.address} is no process 0 that waits for others: "
                "it is another program, or all its processes have come",
                "see that the address is right and that no number is given twice",
            ) from None
        if said is None:
            return None
        for message in said:
            if "refused" in message:
                _raise(message["refused"], message["mend"], message["code"])
            if "begin" in message:
                return message["begin"]
    raise Lost(f"process 0 at {processes.address} did not say who is missing; run the same command again")
