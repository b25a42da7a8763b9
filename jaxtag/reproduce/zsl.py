"""`jaxtag reproduce zsl`: every table and figure of the zsl paper, ours beside the paper's.

OUT/table-2/<system>/            a cross-validation (`jaxtag.crossvalidate`): its runs, and their metrics
OUT/table-3/<sizes>-<shots>-<vectors>/<method>/   the same over seeded splits; encoder/ is trained once for all methods
OUT/section-7.4/…                the comparisons: word vectors, and activations as a search (`jaxtag.search`)
OUT/zsl.json, zsl.md, index.html and pictures     ours beside the paper's
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from jaxtag.reproduce import paper
from jaxtag.reproduce.zsl_page import SECTIONS, figures, settings
from jaxtag.reproduce.zsl_paper import TITLE
from jaxtag.reproduce.zsl_tables import TABLES
from jaxtag.reproduce.zsl_work import Work, check_overrides

PARTS = tuple(TABLES)
PAPER = paper.Paper("zsl", TITLE, TABLES, SECTIONS, settings, lambda work, made: figures(work))


def reproduce(work: Work, parts: tuple[str, ...] = PARTS) -> dict[str, Any]:
    """Run what is left to run, and write the tables as far as they are done; as `jaxtag.reproduce.paper.reproduce`.

    Raises:
      JaxtagError: an override is of no recipe, too.
    """
    check_overrides(work)
    said = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(work.protocol).items()}
    return paper.reproduce(PAPER, work, parts, {"protocol": said, "encoder": work.encoder})
