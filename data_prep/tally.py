"""What was read so far: counts, the commonest mistakes, and whether they are too many."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from jaxtag.errors import JaxtagError

from . import funnel as funnels
from .funnel import Funnel
from .plan import Plan
from .source import Chunk
from .tables import Bad

EARLY = 1000  # rows after which a source that is clearly bad is given up


@dataclass
class Tally:
    """Counts of what was read, as it is read."""

    read: int = 0
    bad: int = 0
    reposts: int = 0
    foreign: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    first: Bad | None = None

    def add(self, chunk: Chunk) -> None:
        """Count one chunk."""
        self.read += chunk.read
        self.bad += len(chunk.bad)
        self.reposts += chunk.reposts
        self.foreign += chunk.foreign
        self.languages.update(chunk.languages)
        self.reasons.update(bad.reason.partition("'")[0] for bad in chunk.bad)
        self.first = self.first or (chunk.bad[0] if chunk.bad else None)

    def check(self, most: float, rejects: Path, final: bool) -> None:
        """Give up when too many rows are bad: more than `most` of them in the end, more than twice as many before.

        Raises:
          JaxtagError: they are too many; the message has the count, the commonest reason and the first place.
        """
        allowed = most * self.read if final else 2 * most * max(self.read, EARLY)
        if self.bad <= allowed or self.first is None:
            return
        reason = self.reasons.most_common(1)[0][0].strip()
        mend = (
            "name the file's encoding, such as --encoding cp1252"
            if reason.startswith("not ") and "JSON" not in reason
            else ""
        )
        raise JaxtagError(
            f"{self.bad} of {self.read} rows are bad, more than --max-bad {most:g} allows: {self.first.file} "
            f"{self.first.unit} {self.first.place}: {self.first.reason}"
            + ("" if self.first.reason.startswith(reason) else f"; most often: {reason}"),
            mend or f"mend them (all are listed in {rejects}), or allow more with --max-bad",
        )

    def funnel(self, plan: Plan) -> Funnel:
        """The steps so far."""
        left = self.read - self.bad
        funnel = Funnel().add(funnels.READ, self.read).add(funnels.READABLE, left)
        if plan.reading.get("repost"):
            left -= self.reposts
            funnel = funnel.add(funnels.ORIGINAL, left)
        if languages := plan.reading.get("languages"):
            left -= self.foreign
            funnel = funnel.add(f"in {' or '.join(languages)}", left)
        return funnel
