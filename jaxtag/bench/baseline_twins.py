"""PyTorch twins of the lxmert4hashtag paper's baselines that are in no other paper; every post has an image.

They are called as the others, with `topics`, `vector` or `labels` beside tokens. `tweet_embedding` gives views of
posts, and `hinge` is its objective; word vectors, which do not learn, are its buffers.
"""

import math
from typing import Any

from jaxtag.errors import JaxtagError
from jaxtag.systems import Sizes


def _states(layer: Any, x: Any, lengths: Any, form: str) -> tuple[Any, Any]:
    """All states `[B, T, d]`, and the last real one `[B, d]`, of an LSTM or a GRU."""
    import torch
    from torch.nn.utils import rnn

    if form == "packed":
        packed, last = layer(rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
        last = last[0] if isinstance(last, tuple) else last
        return rnn.pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])[0], last[-1]
    states = layer(x)[0]  # right padding: a real step never sees a padded one
    return states, states[torch.arange(len(x)), lengths - 1]


def tab_lstm(s: Any, sizes: Sizes) -> Any:
    """The twin of `jaxtag.models.tab_lstm`."""
    from torch import nn

    class TabLstm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.drop = nn.Embedding(sizes.words, s.embedding, padding_idx=0), nn.Dropout(s.dropout)
            self.lstm = nn.LSTM(s.embedding, s.width, batch_first=True)
            self.hidden, self.guide = (nn.Linear(n, s.width, bias=False) for n in (s.width, sizes.topics))
            self.score, self.head = nn.Linear(s.width, 1, bias=False), nn.Linear(s.width, sizes.hashtags)
            nn.init.zeros_(self.score.weight)

        def forward(self, tokens: Any, lengths: Any, form: str, topics: Any) -> Any:
            states, _ = _states(self.lstm, self.table(tokens), lengths, form)
            hidden = (self.hidden(states) + self.guide(topics).unsqueeze(1)).tanh()
            weights = self.score(hidden).squeeze(2).masked_fill(tokens == 0, -math.inf).softmax(1)
            return self.head(self.drop(weights.unsqueeze(1).bmm(states).squeeze(1)))

    return TabLstm()


def lstm_cnn(s: Any, sizes: Sizes) -> Any:
    """The twin of `jaxtag.models.lstm_cnn`."""
    import torch
    from torch import nn

    class LstmCnn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.drop = nn.Embedding(sizes.words, s.embedding, padding_idx=0), nn.Dropout(s.dropout)
            self.lstm = nn.LSTM(s.embedding, s.width, batch_first=True)
            self.text, self.image = nn.Linear(s.width, s.joint), nn.Linear(sizes.image["vector"][0], s.joint)
            self.head = nn.Linear(2 * s.joint, sizes.hashtags)

        def forward(self, tokens: Any, lengths: Any, form: str, vector: Any) -> Any:
            _, last = _states(self.lstm, self.table(tokens), lengths, form)
            return self.head(self.drop(torch.cat([self.text(last), self.image(vector)], 1)))

    return LstmCnn()


def tweet_embedding(s: Any, sizes: Sizes) -> Any:
    """The twin of `jaxtag.models.tweet_embedding`; it gives the views image, text and hashtags `[B, width]`."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    if (s.target, s.hardest) != ("hashtags", True):
        raise JaxtagError("the PyTorch twin of tweet_embedding has model.target hashtags and model.hardest true")

    class TweetEmbedding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words: Any
            self.vectors: Any
            self.register_buffer("words", torch.randn(sizes.words, sizes.vectors))
            self.register_buffer("vectors", torch.randn(sizes.named, sizes.vectors))
            self.image, self.hashtag = nn.Linear(sizes.image["vector"][0], s.width), nn.Linear(sizes.vectors, s.width)
            self.text = nn.GRU(sizes.vectors, s.width, batch_first=True)

        def forward(self, tokens: Any, lengths: Any, form: str, vector: Any, labels: Any) -> Any:
            _, last = _states(self.text, F.embedding(tokens, self.words), lengths, form)
            real = (labels >= 0).unsqueeze(2)
            mean = (F.embedding(labels.clamp_min(0), self.vectors) * real).sum(1) / real.sum(1).clamp_min(1)
            views = self.image(F.normalize(vector)), last, self.hashtag(mean)
            return tuple(F.normalize(view) for view in views)

    return TweetEmbedding()


def hinge(found: Any, labels: Any, s: Any) -> Any:
    """`jaxtag.training.objectives.hinge` of the views, hashtags against each other one."""
    import torch

    *views, hashtags = found
    ordered = labels.sort(1).values
    same = (ordered.unsqueeze(1) == ordered).all(2) if s.negatives == "others" else torch.eye(len(labels)).bool()
    total = hashtags.new_zeros(())
    for view in views:
        scores = hashtags @ view.T
        own = scores.diagonal()
        by_row = (scores - own.unsqueeze(1) + s.margin).clamp_min(0).masked_fill(same, 0)
        by_column = (scores - own + s.margin).clamp_min(0).masked_fill(same, 0)
        total = total + by_row.amax(1).sum() + by_column.amax(0).sum()
    return total / len(views) / len(labels)


MAKERS = {"tab_lstm": tab_lstm, "lstm_cnn": lstm_cnn, "tweet_embedding": tweet_embedding}
