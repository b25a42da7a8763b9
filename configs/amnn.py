"""Recipes of the amnn paper: the attention-based multimodal neural network, and what it is compared with.

    jaxtag-prep posts --input posts.jsonl --out DATA --text text --image photo --images photos --preset amnn
    jaxtag-prep images --data DATA --extractor resnet50
    jaxtag train amnn/multilabel_resnet --data DATA --run RUN

The paper states no settings; those of its authors' code are here, and ours where that has none (SYSTEMS 2.6, 3.5).
"""

from dataclasses import replace
from typing import Any, Literal

from jaxtag.estimators import mlknn as mlknn_method
from jaxtag.estimators import neighbour_voting as neighbour_voting_method
from jaxtag.estimators import svm as svm_method
from jaxtag.experiment import Data, Evaluation, Experiment, Training
from jaxtag.models import amnn as amnn_model
from jaxtag.models import coattention as coattention_model
from jaxtag.models import multilabel_resnet as multilabel_resnet_model
from jaxtag.models import nic as nic_model
from jaxtag.models import show_attend_tell as show_attend_tell_model
from jaxtag.models import vgg_object_scene as vgg_object_scene_model

_BY_RECALL = Evaluation(metric="recall@5")  # as the paper's tables are
# Of networks that give each hashtag a probability of its own.
_SIGMOID = Training(objective="sigmoid", clip=0.0, batch=128)
# Of networks that say hashtags one after the other.
_SEQUENCE = Training(objective="sequence", clip=0.0, batch=128, l2=1e-8, schedule="plateau", epochs=100.0, patience=12)


def vgg_object_scene(size: str) -> Experiment:
    """Two hidden layers of 4096, normalised over the batch, on VGG-16's view of objects and of the scene."""
    data, model = Data(extractor="vgg16,vgg16_places"), vgg_object_scene_model.Settings()
    if size == "tiny":
        training = replace(_SIGMOID, learning_rate=0.01, epochs=5.0)
        return Experiment("vgg_object_scene", replace(model, hidden=(32, 32), momentum=0.9), data, training, _BY_RECALL)
    return Experiment("vgg_object_scene", model, data, _SIGMOID, _BY_RECALL)


def multilabel_resnet(size: str) -> Experiment:
    """A linear layer on ResNet-50's pooled features; with --model.end_to_end true --data.extractor pixels all of it.

    Batches of 16 are those of the authors, who train it whole.
    """
    data, model = Data(extractor="resnet50"), multilabel_resnet_model.Settings()
    training = replace(_SIGMOID, batch=16)
    if size == "tiny":
        training = replace(training, learning_rate=2e-3, epochs=5.0)
    return Experiment("multilabel_resnet", model, data, training, _BY_RECALL)


def coattention(size: str) -> Experiment:
    """Two layers of co-attention over words and over 49 cells of VGG-16's last grid, a term for each hashtag of a post.

    The authors' code trains on one hashtag drawn of a post each time: --training.objective random_one.
    """
    data, model = Data(length=300, extractor="vgg16"), coattention_model.Settings()
    training = Training(clip=0.0, batch=128, by_length=1)
    if size == "tiny":
        model = replace(model, embedding=32, width=32, attention=16)
        data, training = replace(data, length=32), replace(training, by_length=0, learning_rate=0.01, epochs=5.0)
    return Experiment("coattention", model, data, training, _BY_RECALL)


def _sequence(system: str, model: Any, extractor: str, size: str, tiny: dict[str, Any], **training: Any) -> Experiment:
    """A system of hashtag sequences; by recall at 5, as the paper's tables are."""
    data = Data(length=300, extractor=extractor)
    if size == "tiny":
        model, data = replace(model, **tiny), replace(data, length=32)
        # Leaving padding out costs more to compile than it saves here.
        training |= {"learning_rate": 0.01, "epochs": 5.0, "by_length": 0}
    return Experiment(system, model, data, replace(_SEQUENCE, **training), _BY_RECALL)


def _amnn(size: str, modality: Literal["both", "image", "text"]) -> Experiment:
    tiny = {"embedding": 32, "width": 64, "hashtag_embedding": 32, "most": 8, "dropout": 0.2}
    model = amnn_model.Settings(modality=modality)
    extractor = "" if modality == "text" else "resnet50"
    return _sequence("amnn", model, extractor, size, tiny, by_length=1)


def amnn(size: str) -> Experiment:
    """An LSTM of 256 over 49 cells of ResNet-50's grid, one of 128 in each direction over words, a GRU of 256.

    With --data.extractor inception_v3 over its 64 cells. Fixed text features: --model.trainable false --data.vectors
    NAME, and without the recurrent layer --model.text_recurrent false.
    """
    return _amnn(size, "both")


def amnn_image(size: str) -> Experiment:
    """The same of the image alone."""
    return _amnn(size, "image")


def amnn_text(size: str) -> Experiment:
    """The same of the text alone."""
    return _amnn(size, "text")


def nic(size: str) -> Experiment:
    """An LSTM of 128 that starts from ResNet-50's pooled features, and an end token."""
    tiny = {"width": 64, "hashtag_embedding": 32, "most": 8, "dropout": 0.2}
    return _sequence("nic", nic_model.Settings(), "resnet50", size, tiny, by_length=1)


def show_attend_tell(size: str) -> Experiment:
    """An LSTM of 512 that attends to 49 cells of ResNet-50's grid at every hashtag, an end token, a beam of 3.

    With --data.extractor vgg16_conv3 over 196 cells of VGG-16. The paper scores it on posts with 5 or more
    recommendations alone: --evaluation.min_predictions 5.
    """
    tiny = {"width": 64, "attention_width": 32, "output": 64, "hashtag_embedding": 32, "most": 8, "dropout": 0.2}
    own = {"learning_rate": 1e-4, "clip": 5.0, "batch": 32, "weight_decay": 1e-4, "l2": 0.0, "schedule": "constant"}
    return _sequence("show_attend_tell", show_attend_tell_model.Settings(), "resnet50", size, tiny, **own)


def neighbour_voting(size: str) -> Experiment:
    """The 5 training posts vote whose images' features, by amnn_image, are nearest.

    The authors' code compares pooled features, and trains nothing: --model.features vector --data.extractor
    inception_v3.
    """
    return Experiment("neighbour_voting", neighbour_voting_method.Settings(), encoder=amnn_image(size))


def svm(size: str) -> Experiment:
    """Linear SVMs on what amnn merges of text and image, C = 1."""
    return Experiment("svm", svm_method.Settings(features="merged"), encoder=amnn(size))


def mlknn(size: str) -> Experiment:
    """ML-kNN on TF-IDF of one to three words: k = 5, s = 1, and no training post is its own neighbour."""
    return Experiment("mlknn", mlknn_method.Settings(), Data(length=300 if size == "paper" else 32))


RECIPES = (
    amnn, amnn_image, amnn_text, neighbour_voting, vgg_object_scene, nic, show_attend_tell, multilabel_resnet,
    svm, mlknn, coattention,
)  # fmt: skip
