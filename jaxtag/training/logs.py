"""What a run says while it trains: one JSON line a dispatch, a progress bar on a terminal, lines elsewhere."""

import json
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from jaxtag.files import write_text


def say(text: str) -> None:
    """One line to standard error, above any progress bar."""
    tqdm.write(text, file=sys.stderr)


class Log:
    """`metrics.jsonl` of a run, and its progress bar."""

    def __init__(self, path: Path, step: int, total: int):
        """Go on writing `path` from `step`; lines past it, of a run that was killed later, are dropped."""
        kept = []
        if path.exists():
            for line in path.read_text(encoding="utf-8").split("\n"):
                try:
                    row = json.loads(line)
                except json.JSONDecodeError:
                    continue  # the line that was being written when the run was killed
                if row["step"] <= step:
                    kept.append(line + "\n")
        write_text(path, "".join(kept))
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 (open for as long as the run)
        self._bar = tqdm(
            total=total,
            initial=step,
            unit="step",
            file=sys.stderr,
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
            smoothing=0.1,
        )
        self._shown: dict[str, str] = {}

    def write(self, row: dict[str, Any], show: tuple[str, ...] = ()) -> None:
        """Append `row` as one JSON line; the keys in `show` stand behind the progress bar."""
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        self._shown |= {key: f"{row[key]:.4g}" for key in show if key in row}
        self._bar.set_postfix(self._shown, refresh=False)
        self._bar.update(row["step"] - self._bar.n)

    def close(self) -> None:
        """Close the file and the bar."""
        self._bar.close()
        self._file.close()
