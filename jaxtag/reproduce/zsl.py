"""`jaxtag reproduce zsl`: every table and figure of the zsl paper, ours beside the paper's.

OUT/table-2/<system>/            a cross-validation (`jaxtag.crossvalidate`): its runs, and their metrics
OUT/table-3/<sizes>-<shots>-<vectors>/<method>/   the same over seeded splits; encoder/ is trained once for all methods
OUT/section-7.4/…                the comparisons: word vectors, and activations as a search (`jaxtag.search`)
OUT/zsl.json, zsl.md, index.html and pictures     ours beside the paper's
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from jaxtag.errors import JaxtagError, nearest
from jaxtag.files import held, write_json
from jaxtag.reproduce.commands import Absent
from jaxtag.reproduce.zsl_page import figures, write
from jaxtag.reproduce.zsl_tables import TABLES
from jaxtag.reproduce.zsl_work import Work, check_overrides
from jaxtag.training.logs import say

FORMAT = 1
PARTS = tuple(TABLES)


def reproduce(work: Work, parts: tuple[str, ...] = PARTS) -> dict[str, Any]:
    """Run what is left to run, and write the tables as far as they are done, after each part.

    Args:
      work: what is asked for.
      parts: which tables and comparisons; the figures are always drawn.

    Returns:
      What zsl.json holds: `tables` by number, each with rows of ours and the paper's, or `absent`, why it is not there.

    Raises:
      JaxtagError: the dataset is none, an override is of no recipe, or a folder below `out` is of other settings.
      Preempted: SIGTERM or SIGINT came; the same call goes on from there.
    """
    dataset = work.dataset
    check_overrides(work)
    for wanted in parts:
        if wanted not in PARTS:
            raise JaxtagError(f"no table {wanted!r} in the zsl paper", nearest(wanted, PARTS))
    work.out.mkdir(parents=True, exist_ok=True)
    said = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(work.protocol).items()}
    document: dict[str, Any] = {
        "format": FORMAT, "paper": "zsl", "size": work.size, "protocol": said, "encoder": work.encoder,
        "overrides": {name: dict(fields) for name, fields in (work.overrides or {}).items()},
        "dataset": {"path": str(dataset.path), "name": dataset.info["name"], "fingerprint": dataset.fingerprint},
        "tables": {},
    }  # fmt: skip
    with held(work.out):
        for part in (p for p in PARTS if p in parts):
            say(f"{'section' if '.' in part else 'table'} {part}")
            try:
                document["tables"][part] = TABLES[part](work)
            except Absent as error:
                say(f"left out: {error}")
                document["tables"][part] = {"absent": str(error)}
            write_json(work.out / "zsl.json", document)
            write(document, work.out)
        say("figures")
        write(document, work.out, figures(work))
    return document
