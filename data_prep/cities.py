"""Hashtags that name the cities of InstaCities1M, as people write them; a list of a user's own stands in their place.

Names that mean something else as well (`la`, `sf`, `chi`) are left out.
"""

from pathlib import Path

from jaxtag.data.text import normal_hashtag
from jaxtag.errors import JaxtagError

CITIES = (
    "newyork", "newyorkcity", "newyorknewyork", "nyc", "ny", "manhattan", "brooklyn",
    "london", "londoncity", "londontown", "ldn",
    "sydney", "sydneyaustralia", "syd",
    "losangeles", "losangelescalifornia", "losangelesca", "losangelescounty",
    "chicago", "chicagoillinois", "chitown",
    "melbourne", "melbournecity", "melbourneaustralia", "melb",
    "miami", "miamibeach", "miamiflorida", "miamifl",
    "toronto", "torontocanada", "torontoontario",
    "singapore", "singaporecity", "sgp",
    "sanfrancisco", "sanfran", "sanfranciscocalifornia", "sanfranciscoca",
)  # fmt: skip


def read(path: Path) -> tuple[str, ...]:
    """The hashtags that a file lists, one a line, in one word or several, with '#' or not.

    Raises:
      JaxtagError: it cannot be read, or names none.
    """
    from .image_lists import lines

    found = tuple(dict.fromkeys(filter(None, map(normal_hashtag, lines(path)))))
    if not found:
        raise JaxtagError(f"{path} names no city", "write one a line, or keep all hashtags with --cities none")
    return found
