"""The readers that are fuzzed: a table of names, what an input of each looks like, and what reads it."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

Read = Callable[[bytes], bool]  # whether anything of the input was of use; raises JaxtagError or BadImage to refuse it
TEXT, BINARY = 20_000, 2_000  # inputs: of text, JSON, TSV and vectors; of images, archives and checkpoints
ROWS = 50  # bad rows, at most, that an input of a few lines can have


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
      name: of it.
      form: how inputs are changed, of `tests.faults.mutations.FORMS`.
      inputs: how many the whole script reads.
      make: from an empty folder to inputs that are right, and what reads one; files lie in the folder `in` of it.
      needs: packages without which it cannot be read.
      starts: whether it may start a process, which tries the input first.
    """

    name: str
    form: str
    inputs: int
    make: Callable[[Path], tuple[list[bytes], Read]]
    needs: tuple[str, ...] = ()
    starts: bool = False

    @property
    def missing(self) -> str:
        """The packages that are not installed."""
        return ", ".join(name for name in self.needs if find_spec(name) is None)


def table() -> dict[str, Target]:
    """Every reader by its name."""
    from tests.faults import (
        array_targets,
        folder_targets,
        post_targets,
        region_targets,
        text_targets,
        weight_targets,
    )

    tables = (post_targets, text_targets, array_targets, region_targets, weight_targets, folder_targets)
    return {target.name: target for module in tables for target in module.TARGETS}
