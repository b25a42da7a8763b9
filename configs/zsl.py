"""Recipes of the zsl paper: from fully supervised to zero-shot settings for Twitter hashtag recommendation.

    jaxtag-prep posts --input posts.csv --out DATA --text text --preset zsl
    jaxtag-prep vectors --data DATA --setting inductive --dim 150
    jaxtag train zsl/cnn --data DATA --run RUN

The paper states Adam at 1e-3, Glorot initial values, word vectors of 150 dimensions and the widths below;
batch 64, dropout 0.5 (but the transformer's 0.1), 50 epochs with early stopping and 40 words a post are ours
(SYSTEMS 1.3).
"""

from dataclasses import replace
from typing import Any

from jaxtag.estimators import conse as conse_method
from jaxtag.estimators import cosine as cosine_method
from jaxtag.estimators import dem as dem_method
from jaxtag.estimators import eszsl as eszsl_method
from jaxtag.experiment import Data, Experiment, Training
from jaxtag.models import ann as ann_model
from jaxtag.models import cnn as cnn_model
from jaxtag.models import rnn as rnn_model
from jaxtag.models import rnn_attention as rnn_attention_model
from jaxtag.models import transformer as transformer_model


def _supervised(system: str, model: Any, tiny: dict[str, Any], size: str) -> Experiment:
    experiment = Experiment(system, model, Data(length=40, vectors="inductive"), Training())
    if size == "tiny":
        training = replace(experiment.training, learning_rate=5e-3, batch=128, epochs=5.0)
        return replace(experiment, model=replace(model, **tiny), training=training, data=Data(length=32))
    return experiment


def _sorted(experiment: Experiment, parts: int) -> Experiment:
    """Batches sorted by length, in as many parts as are fastest for a batch of 64 on a CPU; no number changes."""
    return replace(experiment, training=replace(experiment.training, by_length=parts))


def ann(size: str) -> Experiment:
    """The mean of a post's word vectors and a hidden layer of 1024."""
    return _supervised("ann", ann_model.Settings(), {"embedding": 32, "hidden": 128, "dropout": 0.2}, size)


def cnn(size: str) -> Experiment:
    """Three window sizes of 32 filters, hidden layers of 1024 and 256."""
    tiny = {"embedding": 32, "filters": 32, "hidden": (128, 64), "dropout": 0.2}
    return _sorted(_supervised("cnn", cnn_model.Settings(), tiny, size), 2)


def rnn(size: str) -> Experiment:
    """Two GRUs of 1024, of which the second's last state is read."""
    tiny = {"embedding": 32, "width": 64, "dropout": 0.2}
    return _sorted(_supervised("rnn", rnn_model.Settings(), tiny, size), 1)


def rnn_attention(size: str) -> Experiment:
    """A GRU of 1024 with attention over its states."""
    tiny = {"embedding": 32, "width": 64, "dropout": 0.2}
    return _sorted(_supervised("rnn_attention", rnn_attention_model.Settings(), tiny, size), 1)


def transformer(size: str) -> Experiment:
    """Six layers of 512 with 8 heads.

    The paper states Adam at 1e-3 for every system and the hyper-parameters of Vaswani et al., which contradict
    each other; ours is Adam with a linear warm-up over a tenth of the steps, constant afterwards.
    """
    tiny = {"embedding": 32, "layers": 2, "width": 64, "heads": 4, "inner": 128}
    experiment = _sorted(_supervised("transformer", transformer_model.Settings(), tiny, size), 8)
    rate = {"learning_rate": 1e-3} if size == "tiny" else {}
    return replace(experiment, training=replace(experiment.training, warmup=0.1, **rate))


def conse(size: str) -> Experiment:
    """The rnn's probabilities of all seen hashtags, T = n_s, times their vectors; by cosine."""
    return Experiment("conse", conse_method.Settings(), encoder=rnn(size))


def eszsl(size: str) -> Experiment:
    """Y of zeros and ones, features as they are; γ and λ, of which the paper says nothing, from a grid."""
    return Experiment("eszsl", eszsl_method.Settings(), encoder=rnn(size))


def dem(size: str) -> Experiment:
    """One ReLU layer from hashtags' vectors to the features of the rnn, which is trained first, and kept.

    The paper's "end-to-end" squared error alone, --model.mode joint_mse, is least where both sides are zero
    (SYSTEMS 1.11); λ and the number of steps are ours.
    """
    training = Training(learning_rate=1e-3 if size == "paper" else 5e-3, batch=64 if size == "paper" else 128)
    return Experiment("dem", dem_method.Settings(), training=training, encoder=rnn(size))


def cosine(size: str) -> Experiment:
    """Not the paper's: what word vectors give without any training."""
    return Experiment("cosine", cosine_method.Settings(), Data(length=40))


RECIPES = (ann, cnn, rnn, rnn_attention, transformer, conse, eszsl, dem, cosine)
