"""A full disk, said in a sentence."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from jaxtag.errors import JaxtagError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def room(folder: Path) -> Iterator[None]:
    """What is written to `folder` meanwhile may find the disk full: NumPy says so without a file or a reason.

    Raises:
      JaxtagError: it was; the message names the file, or else the folder.
    """
    try:
        yield
    except OSError as error:
        short = error.errno is None and " requested and " in str(error)  # NumPy's "9 requested and 3 written"
        if error.errno not in _FULL and not short:
            raise
        reason = "the disk is full" if short or error.errno == errno.ENOSPC else error.strerror
        mend = "make room on the disk, and give the same command again"
        raise JaxtagError(f"{error.filename or folder} could not be written: {reason}", mend) from None
