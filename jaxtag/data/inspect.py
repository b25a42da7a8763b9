"""Looking at a dataset: its funnel, statistics and splits; and exporting a part of a split."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from jaxtag.data import images
from jaxtag.data.columns import Ragged
from jaxtag.data.dataset import PARTS, Dataset, Split, open_dataset
from jaxtag.data.hashtags import AGAIN, VECTORS
from jaxtag.data.posts import COLUMNS, FIRST_WORD
from jaxtag.documents import described
from jaxtag.files import new_file
from jaxtag.progress import progress

MOST_SHOWN = 10  # hashtags named by `data show`
LADDER = (20, 50, 200, 1000)  # posts of a hashtag
SHARES = (0.0, 0.25, 0.5, 0.75, 0.95, 1.0)  # of posts, for the distribution of lengths


def describe(path: Path) -> dict[str, Any]:
    """What `jaxtag data show` shows of the dataset at `path`, as JSON values.

    Raises:
      JaxtagError: it is no dataset folder, or a file in it is damaged.
    """
    dataset = open_dataset(path)
    info, hashtags = dataset.info, dataset.hashtags
    splits = sorted(
        (p.parent.name for p in dataset.path.glob("splits/*/split.json")), key=lambda n: (n != "default", n)
    )
    return {
        "name": info["name"],
        "preset": info["preset"],
        "posts": dataset.rows,
        "words": len(dataset.words) - FIRST_WORD,
        "hashtags": len(hashtags),
        "funnel": info["funnel"],
        "notes": info.get("notes", {}),
        "columns": {n: COLUMNS[n].meaning for n in info["columns"] if n in COLUMNS},
        "statistics": statistics(dataset),
        "most_used": [[f"#{h}", c] for h, c in zip(hashtags.entries[:MOST_SHOWN], hashtags.counts[:MOST_SHOWN])],
        "images": images.describe(dataset),
        "wordpieces": _lines(dataset.path / "vocabulary" / "wordpieces.txt"),
        "splits": {name: _split(dataset, dataset.split(name)) for name in progress(splits, "splits")},
        "fingerprint": dataset.fingerprint,
    }


def statistics(dataset: Dataset) -> dict[str, Any]:
    """What papers print of their posts: those with hashtags, hashtags that are used often, authors, lengths."""
    many = dataset.column("hashtags").lengths()
    counts = np.bincount(dataset.column("hashtags").values, minlength=len(dataset.hashtags))
    some = many[many > 0]
    funnel = dataset.info["funnel"]
    found: dict[str, Any] = {
        "posts_read": funnel[0]["posts"] if funnel else dataset.rows,
        "posts": dataset.rows,
        "posts_with_hashtag": len(some),
        "posts_with_several": int((many > 1).sum()),
        "hashtags": int((counts > 0).sum()),
        "hashtags_with_posts": {str(n): int((counts >= n).sum()) for n in LADDER},
        "hashtags_per_post": round(float(some.mean()), 2) if len(some) else 0.0,
        "hashtags_in_posts": {str(n): int(c) for n, c in _bars(many)},
        "words_per_post": _quantiles(dataset.column("tokens").lengths()),
    }
    if dataset.has("author"):
        posts = np.bincount(np.asarray(dataset.column("author")))
        found["posts_without_author"] = int(posts[:1].sum())
        found["authors"] = int((posts[1:] > 0).sum())
        found["posts_per_author"] = _quantiles(posts[1:][posts[1:] > 0])
    if dataset.has("history"):
        found["posts_with_history"] = int((np.asarray(dataset.column("history"))[:, 0] >= 0).sum())
    if dataset.has("time"):
        time = np.asarray(dataset.column("time"))
        found["time"] = [int(time.min(initial=0)) if len(time) == 0 else int(time.min()), int(time.max(initial=0))]
    return found


def _bars(many: np.ndarray) -> list[tuple[str, int]]:
    """How many posts have 0, 1, 2, 3, and 4 or more."""
    counts = np.bincount(np.minimum(many, 4), minlength=5)
    return list(zip(("0", "1", "2", "3", "4 or more"), counts))


def _quantiles(values: np.ndarray) -> dict[str, float]:
    """Mean and quantiles."""
    if not len(values):
        return {"mean": 0.0}
    found = np.quantile(values, SHARES, method="inverted_cdf")
    return {"mean": round(float(values.mean()), 2)} | {f"{s:.0%}": int(v) for s, v in zip(SHARES, found)}


def _split(dataset: Dataset, split: Split) -> dict[str, Any]:
    """A split: what split.json says of it, what its examples have, and what was fitted on it."""
    keys = ("summary", "rule", "hashtags_per_post", "borders", "seen", "unseen", "audit", "fingerprint")
    found = {key: split.info[key] for key in keys if key in split.info}
    rows = np.concatenate([getattr(split, part) for part in PARTS])
    uses = _uses(dataset.column("hashtags"), split, len(dataset.hashtags))
    counts = {part: len(getattr(split, part)) for part in PARTS}
    counts |= {"hashtags": len(split.hashtags), "candidates": len(split.candidates), "words": len(split.words)}
    has: dict[str, Any] = {
        "posts": len(rows),
        "posts_with_several": int((uses[rows] > 1).sum()),
        "hashtags_per_post": round(float(uses[rows].mean()), 2),
        "words_per_post": _quantiles(dataset.column("tokens").lengths(rows)),
    }
    if dataset.has("author"):
        author = np.asarray(dataset.column("author"))
        has["authors"] = int((np.unique(author[rows]) > 0).sum())
    return found | {
        "counts": counts,
        "funnel": split.info.get("funnel", [])[1:],
        "statistics": has,
        "vectors": [_vectors(p) for p in sorted(split.path.glob("vectors/*/vectors.json"))],
        "topics": [_topics(p) for p in sorted(split.path.glob("topics/**/topics.json"))],
    }


def _uses(column: Ragged, split: Split, known: int) -> np.ndarray:
    """How many hashtags of the split each post of the dataset has."""
    named = np.zeros(known, bool)
    named[split.hashtags] = named[split.candidates] = True
    row = np.repeat(np.arange(len(column)), column.lengths())
    return np.bincount(row[named[column.values]], minlength=len(column))


def _vectors(path: Path) -> dict[str, Any]:
    info = described(path, "description of word vectors", VECTORS, AGAIN)
    keys = ("setting", "model", "dim", "words_without", "hashtags")
    found = {"name": path.parent.name} | {key: info[key] for key in keys if key in info}
    return found | {"output": info.get("output", False)}


def _topics(path: Path) -> dict[str, Any]:
    info = described(path, "description of topics", {})
    hidden = ("format", "dataset", "split", "fingerprint")
    return {k: value for k, value in info.items() if isinstance(value, int | float | str) and k not in hidden}


def _lines(path: Path) -> int:
    """How many lines a file has; 0 where there is none."""
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def export(path: Path, split_name: str, part: str, out: Path) -> dict[str, Any]:
    """Write a part of a split as JSON lines `{"text", "hashtags", "author", "history"}`.

    A text is the post's words before stop words go, without its hashtags and links, so that whoever reads
    the file gets all that jaxtag's systems get; hashtags are those that the split trains on or may recommend;
    history is newest first.

    Raises:
      JaxtagError: no such dataset, split or part.
    """
    from jaxtag.data.text import Cleaner, Cleaning  # its tokenizer takes seconds to import

    dataset = open_dataset(path)
    split = dataset.split(split_name)
    rows = split.part(part)
    cleaner = Cleaner(Cleaning.from_json(dataset.info["settings"].get("cleaning")))
    hashtags = dataset.column("hashtags")
    kept = {*split.hashtags.tolist(), *split.candidates.tolist()}
    history = dataset.column("history") if dataset.has("history") else None
    authors = dataset.column("author") if dataset.has("author") else None

    def shown(row: int) -> str:
        return cleaner(dataset.text(np.array([row]))[0]).shown

    with new_file(out) as file:
        for row in progress(rows.tolist(), "exporting"):
            record: dict[str, Any] = {"text": shown(row)}
            record["hashtags"] = [dataset.hashtags.entries[h] for h in hashtags[row].tolist() if h in kept]
            if authors is not None:
                record["author"] = str(authors[row])
            if history is not None:
                record["history"] = [shown(r) for r in history[row].tolist() if r >= 0]
            file.write(f"{json.dumps(record, ensure_ascii=False)}\n".encode())
    return {"file": str(out), "posts": len(rows)}
