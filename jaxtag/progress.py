"""Progress bars: on a terminal, for what takes over two seconds, with the time left."""

import sys
from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(items: Iterable[T], what: str, total: int | None = None) -> Iterable[T]:
    """`items` one by one, under a bar named `what` on standard error; `total` where they have no length."""
    return tqdm(items, desc=what, total=total, delay=2, leave=False, file=sys.stderr, disable=not sys.stderr.isatty())


def bar(what: str, total: int) -> Any:
    """A bar named `what` on standard error, a context manager, to be told with `update` of how much more is done."""
    return tqdm(desc=what, total=total, delay=2, leave=False, file=sys.stderr, disable=not sys.stderr.isatty())
