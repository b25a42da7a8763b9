"""What was read so far: counts, the commonest mistakes, and whether they are too many."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from jaxtag.errors import JaxtagError

from . import funnel as funnels
from .encoding import Encoded
from .funnel import Funnel
from .language import name
from .presets import Preset
from .records import KEPT, REPOST
from .source import Chunk
from .tables import Bad

EARLY = 1000  # rows after which a source that is clearly bad is given up


@dataclass
class Tally:
    """Counts of what was read, as it is read."""

    read: int = 0
    bad: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[int] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    first: Bad | None = None

    def add(self, chunk: Chunk) -> None:
        """Count one chunk."""
        self.read += chunk.read
        self.bad += len(chunk.bad)
        self.notes.update(chunk.notes)
        self.reasons.update(bad.reason.partition("'")[0] for bad in chunk.bad)
        self.first = self.first or (chunk.bad[0] if chunk.bad else None)

    def count(self, encoded: Encoded) -> None:
        """Count what became of some posts."""
        self.verdicts.update(encoded.verdicts)
        self.languages.update(encoded.languages)
        self.notes.update(encoded.notes)

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

    def funnel(self) -> Funnel:
        """The first steps of a dataset's funnel: what was read, and which of it are posts."""
        posts, readable = sum(self.verdicts.values()), self.read - self.bad
        funnel = Funnel().add(funnels.READ, self.read).add(funnels.READABLE, readable)
        return funnel if posts == readable else funnel.add(funnels.POSTS, posts)

    def check_left(self, preset: Preset) -> None:
        """See that posts are left to pack, while the source may still be read otherwise.

        Raises:
          NothingLeft: none is; the message names the step that removed the last, and the mend.
        """
        left = sum(self.verdicts.values()) - self.verdicts[REPOST]
        funnel = self.funnel().add(funnels.ORIGINAL, left)
        funnel = funnel.add(funnels.in_languages([name(code) for code in preset.languages]), self.verdicts[KEPT])
        most = sorted(self.languages.items(), key=lambda item: (-item[1], item[0]))[:5]
        met = ", ".join(f"{name(code) or 'untold'} {n}" for code, n in most)
        funnel.check(f"; languages met: {met}" if met else "")
