"""`jaxtag reproduce hmemn2n`: every table and the figure of the hmemn2n paper, ours beside the paper's.

OUT/table-2/<system>/seed-<i>/                     a run on the split (`jaxtag.crossvalidate`), and its metrics
OUT/table-3/<system>-<dimensions>-<hops>/seed-<i>/ the same; what Table 2 has is its own
OUT/hmemn2n.json, hmemn2n.md, index.html, against-k.png   ours beside the paper's
"""

from dataclasses import replace
from typing import Any

from jaxtag.reproduce import paper
from jaxtag.reproduce.commands import split_of
from jaxtag.reproduce.hmemn2n_page import SECTIONS, figures, settings
from jaxtag.reproduce.hmemn2n_paper import TITLE
from jaxtag.reproduce.hmemn2n_tables import TABLES
from jaxtag.reproduce.hmemn2n_work import Work

PARTS = tuple(TABLES)
TINY = ("hmemn2n-tiny", 20, 60)  # of size tiny: a split, its hashtags at most, and posts of each
PAPER = paper.Paper("hmemn2n", TITLE, TABLES, SECTIONS, settings, figures)


def reproduce(work: Work, parts: tuple[str, ...] = PARTS) -> dict[str, Any]:
    """Run what is left to run, and write the tables as far as they are done; as `jaxtag.reproduce.paper.reproduce`.

    Raises:
      JaxtagError: an override is of no recipe, or the dataset has no such split, too.
    """
    paper.check_overrides("hmemn2n", work.overrides)
    work = replace(work, split=split_of(work.dataset, work.size, work.split, *TINY))
    split = work.dataset.split(work.split).name
    said = {"split": split, "seeds": work.seeds, "dim": work.dim, "vectors": work.file.name if work.file else ""}
    return paper.reproduce(PAPER, work, parts, {"protocol": said})
