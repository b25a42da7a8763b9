"""How a command ends: what went wrong as one line and an exit code, the same for `jaxtag` and `jaxtag-prep`.

0 done, 2 the user's mistake or a disk's, 75 stopped and to be given again, 130 Ctrl-C, 1 a bug of ours.
"""

import errno
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from jaxtag.errors import PREEMPTED, JaxtagError, Lost, Preempted, Stopped

_AGAIN = "give the same command again"
_MENDS = {
    errno.ENOSPC: ("the disk is full", f"make room on the disk, and {_AGAIN}"),
    errno.EDQUOT: ("the quota is used up", f"make room on the disk, and {_AGAIN}"),
    errno.EFBIG: ("it grew larger than a file may be here", f"make room on the disk, and {_AGAIN}"),
    errno.EROFS: ("its file system is read-only", "make it writable, or name another folder"),
    errno.EACCES: ("permission denied", "give yourself the right to it, or name another folder"),
    errno.EPERM: ("it is not permitted", "give yourself the right to it, or name another folder"),
    errno.EIO: ("the disk or the network gave an error", f"see that it is sound, and {_AGAIN}"),
    errno.ESTALE: ("it is gone from the network's file system", f"mount that again, and {_AGAIN}"),
    errno.ENOTDIR: ("a part of its path is no folder", "name another folder"),
    errno.EISDIR: ("it is a folder", "name a file"),
    errno.ENAMETOOLONG: ("its name is too long", "name another"),
    errno.ELOOP: ("its links lead in a circle", "name another"),
    errno.EMFILE: ("too many files are open", f"raise ulimit -n, and {_AGAIN}"),
    errno.ENFILE: ("too many files are open", f"close some, and {_AGAIN}"),
    errno.ENOLCK: ("its file system has no locks", "put it on one that has, such as a local disk"),
    errno.ENOMEM: ("there is no memory left", f"make room in memory, and {_AGAIN}"),
}
_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def told(error: OSError) -> JaxtagError | None:
    """What the system says of a file, as a mistake with a mend; None of an error that only a bug explains.

    An error without a file is of standard output: those of files are named where they are written
    (`jaxtag.files.named`). NumPy's of a full disk has no number.
    """
    code = errno.ENOSPC if error.errno is None and " requested and " in str(error.args) else error.errno
    if code not in _MENDS:
        return None
    said, mend = _MENDS[code]
    what = "could not be written" if code in _WRITING else "cannot be used"
    return JaxtagError(f"{_name(error) or 'standard output'} {what}: {said}", mend)


def _name(error: OSError) -> str:
    name = error.filename
    return os.fsdecode(name) if isinstance(name, str | bytes | os.PathLike) else ""


def _drops(frame: FrameType | None) -> bool:
    """Whether Python would drop what is raised at `frame`: in a finalizer, or a callback of its collector (JAX's)."""
    while frame is not None:
        if frame.f_code.co_name in ("__del__", "_xla_gc_callback"):
            return True
        frame = frame.f_back
    return False


@contextmanager
def stoppable() -> Iterator[None]:
    """While open, SIGTERM raises `Stopped`, so that what is half done is undone, as Ctrl-C has it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    heard: list[float] = []

    def stop(number: int, frame: FrameType | None) -> None:
        """Launchers signal twice, a process and its group: the second is no reason to leave undoing undone."""
        if _drops(frame):
            threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
            return
        now = time.monotonic()
        if not heard or now - heard[-1] > 5:
            heard.append(now)
            raise Stopped

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def code_of(program: str, command: Callable[[], None]) -> int:
    """Run `command` and say in one line, which begins with the `program`'s name, what went wrong; its exit code."""
    try:
        with stoppable():
            command()
            sys.stdout.flush()  # or a full disk would be noticed too late to say so
        return 0
    except JaxtagError as error:
        return _said(program, error, 2)
    except (Preempted, Lost) as error:
        return _said(program, error, PREEMPTED)
    except Stopped:
        return _said(program, "stopped; the same command does what is left", PREEMPTED)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read the output has had enough
        _drop_output()
        return 0
    except OSError as error:
        if (mistake := told(error)) is None:
            traceback.print_exc()
            return 1
        _drop_output()
        return _said(program, mistake, 2)
    except Exception:
        traceback.print_exc()
        return 1


def _said(program: str, what: object, code: int) -> int:
    print(f"{program}: {what}", file=sys.stderr)
    return code


def _drop_output() -> None:
    """Forget what standard output cannot take: Python would fail on it once more as it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
