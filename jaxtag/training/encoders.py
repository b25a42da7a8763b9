"""The encoder of a fitted system, which is trained before anything is fitted."""

from pathlib import Path
from typing import Any

from jaxtag.runs import Bound
from jaxtag.training import loop
from jaxtag.training.logs import say
from jaxtag.training.starting import start_of


def train_encoder(run: Path, bound: Bound, at: str = "encoder") -> dict[str, Any]:
    """Train what is left of the encoder of `bound` in the folder `at` of `run`; its summary, empty without one."""
    if bound.encoder is None:
        return {}
    entry = bound.encoder.system.entry
    say(f"the encoder, {entry.paper}/{entry.name}, in {run / at}")
    return loop.train(run / at, f"{entry.paper}/{entry.name}", bound.encoder, start_of(bound.encoder))
