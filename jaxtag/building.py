"""From an experiment and the sizes that its dataset decides to the `System` that it names, with its encoder if any."""

import importlib
from dataclasses import replace

from jaxtag import fitted, zero_shot
from jaxtag.decoded import Decoded
from jaxtag.experiment import Experiment
from jaxtag.systems import Sizes, System, find
from jaxtag.training.objectives import OBJECTIVES


def build(experiment: Experiment, sizes: Sizes) -> System:
    """The system of `experiment` at `sizes`.

    Raises:
      JaxtagError: there is no such system; a zero-shot one's features are not as wide as vectors that must fit them.
    """
    entry, objective = find(experiment.system), OBJECTIVES.get(experiment.training.objective)
    if entry.zero_shot or entry.learned != "steps":
        inner = experiment.encoder
        encoder = build(inner, replace(sizes, named=0, vectors=0)) if inner else None
        if entry.zero_shot:
            return zero_shot.make(experiment, sizes, encoder, objective)
        return fitted.make(experiment, sizes, encoder)
    columns = entry.reads(experiment.model)
    indexed = tuple(group for group in entry.indexed if set(group.columns) <= set(columns))
    entry = replace(entry, columns=columns, indexed=indexed)
    model = importlib.import_module(entry.module).Model
    more = {"image": sizes.image} if "image" in model.__dataclass_fields__ else {}
    module = model(settings=experiment.model, words=sizes.words, hashtags=sizes.hashtags, **more)
    parts = (entry, module, objective, sizes)
    if entry.output == "decode":
        return Decoded(*parts, shuffled=experiment.data.hashtag_order == "shuffled_each_time")
    return System(*parts)
