"""Looking at a dataset: its funnel, statistics and splits; and exporting a part of a split."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from jaxtag.data.dataset import PARTS, Dataset, open_dataset
from jaxtag.data.posts import COLUMNS
from jaxtag.files import SIDE
from jaxtag.progress import progress

MOST_SHOWN = 10  # hashtags named by `data show`


def describe(path: Path) -> dict[str, Any]:
    """What `jaxtag data show` shows of the dataset at `path`, as JSON values.

    Raises:
      JaxtagError: it is no dataset folder, or a file in it is damaged.
    """
    dataset = open_dataset(path)
    lengths = {}
    for name in (n for n in dataset.info["columns"] if n in COLUMNS and COLUMNS[n].ragged):
        found = dataset.column(name).lengths()
        lengths[name] = {"mean": round(float(found.mean()), 2), "most": int(found.max(initial=0))}
    hashtags = dataset.hashtags
    return {
        "name": dataset.info["name"],
        "preset": dataset.info["preset"],
        "posts": dataset.rows,
        "words": len(dataset.words),
        "hashtags": len(hashtags),
        "funnel": dataset.info["funnel"],
        "columns": {n: COLUMNS[n].meaning for n in dataset.info["columns"] if n in COLUMNS},
        "values_per_post": lengths,
        "most_used": [[f"#{h}", c] for h, c in zip(hashtags.entries[:MOST_SHOWN], hashtags.counts[:MOST_SHOWN])],
        "splits": {p.parent.name: _split(dataset, p.parent.name) for p in sorted(path.glob("splits/*/split.json"))},
        "fingerprint": dataset.fingerprint,
    }


def _split(dataset: Dataset, name: str) -> dict[str, Any]:
    split = dataset.split(name)
    counts = {part: len(getattr(split, part)) for part in PARTS}
    vectors = sorted(p.name for p in (split.path / "vectors").glob("*") if p.is_dir())
    return {
        "rule": split.info["rule"],
        "hashtags_per_post": split.info["hashtags_per_post"],
        **counts,
        "funnel": split.info.get("funnel", [])[1:],
        "hashtags": len(split.hashtags),
        "candidates": len(split.candidates),
        "words": len(split.words),
        "vectors": vectors,
    }


def render(found: dict[str, Any]) -> str:
    """The description as text for a terminal."""
    lines = [
        f"{found['name']}: {found['posts']:,} posts, {found['words']:,} words, {found['hashtags']:,} hashtags "
        f"(preset {found['preset']}, {found['fingerprint']})",
        "",
        "where the posts went",
    ]
    lines += [f"  {row['posts']:>12,}  {row['step']}" for row in found["funnel"]]
    lines += ["", "columns"] + [f"  {name:<10} {meaning}" for name, meaning in found["columns"].items()]
    lines += ["", "values per post"]
    lines += [
        f"  {name:<10} {v['mean']} on average, {v['most']} at most" for name, v in found["values_per_post"].items()
    ]
    lines += ["", "most used: " + "  ".join(f"{h} {c:,}" for h, c in found["most_used"])]
    for name, split in found["splits"].items():
        lines += [
            "",
            f"split {name} ({split['rule']}, {split['hashtags_per_post']} hashtags per post): "
            f"{split['train']:,} / {split['validation']:,} / {split['test']:,} posts, {split['hashtags']} hashtags, "
            f"{split['words']:,} words, vectors: {', '.join(split['vectors']) or 'none'}",
        ]
        lines += [f"  {row['posts']:>12,}  {row['step']}" for row in split["funnel"]]
    return "\n".join(lines)


def export(path: Path, split_name: str, part: str, out: Path) -> dict[str, Any]:
    """Write a part of a split as JSON lines `{"text", "hashtags", "author", "history"}`.

    A text is the post's words before stop words go, without its hashtags and links, so that whoever reads
    the file gets all that jaxtag's systems get; hashtags are those of the split's; history is newest first.

    Raises:
      JaxtagError: no such dataset, split or part.
    """
    from jaxtag.data.text import Cleaner, Cleaning  # its tokenizer takes seconds to import

    dataset = open_dataset(path)
    split = dataset.split(split_name)
    rows = split.part(part)
    cleaner = Cleaner(Cleaning.from_json(dataset.info["settings"]["cleaning"]))
    hashtags = dataset.column("hashtags")
    kept = set(split.hashtags.tolist())
    history = dataset.column("history") if dataset.has("history") else None
    authors = dataset.column("author") if dataset.has("author") else None

    def shown(row: int) -> str:
        return cleaner(dataset.text(np.array([row]))[0]).shown

    side = out.with_name(out.name + SIDE)
    with open(side, "w", encoding="utf-8") as file:
        for row in progress(rows.tolist(), "exporting"):
            record: dict[str, Any] = {"text": shown(row)}
            record["hashtags"] = [dataset.hashtags.entries[h] for h in hashtags[row].tolist() if h in kept]
            if authors is not None:
                record["author"] = str(authors[row])
            if history is not None:
                record["history"] = [shown(r) for r in history[row].tolist() if r >= 0]
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    side.replace(out)
    return {"file": str(out), "posts": len(rows)}
