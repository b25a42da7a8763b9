"""Which runs make which table of the amnn paper, and what came of them, as JSON values."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from jaxtag.data.columns import positions_in
from jaxtag.data.dataset import PARTS, Dataset, Split
from jaxtag.reproduce.amnn_paper import (
    ERRATA,
    NAMES,
    SHUFFLED,
    TABLE_2,
    TABLE_3,
    TABLE_4,
    TABLE_5,
    TABLE_6,
    TABLE_7,
    Scores,
)
from jaxtag.reproduce.amnn_runs import found_of
from jaxtag.reproduce.amnn_work import IMAGES, TEXTS, Row, Work
from jaxtag.reproduce.commands import Absent, split_of

TINY_SPLIT, TINY_TOP, TINY_CAP = "amnn-tiny", 20, 40  # of size tiny: at most so many hashtags, and posts of each
CNNS = IMAGES[:2]  # that AMNN is run with
IMAGE_ONLY = (
    Row("neighbour_voting", ("resnet50",)), Row("vgg_object_scene", ("vgg16", "vgg16_places")),
    Row("nic", ("resnet50",)), *(Row("amnn_image", (name,)) for name in CNNS),
)  # fmt: skip
BOTH = (
    Row("mlknn"), Row("svm", ("resnet50",)), IMAGE_ONLY[0], Row("multilabel_resnet", ("resnet50",)),
    Row("coattention", ("vgg16",)), *IMAGE_ONLY[1:3], Row("show_attend_tell", ("resnet50",)), *IMAGE_ONLY[3:],
    *(Row("amnn", (name,)) for name in CNNS), Row("amnn_text"),
)  # fmt: skip


def with_splits(work: Work) -> Work:
    """The work with a split of each dataset to run systems on; at size tiny, of a few posts of those that are large.

    Raises:
      JaxtagError: a dataset has no such split, or so few posts that none can be made.
    """
    splits = {
        name: split_of(dataset, work.size, work.split, TINY_SPLIT, TINY_TOP, TINY_CAP)
        for name, dataset in work.datasets.items()
    }
    return replace(work, splits=splits)


def table_2(work: Work) -> dict[str, Any]:
    """The posts of each dataset, and Fig. 3: how many have how many hashtags."""
    rows = []
    for name, theirs in TABLE_2.items():
        row: dict[str, Any] = {"dataset": name, "paper": theirs}
        if name in work.data:
            dataset, split = _opened(work, name, work.split)
            posts = _posts(split)
            many = positions_in(dataset.column("hashtags"), split.hashtags, len(dataset.hashtags)).lengths(posts)
            images = np.asarray(dataset.column("image"))[posts] if dataset.has("image") else np.full(len(posts), -1)
            row["ours"] = {"labels": len(split.hashtags), "posts": len(posts), "hashtags": int(many.sum())}
            row["ours"] |= _summary(many) | {"images": len(np.unique(images[images >= 0]))}
            row["lengths"] = {str(n): int(count) for n, count in enumerate(np.bincount(many)) if count}
            row["split"] = split.name
        else:
            row["absent"] = not_given(name)
        rows.append(row)
    return {"rows": rows}


def table_6(work: Work) -> dict[str, Any]:
    """The words of the posts with text and image."""
    dataset, split = _opened(work, "mm_ins", work.split)
    column, posts = dataset.column("tokens"), _posts(split)
    known = split.word_ids(len(dataset.words)) > 1  # those that the split does not know are of low frequency
    kept = positions_in(column, np.flatnonzero(known), len(dataset.words))
    many = kept.lengths(posts)
    chosen = np.bincount(posts, minlength=len(kept)) > 0
    distinct = np.unique(kept.values[np.repeat(chosen, kept.lengths())])
    ours = {"words": int(many.sum()), "distinct": len(distinct), **_summary(many)}
    return {"ours": ours, "all_words": int(column.lengths(posts).sum()), "split": split.name, "paper": TABLE_6}


def table_7(work: Work) -> dict[str, Any]:
    """Text features that are learned, and those of fixed word vectors with and without a recurrent layer."""
    rows = [(Row("amnn", ("resnet50",)), None)]
    for recurrent in (True, False):
        rows += [(Row("amnn", ("resnet50",), n, recurrent), TABLE_7[n] if recurrent else None) for n in TEXTS]
    found = _table(work, "mm_ins", rows)
    return found | {"rows": [row for row in found["rows"] if row["system"] == "amnn"]}


def _systems(name: str, rows: Sequence[Row], papers: Mapping[str, Scores], work: Work) -> dict[str, Any]:
    """The systems of a dataset, and the built-in baselines."""
    return _table(work, name, [(row, papers.get(row.key)) for row in rows])


def _shuffled(cnn: str, work: Work) -> dict[str, Any]:
    """AMNN on every dataset, each post's hashtags in a shuffled order and in their author's."""
    if not work.data:
        raise Absent("no dataset is given")
    rows: list[dict[str, Any]] = []
    ordered = {"harrison": TABLE_3, "nus_wide": TABLE_4, "mm_ins": TABLE_5}
    for name, theirs in SHUFFLED[cnn].items():
        row = Row("amnn" if name == "mm_ins" else "amnn_image", (cnn,))
        for shuffled, paper in ((True, theirs), (False, ordered[name][row.key])):
            if name not in work.data:
                said = {"system": row.system, "images": [cnn], "shuffled": shuffled, "absent": not_given(name)}
                rows.append({"dataset": name, **said, "paper": paper})
                continue
            found = found_of(work, name, *_opened(work, name), replace(row, shuffled=shuffled))
            rows.append({"dataset": name, **found.row, "paper": paper})
    return {"rows": rows, "images": cnn, "shuffle": work.shuffle}


def _table(work: Work, name: str, rows: Sequence[tuple[Row, Scores | None]]) -> dict[str, Any]:
    """Rows of one dataset, beside the paper's numbers, and the built-in baselines."""
    dataset, split = _opened(work, name)
    made: list[dict[str, Any]] = []
    baselines: dict[str, Any] = {}
    for row, paper in rows:
        found = found_of(work, name, dataset, split, row)
        erratum = {"erratum": ERRATA[row.key]} if paper and row.key in ERRATA and name == "mm_ins" else {}
        made.append(found.row | {"paper": paper} | erratum)
        made += found.more
        baselines = baselines or found.baselines
    made += [{"system": baseline} | metrics for baseline, metrics in baselines.items()]
    return {"dataset": name, "rows": made, "posts": len(split.test), "hashtags": len(split.hashtags)}


def _opened(work: Work, name: str, split: str | None = None) -> tuple[Dataset, Split]:
    """A dataset and its split called `split`, or the one that systems are run on.

    Raises:
      Absent: it is not given.
    """
    if name not in work.data:
        raise Absent(not_given(name))
    dataset = work.datasets[name]
    return dataset, dataset.split(work.splits.get(name, "") if split is None else split)


def not_given(name: str) -> str:
    """Why what is of a dataset is left out."""
    return f"{NAMES[name]} is not given (--data {name}=DIR)"


def _posts(split: Split) -> np.ndarray:
    """Row numbers of all posts of a split."""
    return np.concatenate([getattr(split, part) for part in PARTS]).astype(np.int64)


def _summary(many: np.ndarray) -> dict[str, float]:
    if not len(many):
        return {"mean": 0.0, "least": 0, "most": 0}
    return {"mean": round(float(many.mean()), 2), "least": int(many.min()), "most": int(many.max())}


TABLES: dict[str, Callable[[Work], dict[str, Any]]] = {
    "II": table_2,
    "III": partial(_systems, "harrison", IMAGE_ONLY, TABLE_3),
    "IV": partial(_systems, "nus_wide", IMAGE_ONLY, TABLE_4),
    "V": partial(_systems, "mm_ins", BOTH, TABLE_5),
    "VI": table_6,
    "VII": table_7,
    "VIII": partial(_shuffled, "inception_v3"),
    "IX": partial(_shuffled, "resnet50"),
}
