"""Several processes that train, evaluate or recommend as one: their start, what they decide alike, and their end.

A process is alone unless `jaxtag.parallel.processes.found` finds others in the environment; then every function here
does nothing, or gives back what it was given. Process 0 leads: it alone writes and prints, and its clock counts.
No process goes on without the others: when one is lost, all end with exit code 75, when one ends with an error, all
end as it does. The connections of `jaxtag.parallel.channel` find that out; JAX would end a process by SIGABRT.

Training by gradient, evaluating, recommending and preflight work so. Cross-validation, sweeps, reproductions,
benchmarks, quickstart, and systems that are fitted or learned in sweeps are one process's work, and refused in a line
to several.
"""

import ctypes
import importlib.metadata
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from jaxtag.ending import told
from jaxtag.errors import PREEMPTED, JaxtagError, Lost, Preempted, Stopped
from jaxtag.parallel import watchdog
from jaxtag.parallel.channel import Channel
from jaxtag.parallel.processes import STALL_SECONDS, START_SECONDS, found, seconds_of
from jaxtag.parallel.rendezvous import meet

SAME = ("jaxtag", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint")  # packages of one version everywhere
HEARTBEAT_SECONDS = 100  # at least, of JAX's own service, beyond which it ends every process: `Channel` knows before
LOST_SECONDS = 5  # that a process whose collective failed waits to hear which other was lost
AGAIN = "run the same command again to go on from the last checkpoint"

_channel: Channel | None = None
_handlers: list[Any] = []  # of signals in C, kept from being collected


def start(environ: Mapping[str, str] = os.environ) -> None:
    """Meet the other processes of this command, if there are any, and start JAX on all of them.

    To be called before JAX has looked for devices; a second call does nothing.

    Raises:
      JaxtagError: the environment is wrong, or processes do not fit together.
      Lost: a process did not come within JAXTAG_START_SECONDS.
    """
    global _channel
    processes = found(environ)
    if processes is None or _channel is not None:
        return
    limit = seconds_of(environ, "JAXTAG_START_SECONDS", START_SECONDS)
    stall = seconds_of(environ, "JAXTAG_STALL_SECONDS", STALL_SECONDS)
    lines, names = meet(processes, {name: importlib.metadata.version(name) for name in SAME}, limit)
    import jax

    _channel = Channel(processes, lines, names, stall, _end)
    _on_abort()
    _keep_output()
    # JAX's own handler of SIGTERM would keep the signal from ours.
    jax.config.update("jax_enable_preemption_service", False)
    with watchdog.watching(limit, "starting JAX on all processes", "JAXTAG_START_SECONDS"):
        jax.distributed.initialize(
            processes.address,
            processes.count,
            processes.index,
            local_device_ids=processes.devices,
            initialization_timeout=max(1, int(limit)),
            heartbeat_timeout_seconds=int(max(stall, HEARTBEAT_SECONDS)),
            cluster_detection_method="deactivate",
        )
        devices = [f"{len(jax.local_devices())} x {jax.local_devices()[0].device_kind}"]
        agree({"devices": devices}, limit)


def count() -> int:
    """How many processes there are."""
    return _channel.count if _channel else 1


def leads() -> bool:
    """Whether this process is the one that writes and prints."""
    return _channel is None or _channel.index == 0


def hosts() -> list[str]:
    """The host name of each process; empty where this one is alone."""
    return _channel.names if _channel else []


def lead(what: str, value: Any) -> Any:
    """Process 0's `value`, JSON, on every process; each gives one, and all call this in the same order."""
    return _channel.lead(what, value) if _channel else value


def led(what: str, value: Callable[[], Any]) -> Any:
    """As `lead`, of a value that process 0 alone makes."""
    return lead(what, value() if leads() else None)


def gather(what: str, value: Any, limit: float | None = None) -> list[Any]:
    """Every process's `value`, JSON, in their order, on every process.

    Raises:
      Lost: one did not come within `limit` seconds.
    """
    return _channel.exchange(what, value, limit) if _channel else [value]


def agree(facts: Mapping[str, Any], limit: float | None = None, mend: str = "give every process the same") -> None:
    """Refuse to go on when processes differ in `facts`, JSON values by name.

    Raises:
      JaxtagError: naming the first process that differs from process 0, the fact and its two values.
      Lost: a process did not come to say its own within `limit` seconds (JAXTAG_START_SECONDS).
    """
    if _channel is None:
        return
    limit = seconds_of(os.environ, "JAXTAG_START_SECONDS", START_SECONDS) if limit is None else limit
    first, *others = gather(", ".join(facts), dict(facts), limit)
    for i, other in enumerate(others, 1):
        for name in facts:
            if first[name] != other[name]:
                at, mine, theirs = _difference(name, first[name], other[name])
                raise JaxtagError(
                    f"processes differ in {at}: process {i} ({_channel.names[i]}) has {_short(theirs)}, process 0 "
                    f"({_channel.names[0]}) has {_short(mine)}",
                    mend,
                )


def _difference(name: str, first: Any, other: Any) -> tuple[str, Any, Any]:
    """The innermost place where two values differ, of mappings."""
    if isinstance(first, dict) and isinstance(other, dict):
        for key in [*first, *(k for k in other if k not in first)]:
            if first.get(key) != other.get(key):
                return _difference(f"{name} {key}" if name else key, first.get(key), other.get(key))
    return name, first, other


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
    return text if len(text) <= 200 else text[:200] + "…"


def stopping(asked: bool) -> bool:
    """Whether all stop here: some process was asked to. Process 0 decides, so that all stop at the same step.

    Args:
      asked: whether this process was.
    """
    if _channel is None:
        return asked
    if asked:
        _channel.ask()
    return lead("stopping", _channel.asked.is_set())


def only_one(verb: str, environ: Mapping[str, str] = os.environ) -> None:
    """Refuse a verb that one process alone can do.

    Raises:
      JaxtagError: there are several.
    """
    processes = found(environ)
    if processes is not None:
        raise JaxtagError(
            f"jaxtag {verb} works in one process, and this is process {processes.index} of {processes.count} "
            f"({processes.told_by})",
            "start it once; train, evaluate, recommend and preflight work in several",
        )


def close() -> None:
    """End well, with every other process; what is done already then stays done.

    Raises:
      Lost: one did not come to the end.
    """
    global _channel
    if _channel is None:
        return
    import jax

    channel = _channel
    channel.close(seconds_of(os.environ, "JAXTAG_STALL_SECONDS", STALL_SECONDS) or None)
    jax.distributed.shutdown()
    _channel = None


@contextmanager
def joined() -> Iterator[None]:
    """A block that the processes of this command do together; what ends it in one of them ends all.

    Raises:
      JaxtagError, Lost: as `start` and `close`.
    """
    try:
        start()
        yield
        close()
    except Preempted:  # all of them were
        close()
        raise
    except BaseException as error:
        _tell(error)
        raise


def leave(code: int) -> None:
    """End with exit code `code` while others are there, whom JAX would wait for; alone, return."""
    if _channel is not None:
        _exit(code)


def _tell(error: BaseException) -> None:
    """Tell the other processes that this one ends by `error`."""
    if _channel is None:
        return
    if isinstance(error, OSError):
        error = told(error) or error
    if isinstance(error, JaxtagError):
        code, message = 2, str(error)
    elif isinstance(error, Lost | Stopped):
        code, message = PREEMPTED, str(error) or "it was stopped"
    elif isinstance(error, KeyboardInterrupt):
        code, message = 130, "it was interrupted"
    else:
        time.sleep(LOST_SECONDS)  # a collective fails first; then this process hears who was lost, and ends
        code, message = 1, f"{type(error).__name__}: its own output has where"
    _channel.fail(code, message)


def _end(code: int, message: str) -> NoReturn:
    """End because of another process."""
    at = watchdog.last()
    if code == PREEMPTED:
        message += (f" while this one was {at}" if at else "") + f"; {AGAIN}"
    sys.stderr.write(f"\njaxtag: {message}\n")
    _exit(code)


def _exit(code: int) -> NoReturn:
    """End at once: JAX would wait for the others, who are gone."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(code)


def _keep_output() -> None:
    """Keep standard output for what jaxtag prints: gloo, in C++, writes there who is connected."""
    try:
        own = os.dup(1)
        sys.stdout.flush()
        os.dup2(2, 1)
    except (OSError, ValueError):  # there is none
        return
    sys.stdout = os.fdopen(own, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)


def _on_abort() -> None:
    """Have an end by SIGABRT, which is what JAX's service makes of a lost process, be one with a message.

    The handler is called in the thread that aborts; an abort that has another reason goes on.
    """
    library = ctypes.CDLL(None)

    def aborting(number: int) -> None:
        time.sleep(LOST_SECONDS)  # as in `_tell`
        library.signal(number, ctypes.c_void_p(0))

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(aborting)
    _handlers.append(handler)
    library.signal(int(signal.SIGABRT), handler)
