"""What Orbax says otherwise than the rest of jaxtag: its errors, its logs, its clock; importing this settles them."""

import importlib
import json
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

# A save that fails is logged with its stack, once a thread; it is raised too, which is said in a line.
logging.getLogger("absl").addFilter(lambda record: "orbax" not in record.pathname)
logging.getLogger("asyncio").addFilter(lambda record: not record.getMessage().startswith("Future exception was never"))

# They wait by the wall clock, and give a save up when it jumps ahead.
for _module in ("future", "signaling_client"):
    with suppress(ImportError):
        _found = importlib.import_module(f"orbax.checkpoint._src.futures.{_module}")
        setattr(_found, "time", SimpleNamespace(time=time.monotonic))  # noqa: B010 (a module has no such field)


@contextmanager
def told_by_system(folder: Path) -> Iterator[None]:
    """What the system says of a file is told as its error, of `folder`, however Orbax has it.

    Raises:
      OSError: a file could not be written or read.
    """
    try:
        yield
    except (ValueError, RuntimeError, OSError) as error:
        told = re.search(r"os_error_code='(\d+)'", str(error))
        code = int(told[1]) if told else getattr(error, "errno", None)
        if code is None:
            raise
        raise OSError(code, os.strerror(code), str(folder)) from error


def reason(error: BaseException) -> str:
    """Why a checkpoint cannot be read, in a line: Orbax wraps some reasons in pages of settings."""
    return str(error.__cause__ or error).strip().split("\n")[0][:200]


def ranked(path: Path) -> bool:
    """Whether the metrics of the checkpoint at `path` can be read, and what Orbax wrote about it."""
    for file, keys in ((path / "metrics" / "metrics", ("metric", "step")), (path / "_CHECKPOINT_METADATA", ())):
        try:
            found = json.loads(file.read_text("utf-8"))
        except FileNotFoundError:
            continue  # of a checkpoint without any
        except (ValueError, RecursionError):
            return False
        if not isinstance(found, dict) or any(type(found.get(key, 0)) not in (int, float) for key in keys):
            return False
    return True
