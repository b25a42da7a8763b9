"""How an estimator learns from the training posts: from counts of their words, or features, and their hashtags."""

from pathlib import Path
from typing import Any

import numpy as np

from jaxtag.evaluation.evaluate import vectors_settings
from jaxtag.fitted import Estimator
from jaxtag.runs import Bound, open_posts
from jaxtag.training.counts import counts, gold
from jaxtag.training.encoders import given
from jaxtag.training.features import Features
from jaxtag.training.logs import say


def learn(run: Path, bound: Bound) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What fitted.json says of an estimator, and the arrays.

    Args:
      run: its folder, in which its encoder is trained.
      bound: the estimator.

    Raises:
      JaxtagError: a feature is not finite.
    """
    system, split = bound.system, bound.split
    assert isinstance(system, Estimator)
    rows, columns = split.train, system.entry.columns
    say(f"fitting {system.entry.name} to {len(rows):,} posts, {len(split.hashtags)} hashtags")
    if system.code.READS == "counts":
        arrays = system.code.fit(system.settings, *counts(bound.reading, rows, columns))
    else:
        features = Features(bound, open_posts(bound, say), system, *given(run / "encoder", bound)).rows(rows)
        arrays = system.code.fit(system.settings, features, gold(bound.reading, rows))
    info = {"chosen": {}, "tried": {}, "posts": len(rows), "hashtags": len(split.hashtags)}
    return info | {"vectors": vectors_settings(bound), "left_out": []}, arrays
