"""Recipes of the lxmert4hashtag paper: LXMERT over WordPieces and the regions of a post's image.

    jaxtag-prep posts --input posts.jsonl --text text --image photo --images none --out DATA
    jaxtag-prep wordpieces --data DATA --vocabulary LXMERT        # the published vocabulary
    jaxtag-prep regions --data DATA --input features.tsv
    jaxtag train lxmert4hashtag/lxmert --data DATA --run RUN --model.init lxmert:LXMERT

Epochs and batch are the paper's; the update, which it does not state, is that of LXMERT's fine-tuning (SYSTEMS 3.3).
"""

from dataclasses import replace

from jaxtag.experiment import Data, Evaluation, Experiment, Training
from jaxtag.models import lxmert as lxmert_model

_BY_F1 = Evaluation(metric="f1@2", batch=64)  # as the paper's Table 3 is


def lxmert(size: str) -> Experiment:
    """LXMERT of 9, 5 and 5 layers; from published weights with --model.init lxmert:PATH.

    Text alone, for comparison: --model.modality text.
    """
    data, model = Data(length=128, extractor="regions"), lxmert_model.Settings()
    training = Training(
        objective="sigmoid", optimizer="bert_adam", learning_rate=5e-5, weight_decay=0.01, schedule="linear",
        warmup=0.1, batch=18, epochs=75.0, patience=0,
    )  # fmt: skip
    if size == "tiny":
        sizes = {"width": 64, "heads": 4, "inner": 128, "language_layers": 1, "object_layers": 1, "cross_layers": 1}
        model = replace(model, **sizes, spread=0.125)
        data, own = replace(data, length=32), {"learning_rate": 2e-3, "weight_decay": 0.0, "warmup": 0.0}
        # BertAdam's first updates are three times as large as its rate: too much for a narrow network in few steps.
        training = replace(training, **own, optimizer="adam", batch=32, epochs=100.0, patience=5)
    return Experiment("lxmert", model, data, training, _BY_F1)


RECIPES = (lxmert,)
