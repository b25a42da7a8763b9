"""What to prepare: everything that a dataset's bytes depend on."""

from dataclasses import dataclass
from typing import Any

from jaxtag.data.posts import FORMAT
from jaxtag.errors import JaxtagError

from .presets import Preset


@dataclass(frozen=True)
class Plan:
    """What to prepare: everything that the resulting bytes depend on.

    Attributes:
      name, licence: of the corpus; '' when the licence is not known.
      sources: what it is made from: names, sizes and checksums of files, or the simulation's arguments.
      reading: how the source is read (`posts.Mapping`), as JSON.
      has: which of author, time and image the source has.
      preset: the steps, cleaning and history; of its rule for the default split only what steps ask matters here: the
        words that an example must have, how many hashtags are kept, and how many posts each must have.
    """

    name: str
    licence: str
    sources: list[dict[str, Any]]
    reading: dict[str, Any]
    has: tuple[str, ...]
    preset: Preset

    def __post_init__(self) -> None:
        if self.preset.min_author_posts and "author" not in self.has:
            raise JaxtagError(
                f"authors of fewer than {self.preset.min_author_posts} posts are to go, but no column tells the author",
                "name it with --author, or keep all with --min-author-posts 0",
            )
        if self.preset.split.with_image and "image" not in self.has:
            raise JaxtagError(
                "only posts with an image are to be examples, and the source names none",
                "name the column with --image, or take all with --no-with-image",
            )

    def settings(self) -> dict[str, Any]:
        """What the columns depend on beside the source."""
        return {
            "steps": self.preset.step_settings(),
            "identify_language": self.preset.identify_language,
            "cleaning": self.preset.cleaning().to_json(),
            "words_counted": self.preset.words_counted,
            "history": self.preset.history,
            "reading": self.reading,
        }

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON values."""
        return {
            "format": FORMAT,
            "name": self.name,
            "licence": self.licence,
            "sources": self.sources,
            "preset": self.preset.name,
            "settings": self.settings(),
            "has": list(self.has),
        }


def differences(found: Any, wanted: Any, name: str = "") -> list[str]:
    """What of `wanted` is another way in `found`, by dotted names."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        parts = (differences(found.get(key), wanted[key], f"{name}.{key}" if name else key) for key in wanted)
        return [difference for part in parts for difference in part]
    return [] if found == wanted else [f"{name} was {found!r:.80}, now is {wanted!r:.80}"]
