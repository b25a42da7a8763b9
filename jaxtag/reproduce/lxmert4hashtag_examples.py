"""Fig. 4: posts with their own hashtags and each system's, and which regions of their images LXMERT looked at."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxtag.data import pictures
from jaxtag.data.images import FOLDER, files, listing
from jaxtag.data.pictures import BadImage
from jaxtag.explain import chosen
from jaxtag.files import read_json
from jaxtag.report.looks import Looked
from jaxtag.report.runs import read
from jaxtag.reproduce.lxmert4hashtag_work import Work

SHOWN = 5  # hashtags of each system
SIDE = 300  # pixels of an image that is drawn


def examples(work: Work, runs: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Posts evenly spaced among those of the test part that have a hashtag: those that an evaluation explains.

    Args:
      work: whose dataset.
      runs: folders of evaluated runs on its split, by system.

    Returns:
      A row each: `row` in the dataset, `post` as it is read, its `hashtags`, and `systems`: what each recommends.
    """
    from jaxtag.data.text import Cleaner, Cleaning  # its tokenizer takes seconds to import

    dataset, saved = work.dataset, {name: read(run).evaluations["test"].predictions for name, run in runs.items()}
    first = next(iter(saved.values()))
    shown = chosen(np.flatnonzero((first.gold >= 0).any(1)))
    cleaner = Cleaner(Cleaning.from_json(dataset.info["settings"]["cleaning"]))
    names, texts = dataset.hashtags.entries, dataset.text(first.rows[shown])
    return [
        {
            "row": int(first.rows[i]),
            "post": cleaner(text).shown,
            "hashtags": [names[h] for h in first.gold[i] if h >= 0],
            "systems": {s: [names[h] for h in found.ranked[i, :SHOWN] if h >= 0] for s, found in saved.items()},
        }
        for i, text in zip(shown, texts)
    ]


def looked(work: Work, run: Path, rows: Sequence[int]) -> list[Looked]:
    """What an evaluated run of LXMERT looked at in the images of the posts `rows`; those without regions left out."""
    found = {post["row"]: post for post in read_json(run / "explained-test.json", "list of explanations")}
    image, made = work.dataset.column("image"), []
    known = files(work.dataset) if listing(work.dataset) else []
    for number, row in enumerate(rows, 1):
        if seen := found[row].get("regions"):
            described = known[image[row]] if known else {}
            boxes = np.array([region["box"] for region in seen], np.float32)
            weights = np.array([region["weight"] for region in seen], np.float32)
            pixels = _pixels(work, described["file"]) if known else None
            size = described.get("size") or (1, 1)  # an image that is only a name may have any
            made.append(Looked(f"post {number}", (size[0], size[1]), boxes, weights, pixels))
    return made


def _pixels(work: Work, file: str) -> np.ndarray | None:
    """The image where its file is at hand, `[SIDE, SIDE, 3]`; else None."""
    folder = work.dataset.path / "images" / FOLDER
    if not folder.is_file():
        return None
    try:
        path = Path(folder.read_text(encoding="utf-8").rstrip("\n")) / file
        return pictures.pixels(pictures.read(path), SIDE)
    except (BadImage, OSError):
        return None
