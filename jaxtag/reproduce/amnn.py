"""`jaxtag reproduce amnn`: every table and figure of the amnn paper, ours beside the paper's.

OUT/<dataset>/<system>-<features>/seed-<i>/   a row's run, and its metrics (`jaxtag.reproduce.amnn_runs`)
OUT/amnn.json, amnn.md, index.html, hashtags-a-post.png, against-k.png   ours beside the paper's
"""

from typing import Any

from jaxtag.reproduce import paper
from jaxtag.reproduce.amnn_page import SECTIONS, figures, settings
from jaxtag.reproduce.amnn_paper import TITLE
from jaxtag.reproduce.amnn_tables import TABLES, with_splits
from jaxtag.reproduce.amnn_work import Work, check_overrides

PARTS = tuple(TABLES)
PAPER = paper.Paper("amnn", TITLE, TABLES, SECTIONS, settings, figures)


def reproduce(work: Work, parts: tuple[str, ...] = PARTS) -> dict[str, Any]:
    """Run what is left to run, and write the tables as far as they are done; as `jaxtag.reproduce.paper.reproduce`.

    Raises:
      JaxtagError: an override is of no recipe or of what rows decide, or a dataset has no such split, too.
    """
    check_overrides(work)
    work = with_splits(work)
    said = {"splits": dict(work.splits), "seeds": work.seeds, "extractors": dict(work.extractors), "dim": work.dim}
    said |= {"vectors": {kind: file.name for kind, file in work.files.items()}, "shuffle": work.shuffle}
    return paper.reproduce(PAPER, work, parts, {"protocol": said})
