"""Recipes of the hmemn2n paper: end-to-end memory networks with hierarchical attention.

    jaxtag-prep posts --input posts.csv --out DATA --text text --author author --time time --preset hmemn2n
    jaxtag train hmemn2n/hmemn2n --data DATA --run RUN

The paper states words of 300 dimensions, 2 hops, the author's 5 latest posts of at most 52 words, AdaGrad at 0.01,
dropout 0.2 and up to 60 epochs with early stopping; a term of the loss for each hashtag of a post. Ours, because it
does not say: a batch of 128, L2 of 1e-5, sums of squares that start from 0, word tables that start at N(0, 0.1)
(SYSTEMS 4.2).
"""

from dataclasses import replace
from typing import Any

from jaxtag.estimators import naive_bayes as naive_bayes_method
from jaxtag.estimators import svm as svm_method
from jaxtag.estimators import topical_translation as topical_translation_method
from jaxtag.experiment import Data, Experiment, Training
from jaxtag.models import cnn_attention as cnn_attention_model
from jaxtag.models import hmemn2n as hmemn2n_model
from jaxtag.models import memn2n as memn2n_model

TRAINING = Training(optimizer="adagrad", learning_rate=0.01, l2=1e-5, clip=0.0, batch=128, rows=4608, epochs=60.0)
# 128 posts with 5 earlier ones, 12 words each of 60,000, have 4,200 distinct ones (4,370 at most of 200 batches);
# without the earlier ones 970 (1,110).
_POSTS_ALONE = replace(TRAINING, rows=1536)
_DATA = {"paper": Data(length=52), "tiny": Data(length=32, history_length=32)}


def _trained(system: str, model: Any, tiny: dict[str, Any], size: str, training: Training = TRAINING) -> Experiment:
    experiment = Experiment(system, model, _DATA["paper"], training)
    if size == "tiny":
        training = replace(training, learning_rate=0.05, epochs=5.0)
        return replace(experiment, model=replace(model, **tiny), training=training, data=_DATA[size])
    return experiment


def hmemn2n(size: str) -> Experiment:
    """Two hops of attention over words and over the author's earlier posts."""
    return _trained("hmemn2n", hmemn2n_model.Settings(), {"embedding": 32}, size)


def memn2n(size: str) -> Experiment:
    """Two hops of attention over the author's earlier posts as bags of words; the original's options are off."""
    return _trained("memn2n", memn2n_model.Settings(), {"embedding": 32}, size)


def cnn_attention(size: str) -> Experiment:
    """Convolutions of 1, 2 and 3 words with 100 filters each, beside the trigger words; δ is 0.8."""
    return _trained(
        "cnn_attention", cnn_attention_model.Settings(), {"embedding": 32, "filters": 32}, size, _POSTS_ALONE
    )


def naive_bayes(size: str) -> Experiment:
    """Multinomial naive Bayes on counts of words, α = 1."""
    return Experiment("naive_bayes", naive_bayes_method.Settings(), _DATA[size])


def naive_bayes_history(size: str) -> Experiment:
    """The same with the words of the author's earlier posts in the bag."""
    return Experiment("naive_bayes_history", naive_bayes_method.Settings(), _DATA[size])


def svm(size: str) -> Experiment:
    """Linear SVMs on the sum of word vectors, C = 1.

    The paper's vectors have 300 numbers, by CBOW on news: jaxtag-prep vectors --file; our own: --model cbow --dim 300.
    """
    return Experiment("svm", svm_method.Settings(), _DATA[size])


def svm_history(size: str) -> Experiment:
    """The same with the sum over the words of the author's earlier posts behind it."""
    return Experiment("svm_history", svm_method.Settings(), _DATA[size])


def topical_translation(size: str) -> Experiment:
    """50 topics, 500 sweeps of which the second half is averaged; a batch is a block of the sampler's posts."""
    settings = topical_translation_method.Settings()
    if size == "tiny":
        settings = replace(settings, topics=10, burn_in=20)
    sweeps = {"paper": 500.0, "tiny": 40.0}[size]
    training = Training(batch=1024, epochs=sweeps, evaluate_every=int(sweeps) // 10, patience=0)
    return Experiment("topical_translation", settings, _DATA[size], training)


RECIPES = (
    hmemn2n, memn2n, cnn_attention, naive_bayes, naive_bayes_history, svm, svm_history, topical_translation,
)  # fmt: skip
