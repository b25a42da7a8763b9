"""What a run says while it trains: one JSON line a dispatch, a progress bar on a terminal, lines elsewhere."""

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from jaxtag.errors import JaxtagError
from jaxtag.files import named, write_text
from jaxtag.parallel import distributed


def say(text: str) -> None:
    """One line to standard error, above any progress bar; of several processes the first says it."""
    if distributed.leads():
        tqdm.write(text, file=sys.stderr)


class Silent:
    """The log of a process that does not write."""

    def write(self, row: dict[str, Any], show: tuple[str, ...] = ()) -> None:
        """Write nothing."""

    def close(self) -> None:
        """Nothing is open."""


class Log:
    """`metrics.jsonl` of a run, its TensorBoard folder where there is one, and its progress bar."""

    def __init__(self, run: Path, step: int, total: int, tensorboard: bool = False, bar: bool = True):
        """Go on writing in `run` from `step`; what is past it, of a run that was killed later, is dropped.

        Without `bar` there is none: the run is one of many.
        """
        self._path = path = run / "metrics.jsonl"
        kept = [line for line, row in rows_of(path) if row["step"] <= step] if path.exists() else []
        write_text(path, "".join(kept))
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 (open for as long as the run)
        self._board = _Board(run / "tensorboard", map(json.loads, kept)) if tensorboard else None
        self._bar = tqdm(
            total=total,
            initial=step,
            unit="step",
            file=sys.stderr,
            disable=not (bar and sys.stderr.isatty()),
            dynamic_ncols=True,
            smoothing=0.1,
        )
        self._shown: dict[str, str] = {}

    def write(self, row: dict[str, Any], show: tuple[str, ...] = ()) -> None:
        """Append `row` as one JSON line; the keys in `show` stand behind the progress bar."""
        with named(self._path):
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
        if self._board:
            self._board.write(row)
        self._shown |= {key: f"{row[key]:.4g}" for key in show if key in row}
        self._bar.set_postfix(self._shown, refresh=False)
        self._bar.update(row["step"] - self._bar.n)

    def close(self) -> None:
        """Close the file and the bar."""
        self._bar.close()
        with contextlib.suppress(OSError):  # of the last line, which was told when it was written
            self._file.close()
        if self._board:
            self._board.close()


def rows_of(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The lines of a `metrics.jsonl`, each with its row; those that are damaged are left out.

    Of a run that was killed, the last one may be half written.
    """
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            yield line + "\n", row


def check_tensorboard() -> None:
    """Refuse to write for TensorBoard without the library that does.

    Raises:
      JaxtagError: it is not installed.
    """
    try:
        import tensorboardX  # noqa: F401
    except ImportError:
        raise JaxtagError(
            "training.tensorboard needs tensorboardX, which is not installed", "pip install 'jaxtag[tensorboard]'"
        ) from None


class _Board:
    """The rows of `metrics.jsonl` as TensorBoard reads them: a scalar `<kind>/<key>` a number.

    Event files cannot be cut, so a resumed run writes its folder anew, from the rows that were kept: no step
    stands in it twice.
    """

    def __init__(self, folder: Path, rows: Iterable[dict[str, Any]]):
        from tensorboardX import SummaryWriter

        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._writer = SummaryWriter(str(folder))
        for row in rows:
            self.write(row)

    def write(self, row: dict[str, Any]) -> None:
        for key, value in row.items():
            if key not in ("kind", "step"):
                self._writer.add_scalar(f"{row['kind']}/{key.replace('@', '_at_')}", value, row["step"])

    def close(self) -> None:
        self._writer.close()
