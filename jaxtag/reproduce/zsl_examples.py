"""Table 4: posts of unseen hashtags, as they read before stop words go, and what a zero-shot method recommends."""

from pathlib import Path
from typing import Any

import numpy as np

from jaxtag.data.dataset import Dataset, Split
from jaxtag.report.runs import read

EXAMPLES = 6
SHOWN = 5  # hashtags recommended


def recommended(dataset: Dataset, split: Split, run: Path) -> dict[str, Any]:
    """Posts evenly spaced among those of the test part that have their hashtag among the first five.

    The paper shows such posts alone; `share` says how many of all test posts are.

    Args:
      dataset, split: of the run.
      run: its folder, evaluated on the test part.

    Returns:
      `rows`, each with `post`, its `hashtags` and what is `recommended`; `share` and `posts`.

    Raises:
      JaxtagError: the run's predictions are absent or damaged.
    """
    from jaxtag.data.text import Cleaner, Cleaning  # its tokenizer takes seconds to import

    saved = read(run).evaluations["test"].predictions
    ranked = saved.ranked[:, :SHOWN]
    right = (ranked[:, :, None] == saved.gold[:, None, :]).any((1, 2))
    there = np.flatnonzero(right)
    chosen = there[np.unique(np.linspace(0, max(len(there) - 1, 0), EXAMPLES).astype(int))] if len(there) else there
    cleaner = Cleaner(Cleaning.from_json(dataset.info["settings"]["cleaning"]))
    texts = dataset.text(saved.rows[chosen])
    names = dataset.hashtags.entries
    rows = [
        {
            "post": cleaner(text).shown,
            "hashtags": [names[h] for h in saved.gold[i] if h >= 0],
            "recommended": [names[h] for h in ranked[i] if h >= 0],
        }
        for i, text in zip(chosen, texts)
    ]
    return {"rows": rows, "share": float(right.mean()), "posts": len(right)}
