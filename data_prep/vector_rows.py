"""What is kept of a file of word vectors, and what is wrong with it."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jaxtag.data.hashtags import Subwords
from jaxtag.errors import JaxtagError

from .tally import EARLY

SHOWN = 20  # bad lines that are written out in vectors.json
KINDS = ("word2vec text", "word2vec binary", "GloVe text", "fastText binary")


@dataclass
class Given:
    """What came of a file of vectors.

    Attributes:
      kind: one of `KINDS`.
      dim: numbers of a vector.
      names: of the vectors kept, in the file's order; their rows are in the file that `read` wrote.
      subwords: fastText's n-grams, or None.
      read: lines or words met, those that a truncated file announced and lacks among them.
      bad: how many of them are bad.
      lines: the first `SHOWN` bad ones: {"line" or "word": number, "reason"}.
    """

    kind: str
    dim: int
    names: list[str] = field(default_factory=list)
    subwords: Subwords | None = None
    read: int = 0
    bad: int = 0
    lines: list[dict[str, Any]] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def unit(self) -> str:
        """What a number of `lines` counts."""
        return "line" if self.kind.endswith("text") else "word"

    def reject(self, place: int, reason: str, many: int = 1) -> None:
        """Count a bad line, or the `many` that are missing."""
        self.bad += many
        self.reasons[reason] += many
        if len(self.lines) < SHOWN:
            self.lines.append({self.unit: place, "reason": reason})

    def check(self, file: Path, most: float, final: bool) -> None:
        """Give up when too many lines are bad: more than `most` of them in the end, more than twice as many before.

        Raises:
          JaxtagError: they are too many; the message names the first.
        """
        if self.bad <= (most * self.read if final else 2 * most * max(self.read, EARLY)):
            return
        first = self.lines[0]
        raise JaxtagError(
            f"{self.bad} of {self.read} {self.unit}s are bad, more than --max-bad {most:g} allows: {file.name} "
            f"{self.unit} {first[self.unit]}: {first['reason']}; most often: {self.reasons.most_common(1)[0][0]}",
            "mend or download the file again, or allow more with --max-bad",
        )


class Table:
    """A .npy file of float32 rows, written as they come."""

    def __init__(self, path: Path, dim: int):
        """Begin the file at `path`."""
        self._file, self._dim, self.rows = open(path, "wb"), dim, 0  # noqa: SIM115
        self._head()

    def add(self, rows: np.ndarray) -> None:
        """Append one row `[dim]` or several `[n, dim]`."""
        self._file.write(np.ascontiguousarray(rows, "<f4").data)
        self.rows += rows.size // self._dim

    def close(self) -> None:
        """Write how many there were."""
        self._file.seek(0)
        self._head()  # as long as the first: NumPy leaves room for the first axis to grow
        self._file.close()

    def _head(self) -> None:
        described = {"descr": "<f4", "fortran_order": False, "shape": (self.rows, self._dim)}
        np.lib.format.write_array_header_1_0(self._file, described)
