"""`jaxtag reproduce lxmert4hashtag`: the tables and figures of the lxmert4hashtag paper, ours beside the paper's.

OUT/table-3/<system>/seed-<i>/   a row's runs (`jaxtag.crossvalidate`), and their metrics
OUT/lxmert4hashtag.json, lxmert4hashtag.md, index.html, against-k.png, regions.png   ours beside the paper's
"""

from dataclasses import replace
from typing import Any

from jaxtag.reproduce import paper
from jaxtag.reproduce.commands import split_of
from jaxtag.reproduce.lxmert4hashtag_page import SECTIONS, figures, settings
from jaxtag.reproduce.lxmert4hashtag_paper import TITLE
from jaxtag.reproduce.lxmert4hashtag_tables import TABLES
from jaxtag.reproduce.lxmert4hashtag_work import PAPER as NAME
from jaxtag.reproduce.lxmert4hashtag_work import Work

PARTS = tuple(TABLES)
TINY = ("lxmert4hashtag-tiny", 20, 40)  # of size tiny: a split, its hashtags at most, and posts of each
PAPER = paper.Paper(NAME, TITLE, TABLES, SECTIONS, settings, figures)


def reproduce(work: Work, parts: tuple[str, ...] = PARTS) -> dict[str, Any]:
    """Run what is left to run, and write the tables as far as they are done; as `jaxtag.reproduce.paper.reproduce`.

    Raises:
      JaxtagError: an override is of no recipe, or the dataset has no such split, too.
    """
    paper.check_overrides(NAME, work.overrides)
    work = replace(work, split=split_of(work.dataset, work.size, work.split, *TINY))
    said = {"split": work.dataset.split(work.split).name, "seeds": work.seeds, "dim": work.dim}
    said |= {"extractors": dict(work.extractors), "vectors": work.file.name if work.file else ""}
    return paper.reproduce(PAPER, work, parts, {"protocol": said})
