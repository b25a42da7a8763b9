"""What a run starts from beyond what is drawn: weights or word vectors that its model's settings name."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from jaxtag.data.wordpieces import open_wordpieces
from jaxtag.errors import JaxtagError
from jaxtag.models import lxmert, multilabel_resnet, resnet
from jaxtag.runs import Bound
from jaxtag.training.pretrained import merged, read
from jaxtag.training.vectors import with_vectors
from jaxtag.training.weight_files import weights_at
from jaxtag.zero_shot import Embedding

State = dict[str, Any]
SCRATCH = "scratch"


def start_of(bound: Bound) -> Callable[[State], State]:
    """From the state before the first step as drawn to the one that the run of `bound` starts from."""
    settings = bound.experiment.model
    if isinstance(bound.system, Embedding):
        return partial(with_vectors, bound)
    if isinstance(settings, multilabel_resnet.Settings) and settings.end_to_end and settings.weights != "none":
        return lambda state: _from_keras(state, settings)
    if isinstance(settings, lxmert.Settings) and settings.init != SCRATCH:
        return _published(bound, settings)
    return lambda state: state


def _published(bound: Bound, settings: lxmert.Settings) -> Callable[[State], State]:
    """From a state to it with published weights in LXMERT's encoder.

    Raises:
      JaxtagError: model.init names no weights; once it is called, they do not fit the model or the vocabulary.
    """
    kind, _, name = settings.init.partition(":")
    if kind not in ("lxmert", "bert") or not name:
        raise JaxtagError(f"model.init cannot be {settings.init!r}", "write scratch, lxmert:PATH or bert:PATH")
    path, pieces = Path(name), open_wordpieces(bound.dataset).entries
    weights_at(path)

    def start(state: State) -> State:
        found = read(path, settings, bound.system.sizes.words, pieces, "bert" if kind == "bert" else "lxmert")
        return {**state, "params": merged(state["params"], {"encoder": found})}

    return start


def _from_keras(state: State, settings: multilabel_resnet.Settings) -> State:
    """The state with ResNet-50's weights, and its statistics, as Keras has them.

    Raises:
      JaxtagError: the network is another than ResNet-50, Keras is not installed, or the weights are not to be had.
    """
    from jaxtag.data.extractors import weights_of

    if (settings.depths, settings.width) != (resnet.DEPTHS, resnet.WIDTH):
        raise JaxtagError(
            f"model.weights {settings.weights} are of ResNet-50, model.depths and model.width of another network",
            "--model.weights none",
        )
    try:
        weights = weights_of("resnet50", settings.weights)
    except JaxtagError as error:
        raise JaxtagError(
            f"model.weights: {error.message}", "give a file of Keras' weights of ResNet-50, or none"
        ) from None
    params, statistics = resnet.loaded(weights)
    network = multilabel_resnet.NETWORK
    return {
        **state,
        "params": merged(state["params"], {network: params}),
        "collections": merged(state["collections"], {"statistics": {network: statistics}}),
    }
