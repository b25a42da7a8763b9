"""A trained run's weights for other libraries: a folder in the layout of Hugging Face."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from jaxtag.data.wordpieces import open_wordpieces
from jaxtag.errors import JaxtagError
from jaxtag.models import lxmert
from jaxtag.runs import open_run
from jaxtag.training.pretrained import write
from jaxtag.training.restored import restore_best


def export(run: Path, out: Path, data: Path | None = None) -> dict[str, Any]:
    """Save the encoder of a run of lxmert, at its best checkpoint, as Hugging Face's `LxmertModel` loads it.

    What has no place in that layout, the layers between the encoder and the hashtags, stays in the run.

    Args:
      run: its folder.
      out: folder to make: model.safetensors, config.json and vocab.txt.
      data: where the dataset lies now, if not where it was trained.

    Returns:
      `out`, and how many `parameters` and `pieces` it has.

    Raises:
      JaxtagError: there is no such run, or of another system, or there is something at `out` already.
    """
    if out.exists():
        raise JaxtagError(f"{out} exists already", "name a folder that does not")
    bound, _ = open_run(run, data)
    settings, entry = bound.experiment.model, bound.system.entry
    if not isinstance(settings, lxmert.Settings):
        raise JaxtagError(f"Hugging Face has no layout for {entry.name}, the system of {run}", "only lxmert has one")
    params = jax.device_get(restore_best(run, bound)["params"]["encoder"])
    pieces = open_wordpieces(bound.dataset).entries
    given = len(params["objects"]["features"]["kernel"])  # what the dataset's detector gives, whatever the settings say
    write(out, params, replace(settings, features=given), pieces)
    spare = (len(params["text"]["words"]) - len(pieces)) * settings.width
    count = sum(x.size for x in jax.tree.leaves(params)) - spare
    return {"out": str(out), "parameters": count, "pieces": len(pieces)}
