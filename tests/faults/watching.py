"""One input to one reader, watched: time, memory, files opened, anything unpickled or started."""

import contextlib
import faulthandler
import hashlib
import os
import resource
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxtag.data.pictures import BadImage
from jaxtag.errors import JaxtagError
from tests.faults.targets import Read, Target

SECONDS = 5.0  # of processor time that one input may take: a busy machine makes no findings
TICKS, TICK = 20, 6.0  # of the clock, which may pass while an input waits; a process that is stopped sees one tick
MEMORY = 1 << 28  # bytes by which an input may raise the peak of the process
ADDRESSES = 4 << 30  # bytes of addresses that the process may get beside those it has
STARTED = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "socket.connect",
           "socket.bind", "pickle.find_class", "ctypes.dlopen"}  # fmt: skip
CHANGED = {
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.symlink",
    "os.link",
    "os.truncate",
    "os.chmod",
    "os.chown",
    "shutil.rmtree",
    "shutil.move",
    "shutil.copyfile",
}
_WITHIN = ("os.remove", "os.rmdir", "os.mkdir")  # whose last argument is the open folder that a name is of
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Hang(BaseException):
    """An input took too long."""


@dataclass(frozen=True)
class Finding:
    """What an input did that none may.

    Attributes:
      reader: its name.
      what: the exception, or what else it was.
      where: the last line of ours that was running.
      data: the input.
    """

    reader: str
    what: str
    where: str
    data: bytes

    @property
    def key(self) -> tuple[str, str, str]:
        """Findings of one key are one mistake."""
        return self.reader, self.what.partition(":")[0], self.where

    def save(self, folder: Path) -> Path:
        """Keep the input in `folder`, and beside it what it did."""
        path = folder / f"{self.reader}-{hashlib.sha256(self.data).hexdigest()[:12]}"
        path.write_bytes(self.data)
        path.with_suffix(path.suffix + ".txt").write_text(f"{self.what}\n{self.where}\n", "utf-8", "backslashreplace")
        return path


@dataclass
class Guard:
    """What is opened, changed and started while an input is read, by Python's audit events.

    Attributes:
      roots: folders that may be read; the first may be written to.
      seen: what was done that may not be.
      on: whether it looks.
      seconds: of processor time that an input may take.
      ticks: of the clock, since it began.
      starts: whether a process may be started.
    """

    roots: tuple[str, ...] = ()
    seen: list[str] = field(default_factory=list)
    on: bool = False
    seconds: float = SECONDS
    ticks: int = 0
    starts: bool = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit event."""
        if not self.on:
            return
        if event == "open":
            self._file(arguments[0], isinstance(arguments[2], int) and arguments[2] & WRITING)
        elif event in CHANGED:
            within = f"/proc/self/fd/{arguments[-1]}" if event in _WITHIN and (arguments[-1] or -1) >= 0 else ""
            for path in arguments[:2]:
                named = isinstance(path, str | bytes | os.PathLike)
                self._file(os.path.join(within, os.fsdecode(path)) if within and named else path, True)
        elif event in STARTED and not (event in ("subprocess.Popen", "os.fork") and self.starts):
            self.seen.append(f"started {event} {arguments!r:.100}")

    def _file(self, path: Any, written: Any) -> None:
        if not isinstance(path, str | bytes | os.PathLike) or os.fspath(path) == os.devnull:
            return
        self.on = False
        try:
            real = os.path.realpath(os.fsdecode(path))
        except ValueError:  # with a zero byte: nothing is opened
            return
        finally:
            self.on = True
        roots = self.roots[:1] if written else self.roots
        if not any(real == root or real.startswith(root + os.sep) for root in roots):
            self.seen.append(f"{'wrote' if written else 'read'} {real}")


GUARD = Guard()
_HOOKED: list[bool] = []


@contextlib.contextmanager
def watched(folder: Path, seconds: float = SECONDS) -> Iterator[None]:
    """Inputs are read from below `folder`, the `outside` of which is out of bounds, for at most `seconds` each."""
    if not _HOOKED:
        sys.addaudithook(GUARD)
        _HOOKED.append(True)
    root = Path(__file__).resolve().parents[2]
    code = {
        sys.prefix,
        sys.base_prefix,
        str(root / "jaxtag"),
        str(root / "data_prep"),
        str(root / "configs"),
        "/usr",
        "/proc",
    }
    GUARD.seconds = seconds
    GUARD.roots = (str(folder.resolve()), *map(os.path.realpath, code))
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    old = [signal.signal(number, handler) for number, handler in ((signal.SIGPROF, _late), (signal.SIGALRM, _ticked))]
    try:
        yield
    finally:
        tempfile.tempdir = before
        for number, handler in zip((signal.SIGPROF, signal.SIGALRM), old, strict=True):
            signal.signal(number, handler)


def _late(*_: Any) -> None:
    raise Hang(f"more than {GUARD.seconds} s of processor time")


def _ticked(*_: Any) -> None:
    GUARD.ticks += 1
    if GUARD.ticks >= TICKS:
        raise Hang(f"more than {TICKS * TICK} s on the clock")


def _timed(on: bool) -> None:
    """Begin to measure an input's time, or end it."""
    GUARD.ticks = 0
    signal.setitimer(signal.ITIMER_PROF, GUARD.seconds if on else 0)
    signal.setitimer(signal.ITIMER_REAL, TICK if on else 0, TICK if on else 0)


def warm(read: Read, seeds: list[bytes]) -> None:
    """Read the seeds unwatched: what a reader imports when it is first used opens files of its own."""
    for data in seeds:
        with contextlib.suppress(Exception):  # it is tried again, watched
            read(data)


def limit_addresses() -> None:
    """Let this process have no more than `ADDRESSES` beside what it has, so that a wish for more fails at once."""
    has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (has + ADDRESSES, resource.RLIM_INFINITY))


def attempt(target: Target, read: Read, data: bytes) -> bool | Finding:
    """Whether the reader had use of an input; or what it did that none may do."""
    GUARD.seen.clear()
    GUARD.starts = target.starts
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    what, where = "", ""
    _timed(True)
    used = GUARD.on = True
    try:
        used = read(data)
    except (JaxtagError, BadImage) as error:
        used = False
        what = _unfit(error)
    except Hang as error:
        what, where = f"Hang: {error}", _place(error)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # Rust's panics are no Exception
        what, where = f"{type(error).__name__}: {error!s:.200}", _place(error)
    finally:
        _timed(False)
        GUARD.on = False
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    if not what and GUARD.seen:
        what = f"Outside: {GUARD.seen[0]}"
    if not what and grown > MEMORY:
        what = f"Memory: {grown >> 20} MiB more"
    return Finding(target.name, what, where, data) if what else used


def _unfit(error: Exception) -> str:
    """What is wrong with a refusal: it is one line of characters that can be printed."""
    said = str(error)
    if not said.strip() or "\n" in said:
        return f"Message: not one line: {said!r:.200}"
    return "" if len(said) < 3000 else f"Message: {len(said)} characters: {said!r:.80}"


def _place(error: BaseException) -> str:
    """The last line of jaxtag's own that was running."""
    lines = [
        f for f in traceback.extract_tb(error.__traceback__) if "/jaxtag/" in f.filename or "/data_prep/" in f.filename
    ]
    last = lines[-1] if lines else traceback.extract_tb(error.__traceback__)[-1]
    return f"{'/'.join(Path(last.filename).parts[-2:])}:{last.lineno} {last.name}"


def arm(seconds: int) -> None:
    """End the process, with its stacks on standard error, when it takes so much processor time before the next call.

    One that only waits is ended when the clock has gone three times as far.
    """
    faulthandler.register(signal.SIGXCPU, chain=True)
    used = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + seconds, resource.RLIM_INFINITY))
    faulthandler.dump_traceback_later(3 * seconds, exit=True)
