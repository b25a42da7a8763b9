"""What attention counted of a few posts, as evaluations kept it: words, earlier posts and regions, with weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxtag.data.images import box_text
from jaxtag.errors import JaxtagError
from jaxtag.files import read_json
from jaxtag.report.document import Block, Heading, Paragraph, Table
from jaxtag.report.runs import Run
from jaxtag.report.tables import Weighed

REGIONS = 3  # of an image, those that counted most


def blocks(runs: Sequence[Run], part: str) -> list[Block]:
    """A table for each of the runs that an evaluation on `part` explained.

    Raises:
      JaxtagError: a run's explanations are damaged.
    """
    found: list[Block] = []
    for run in runs:
        file = run.path / f"explained-{part}.json"
        if file.is_file() and (rows := _rows(_read(file, f"jaxtag evaluate {run.path} --part {part}"))):
            columns = {"what": "", "weight": "weight", "words": "words, the darker the more they counted"}
            found += [Heading(f"What {run.name} looked at", 4), Table(rows, columns)]
    if not found:
        return []
    said = "Attention of runs that have some, on posts of this part: shares of 1, over words, regions or earlier posts."
    return [Heading(f"Where attention lay on the {part} part", 3), Paragraph(said), *found]


def _rows(posts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for number, post in enumerate(posts, 1):
        text = _weighed(post["words"]) if "words" in post else post["text"]
        rows.append({"what": f"post {number}", "weight": None, "words": text})
        for region in sorted(post.get("regions", ()), key=lambda region: -region["weight"])[:REGIONS]:
            rows.append({"what": "region", "weight": float(region["weight"]), "words": box_text(region["box"])})
        for place, earlier in enumerate(post.get("history", ()), 1):
            words = _weighed(earlier["words"]) if "words" in earlier else earlier["text"]
            rows.append({"what": f"{place} before", "weight": float(earlier["weight"]), "words": words})
    return rows


def _weighed(words: list[dict[str, Any]]) -> Weighed:
    return Weighed((w["word"], float(w["weight"])) for w in words)


def _read(file: Path, mend: str) -> list[dict[str, Any]]:
    try:
        posts = read_json(file, "list of explanations")
        _rows(posts)
    except JaxtagError as error:
        raise JaxtagError(error.message, mend) from None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise JaxtagError(f"{file} is not a list of explanations", mend) from None
    return posts
