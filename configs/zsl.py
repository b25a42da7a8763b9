"""Recipes of the zsl paper: from fully supervised to zero-shot settings for Twitter hashtag recommendation.

    jaxtag-prep posts --input posts.csv --out DATA --text text --preset zsl
    jaxtag-prep vectors --data DATA --setting inductive --dim 150
    jaxtag train zsl/cnn --data DATA --run RUN

The paper states Adam at 1e-3, Glorot initial values, word vectors of 150 dimensions and the widths below;
batch 64, dropout 0.5, 50 epochs with early stopping and 40 words a post are ours (SYSTEMS 1.3).
"""

from dataclasses import replace
from typing import Any

from jaxtag.experiment import Data, Experiment, Training
from jaxtag.models import cnn as cnn_model
from jaxtag.models import rnn_attention as rnn_attention_model


def _supervised(system: str, model: Any, tiny: dict[str, Any], size: str) -> Experiment:
    experiment = Experiment(system, model, Data(length=40, vectors="inductive"), Training())
    if size == "tiny":
        training = replace(experiment.training, learning_rate=5e-3, batch=128, epochs=5.0)
        return replace(experiment, model=replace(model, **tiny), training=training, data=Data(length=32))
    return experiment


def cnn(size: str) -> Experiment:
    """Three window sizes of 32 filters, hidden layers of 1024 and 256."""
    tiny = {"embedding": 32, "filters": 32, "hidden": (128, 64), "dropout": 0.2}
    return _supervised("cnn", cnn_model.Settings(), tiny, size)


def rnn_attention(size: str) -> Experiment:
    """A GRU of 1024 with attention over its states."""
    tiny = {"embedding": 32, "width": 64, "dropout": 0.2}
    return _supervised("rnn_attention", rnn_attention_model.Settings(), tiny, size)


RECIPES = (cnn, rnn_attention)
