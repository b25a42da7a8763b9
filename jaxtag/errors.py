"""What a user did wrong, said in one line.

`JaxtagError` is the only exception that the command line turns into a message: it prints it in one
line and exits with code 2. Every other exception is a bug of ours: a traceback, and exit code 1.
"""

import difflib
from collections.abc import Iterable

PREEMPTED = 75  # exit code: stopped, and what was done is saved; the same command goes on


class JaxtagError(Exception):
    """A mistake in the input or the request; the message names what, where and the mend.

    Args:
      message: one line, without a full stop at its end, that names the file, key or value at fault.
      mend: what to do about it, as a command or an instruction; printed after a semicolon.
    """

    def __init__(self, message: str, mend: str = ""):
        self.message = " ".join(message.split())
        self.mend = " ".join(mend.split())
        super().__init__(f"{self.message}; {self.mend}" if self.mend else self.message)


class Diverged(JaxtagError):
    """A loss was not finite: a run of its own ends there, a search goes on without this point."""


class Preempted(Exception):
    """A run was asked to stop (SIGTERM, SIGINT) and everything done so far is saved; exit code 75."""


class Stopped(KeyboardInterrupt):
    """SIGTERM came where nothing has to be saved first; like Ctrl-C, it undoes what is half done. Exit code 75."""


class Lost(Exception):
    """A process of several never came, or was lost; what was saved is kept; exit code 75."""


def nearest(name: str, names: Iterable[str]) -> str:
    """'did you mean X?' when some known name is close to `name`, else a list of the known names."""
    known = sorted(names)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(known)}" if known else "none is known"
