"""What a fitted system starts from: its encoder, trained first, or word vectors; if zero-shot, hashtags' vectors."""

from pathlib import Path
from typing import Any

import jax

from jaxtag.parallel.mesh import replicated
from jaxtag.runs import Bound, restore_best
from jaxtag.training import loop
from jaxtag.training.logs import say
from jaxtag.training.starting import start_of
from jaxtag.training.vectors import usable_vectors, word_vectors


def train_encoder(run: Path, bound: Bound, at: str = "encoder") -> dict[str, Any]:
    """Train what is left of the encoder of `bound` in the folder `at` of `run`; its summary, empty without one."""
    if bound.encoder is None:
        return {}
    entry = bound.encoder.system.entry
    say(f"the encoder, {entry.paper}/{entry.name}, in {run / at}")
    return loop.train(run / at, f"{entry.paper}/{entry.name}", bound.encoder, start_of(bound.encoder))


def given(encoder: Path, bound: Bound) -> tuple[dict[str, Any], Any]:
    """What a fitted system has before it is fitted: its params without `fitted`, and its collections.

    Args:
      encoder: run folder of the encoder; not read where there is none.
      bound: the system, whose `encoder` was trained there.

    Raises:
      JaxtagError: the encoder has no checkpoint yet.
    """
    host: dict[str, Any] = {"hashtags": usable_vectors(bound)} if bound.system.entry.zero_shot else {}
    params, collections = {}, {}
    if bound.encoder:
        state = restore_best(encoder, bound.encoder)
        params, collections = {"encoder": state["params"]}, state["collections"]
    elif bound.system.sizes.vectors:
        host |= word_vectors(bound, bound.experiment.model.vectors)
    return params | jax.device_put(host, replicated(bound.mesh)), collections
