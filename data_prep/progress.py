"""A progress bar with the time left, on standard error, on a terminal alone."""

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")


class Bar:
    """A bar of `total` units; nothing is printed where standard error is no terminal."""

    def __init__(self, what: str, total: int):
        from tqdm import tqdm

        shown = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
        self._bar: Any = tqdm(total=total, desc=what, disable=None, leave=False, delay=1, bar_format=shown)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def to(self, place: int, note: str = "") -> None:
        """Move the bar to `place`, `note` behind it."""
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(place - self._bar.n)

    def over(self, items: Iterable[T], size: Callable[[T], int]) -> Iterator[T]:
        """The items, the bar moving by the size of each."""
        for item in items:
            yield item
            self._bar.update(size(item))
