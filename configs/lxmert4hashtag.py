"""Recipes of the lxmert4hashtag paper: LXMERT over WordPieces and the regions of a post's image, and its baselines.

    jaxtag-prep posts --input posts.jsonl --text text --image photo --images none --out DATA
    jaxtag-prep wordpieces --data DATA --vocabulary LXMERT        # the published vocabulary
    jaxtag-prep regions --data DATA --input features.tsv
    jaxtag train lxmert4hashtag/lxmert --data DATA --run RUN --model.init lxmert:LXMERT

    jaxtag-prep topics --data DATA                                # for tab_lstm
    jaxtag-prep images --data DATA --extractor vgg16              # for lstm_cnn and coattention
    jaxtag-prep vectors --data DATA --setting inductive           # for tweet_embedding, which reads resnet152 too

Length, epochs and batch are the paper's; the update of LXMERT, which it does not state, is that of LXMERT's
fine-tuning, and the baselines' other settings are those of public code, or ours where there is none (SYSTEMS 3.3-3.9).
"""

from dataclasses import replace
from typing import Any

from jaxtag.configs import amnn as amnn_recipes

from jaxtag.experiment import Data, Evaluation, Experiment, Training
from jaxtag.models import lstm_cnn as lstm_cnn_model
from jaxtag.models import lxmert as lxmert_model
from jaxtag.models import tab_lstm as tab_lstm_model
from jaxtag.models import tweet_embedding as tweet_embedding_model

_BY_F1 = Evaluation(metric="f1@2", batch=64)  # as the paper's Table 3 is
_LENGTH = 128
_PAPER: dict[str, Any] = {"batch": 18, "epochs": 75.0, "patience": 0}  # of every system
_TINY: dict[str, Any] = {"learning_rate": 0.01, "batch": 64, "epochs": 5.0}


def lxmert(size: str) -> Experiment:
    """LXMERT of 9, 5 and 5 layers; from published weights with --model.init lxmert:PATH.

    Text alone, for comparison: --model.modality text.
    """
    data, model = Data(length=_LENGTH, extractor="regions"), lxmert_model.Settings()
    training = Training(
        objective="sigmoid", optimizer="bert_adam", learning_rate=5e-5, weight_decay=0.01, schedule="linear",
        warmup=0.1, **_PAPER,
    )  # fmt: skip
    if size == "tiny":
        sizes = {"width": 64, "heads": 4, "inner": 128, "language_layers": 1, "object_layers": 1, "cross_layers": 1}
        model = replace(model, **sizes, spread=0.125)
        data, own = replace(data, length=32), {"learning_rate": 2e-3, "weight_decay": 0.0, "warmup": 0.0}
        # BertAdam's first updates are three times as large as its rate: too much for a narrow network in few steps.
        training = replace(training, **own, optimizer="adam", batch=32, epochs=100.0, patience=5)
    return Experiment("lxmert", model, data, training, _BY_F1)


def _recurrent(
    system: str, model: Any, data: Data, size: str, tiny: dict[str, Any] | None = None, **training: Any
) -> Experiment:
    """A baseline with a recurrent layer over words; `tiny` are sizes of its own, beside those that all have."""
    if size == "tiny":
        model = replace(model, embedding=32, width=32, dropout=0.2, **(tiny or {}))
        return Experiment(system, model, replace(data, length=32), Training(**_TINY | training), _BY_F1)
    return Experiment(system, model, data, Training(clip=0.0, by_length=1, **_PAPER | training), _BY_F1)


def tab_lstm(size: str) -> Experiment:
    """An LSTM of 300 whose states are attended to by the post's topics."""
    return _recurrent("tab_lstm", tab_lstm_model.Settings(), Data(length=_LENGTH), size)


def lstm_cnn(size: str) -> Experiment:
    """An LSTM of 300 beside VGG-16's 4096 numbers of the image, 300 of each.

    One softmax over all hashtags in place of a probability for each: --training.objective pairs.
    """
    data = Data(length=_LENGTH, extractor="vgg16")
    return _recurrent("lstm_cnn", lstm_cnn_model.Settings(), data, size, {"joint": 32}, objective="sigmoid")


def _as_here(experiment: Experiment, size: str) -> Experiment:
    """A recipe of the amnn paper with this one's length, epochs, batch and metric."""
    if size == "tiny":
        return replace(experiment, evaluation=_BY_F1)
    data, training = replace(experiment.data, length=_LENGTH), replace(experiment.training, **_PAPER)
    return replace(experiment, data=data, training=training, evaluation=_BY_F1)


def coattention(size: str) -> Experiment:
    """Two layers of co-attention over words and over 49 cells of VGG-16's last grid, as amnn/coattention."""
    return _as_here(amnn_recipes.coattention(size), size)


def amnn(size: str) -> Experiment:
    """Hashtags one after the other, of words and of 49 cells of ResNet-50's grid, as amnn/amnn."""
    return _as_here(amnn_recipes.amnn(size), size)


def tweet_embedding(size: str) -> Experiment:
    """Images by ResNet-152, texts and hashtags in one space of 1024; hashtags rank by cosine, unseen ones too.

    Epochs and batch are its authors', for a post is told from the others of its batch alone: the paper's are
    --training.batch 18 --training.epochs 75, which say so.
    """
    data, model = Data(length=_LENGTH, extractor="resnet152"), tweet_embedding_model.Settings()
    own: dict[str, Any] = {"objective": "hinge", "schedule": "drop", "drop_after": 15.0, "batch": 128}
    if size == "tiny":
        own |= {"learning_rate": 0.01, "epochs": 5.0, "drop_after": 4.0}
        training = Training(**own)
        return Experiment("tweet_embedding", replace(model, width=32), replace(data, length=32), training, _BY_F1)
    # Its authors clip at 2 what a loss summed over the batch gives; ours is the mean over it.
    training = Training(learning_rate=2e-4, clip=2 / 128, epochs=30.0, patience=0, by_length=1, **own)
    return Experiment("tweet_embedding", model, data, training, _BY_F1)


RECIPES = (lxmert, tab_lstm, lstm_cnn, coattention, amnn, tweet_embedding)
