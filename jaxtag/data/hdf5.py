"""HDF5 files that anybody may have made: only what lies in the file itself is read, and a process tries it first.

HDF5 can keep an array in other files, whose paths it names (external links, external storage, virtual datasets), and
can say of a small file that it holds a terabyte. Its library trusts what it reads: a damaged file can end the process,
or keep it busy for ever. So a process of its own, within bounds of memory and time, reads a file before we do.
"""

import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jaxtag.errors import JaxtagError

MOST_EXPANDED = 100  # times its stored size that an array may have
ALWAYS_EXPANDED = 1 << 28  # bytes that any may have
SECONDS = 30  # of a processor that trying a file may take, and one more for each of
BYTES_A_SECOND = 50 << 20
MEMORY = 2 << 30  # bytes of addresses that trying it may take, beside those it begins with
WHOLE = 1 << 30  # bytes up to which an array of numbers is tried whole; of a longer one, its ends
_BLOCK = 1 << 26
REFUSED = 3  # exit code of the process, which then prints the reason
# What h5py raises where a file is damaged.
DAMAGE = (OSError, RuntimeError, ValueError, KeyError, TypeError, IndexError, ArithmeticError, SystemError, MemoryError)


@contextmanager
def opened(path: Path, extra: str) -> Iterator[Any]:
    """The file at `path`, open for reading, all of whose arrays are its own; `extra` of jaxtag brings h5py.

    Raises:
      JaxtagError: h5py is not installed, the file is none of HDF5's or damaged, refers to other files, or is to
        unpack to far more than it has.
    """
    try:
        import h5py
    except ImportError:
        raise JaxtagError(f"h5py is not installed, to read {path.name}", f"pip install 'jaxtag[{extra}]'") from None
    code, said = tried(path, SECONDS + path.stat().st_size // BYTES_A_SECOND)
    if code:
        raise JaxtagError(f"{path} is no readable {path.suffix} file: {said if code == REFUSED else _ended(code)}")
    with h5py.File(path, "r") as file:
        yield file


def tried(path: Path, seconds: int) -> tuple[int, str]:
    """The exit code of a process that tries to read the file at `path`, for so many seconds at most, and its words."""
    command = "import sys; from jaxtag.data import hdf5; sys.exit(hdf5.attempt(sys.argv[1], int(sys.argv[2])))"
    done = subprocess.run([sys.executable, "-P", "-c", command, str(path), str(seconds)], capture_output=True)
    return done.returncode, done.stdout.decode("utf-8", "replace")


def attempt(path: str, seconds: int, out: Any = None) -> int:
    """Try to read the file at `path`, within bounds that this process then has: 0, or `REFUSED` and why, to `out`."""
    import h5py

    has = (
        int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if sys.platform == "linux" else 0
    )
    resource.setrlimit(resource.RLIMIT_AS, (has + MEMORY, has + MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with h5py.File(path, "r") as file:
            _check(h5py, file)
            _try(file)
    except DAMAGE as error:
        (out or sys.stdout).write(reason(error))
        return REFUSED
    return 0


def within(group: Any) -> dict[str, Any]:
    """The arrays right in an open group, by name."""
    return {key: item for key, item in group.items() if hasattr(item, "shape")}


def arrays(group: Any) -> dict[str, Any]:
    """The arrays below an open group by their path, in the order of their names."""
    found: dict[str, Any] = {}
    group.visititems(lambda key, item: found.update({key: item} if hasattr(item, "shape") else {}))
    return found


def reason(error: Exception) -> str:
    """What an error says, in a line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _ended(code: int) -> str:
    """What became of a process that did not come to an end of its own."""
    if -code in (signal.SIGXCPU, signal.SIGKILL):
        return "reading it takes far longer than its size explains"
    return f"reading it ends the process that does ({signal.Signals(-code).name if code < 0 else code})"


def _check(h5py: Any, file: Any) -> None:
    """Refuse links to elsewhere, and arrays that are stored elsewhere or nowhere.

    Raises:
      ValueError: there is one.
    """
    groups = [file]
    file.visititems(lambda _, item: groups.append(item) if isinstance(item, h5py.Group) else None)
    for group in groups:
        for key in group:
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise ValueError(f"{key!r:.80} is a link, which is not followed")
    for key, array in arrays(file).items():
        if array.is_virtual or array.external:
            raise ValueError(f"the numbers of {key!r:.80} lie in other files, which are not read")
        if array.dtype.itemsize and array.size and array.shape:
            stored = array.id.get_storage_size()
            if array.nbytes > max(ALWAYS_EXPANDED, MOST_EXPANDED * stored):
                raise ValueError(f"{key!r:.80} is to have {array.nbytes} bytes, of which {stored} are there")


def _try(file: Any) -> None:
    """Read all attributes and arrays, of those of numbers that are longer than `WHOLE` the first and last rows."""
    items: list[Any] = [file]
    file.visititems(lambda _, item: items.append(item))
    for item in items:
        for name in item.attrs:
            str(item.attrs[name])
        if not hasattr(item, "shape") or item.shape is None or not item.size:
            continue
        if not item.shape:
            str(item[()])
            continue
        rows = max(1, _BLOCK * len(item) // max(1, item.nbytes))
        starts = range(0, len(item), rows)
        for start in starts if item.nbytes <= WHOLE or item.dtype.hasobject else (0, starts[-1]):
            block = item[start : start + rows]
            if item.dtype.hasobject:
                str(block.tolist())
