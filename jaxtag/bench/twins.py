"""PyTorch twins: for each system, the network that someone good at PyTorch would write for it.

The same layers at the same sizes, the same dropout and the same loss, in the forms that PyTorch has fast kernels for:
`nn.GRU`, `nn.Conv1d`, `nn.TransformerEncoderLayer` with its fused attention. Two conventions differ and cost the same:
`nn.GRU` resets after the product with U where the papers reset before, and has tanh for its candidate where the zsl
paper has relu. PyTorch's recurrent layers also have a second bias per gate, which `extra_parameters` counts.
"""

import math
from typing import Any

from jaxtag.bench import baseline_twins, lxmert_twin, memory_twins, multilabel_twins, sequence_twins
from jaxtag.errors import JaxtagError, nearest
from jaxtag.experiment import Experiment
from jaxtag.systems import Sizes

LENGTHS = {  # how a network may be given posts of different lengths; the fastest is kept
    "ann": ("padded", "trimmed"),
    "cnn": ("padded", "trimmed"),
    "rnn": ("padded", "trimmed", "packed"),
    "rnn_attention": ("padded", "trimmed", "packed"),
    "transformer": ("padded", "trimmed"),
    "hmemn2n": ("padded", "trimmed"),
    "memn2n": ("padded", "trimmed"),
    "cnn_attention": ("padded", "trimmed"),
    "vgg_object_scene": ("padded",),
    "multilabel_resnet": ("padded",),
    "coattention": ("padded", "trimmed"),
    "lxmert": ("padded", "trimmed"),
    "amnn": ("packed",),
    "nic": ("padded", "packed"),
    "show_attend_tell": ("padded",),
    "tab_lstm": ("padded", "trimmed", "packed"),
    "lstm_cnn": ("padded", "trimmed", "packed"),
    "tweet_embedding": ("padded", "trimmed", "packed"),
}


def build(experiment: Experiment, sizes: Sizes) -> Any:
    """The twin of the experiment's system, an `nn.Module` from (tokens, lengths on the host, form) to logits.

    One that reads history is given `history` too, one that reads images `vector` or `grid`, one that reads topics
    `topics`, and one that says hashtags as a sequence, or compares them, `labels`; of such ones see `sequence_twins`
    and `baseline_twins`.

    Raises:
      JaxtagError: the system has none.
    """
    makers = {"ann": _ann, "cnn": _cnn, "rnn": _rnn, "rnn_attention": _rnn_attention, "transformer": _transformer}
    makers |= (
        baseline_twins.MAKERS
        | lxmert_twin.MAKERS
        | memory_twins.MAKERS
        | multilabel_twins.MAKERS
        | sequence_twins.MAKERS
    )
    if experiment.system not in makers:
        raise JaxtagError(f"system {experiment.system} has no PyTorch twin", nearest(experiment.system, makers))
    if getattr(experiment.model, "pool", "mean") not in ("mean", "max"):
        raise JaxtagError(f"the PyTorch twins have no model.pool {experiment.model.pool}", "take the recipe's own")
    return makers[experiment.system](experiment.model, sizes)


def extra_parameters(network: Any, experiment: Experiment | None = None) -> int:
    """How many numbers the twin has more than ours for the same function: second biases of recurrent layers.

    A GRU of ours that resets after the product has the candidate's second bias too.
    """
    from torch import nn

    after = experiment is not None and experiment.system == "tweet_embedding"
    gates, found = {nn.GRU: 3 - after, nn.LSTM: 4, nn.LSTMCell: 4}, 0
    for m in network.modules():
        if isinstance(m, nn.GRU | nn.LSTM):
            found += gates[type(m)] * m.hidden_size * m.num_layers * (1 + m.bidirectional)
        elif isinstance(m, nn.LSTMCell):
            found += gates[type(m)] * m.hidden_size
    return found


def _table(s: Any, sizes: Sizes) -> Any:
    from torch import nn

    table = nn.Embedding(sizes.words, s.embedding, padding_idx=0)
    table.weight.requires_grad_(s.trainable)
    return table


def _pool(x: Any, real: Any) -> Any:
    """The mean over real places: x `[B, T, d]`, real `[B, T]` bool."""
    weight = real.unsqueeze(1).to(x.dtype)
    return weight.bmm(x).squeeze(1) / weight.sum(2).clamp_min(1)


def _ann(s: Any, sizes: Sizes) -> Any:
    from torch import nn

    class Ann(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.drop = _table(s, sizes), nn.Dropout(s.dropout)
            self.hidden, self.head = nn.Linear(s.embedding, s.hidden), nn.Linear(s.hidden, sizes.hashtags)

        def forward(self, tokens: Any, lengths: Any, form: str) -> Any:
            pooled = _pool(self.table(tokens), tokens != 0)
            return self.head(self.drop(self.hidden(pooled).tanh()))

    return Ann()


def _cnn(s: Any, sizes: Sizes) -> Any:
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Cnn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.drop = _table(s, sizes), nn.Dropout(s.dropout)
            self.banks = nn.ModuleList(nn.Conv1d(s.embedding, s.filters, w, padding=w // 2) for w in s.windows)
            widths = (len(s.windows) * s.filters, *s.hidden)
            self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))
            self.head = nn.Linear(s.hidden[-1], sizes.hashtags)

        def forward(self, tokens: Any, lengths: Any, form: str) -> Any:
            x, padded = self.table(tokens).transpose(1, 2), (tokens == 0).unsqueeze(1)
            # every activation rises: the maximum may be taken before it, so that fewer numbers go through it
            maps = [bank(x).masked_fill(padded, -math.inf).amax(2) for bank in self.banks]
            x = {"softplus": F.softplus, "relu": F.relu, "tanh": torch.tanh}[s.activation](torch.cat(maps, 1))
            for layer in self.layers:
                x = self.drop(F.relu(layer(x)))
            return self.head(x)

    return Cnn()


def _states(gru: Any, x: Any, lengths: Any, form: str) -> tuple[Any, Any]:
    """All states `[B, T, d]`, zeros where padded, and the last real one `[B, d]`."""
    import torch
    from torch.nn.utils import rnn

    if form == "packed":
        packed, last = gru(rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
        return rnn.pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])[0], last[-1]
    states = gru(x)[0]  # right padding: a real step never sees a padded one
    return states, states[torch.arange(len(x)), lengths - 1]


def _rnn(s: Any, sizes: Sizes) -> Any:
    from torch import nn

    class Rnn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.drop = _table(s, sizes), nn.Dropout(s.dropout)
            self.gru = nn.GRU(s.embedding, s.width, num_layers=2, batch_first=True)
            self.head = nn.Linear(s.width, sizes.hashtags)

        def forward(self, tokens: Any, lengths: Any, form: str) -> Any:
            return self.head(self.drop(_states(self.gru, self.drop(self.table(tokens)), lengths, form)[1]))

    return Rnn()


def _rnn_attention(s: Any, sizes: Sizes) -> Any:
    from torch import nn

    class RnnAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.drop = _table(s, sizes), nn.Dropout(s.dropout)
            self.gru = nn.GRU(s.embedding, s.width, batch_first=True)
            self.hidden, self.score = nn.Linear(s.width, s.width), nn.Linear(s.width, 1, bias=False)
            self.head = nn.Linear(s.width, sizes.hashtags)

        def forward(self, tokens: Any, lengths: Any, form: str) -> Any:
            states, _ = _states(self.gru, self.drop(self.table(tokens)), lengths, form)
            scores = self.score(self.hidden(states).tanh()).squeeze(2).masked_fill(tokens == 0, -math.inf)
            weights = scores.softmax(1) if s.attention == "softmax" else scores.sigmoid()
            return self.head(self.drop(weights.unsqueeze(1).bmm(states).squeeze(1)))

    return RnnAttention()


def _transformer(s: Any, sizes: Sizes) -> Any:
    import torch
    from torch import nn

    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.drop = _table(s, sizes), nn.Dropout(s.dropout)
            self.project = nn.Linear(s.embedding, s.width)
            layer: Any = nn.TransformerEncoderLayer(s.width, s.heads, s.inner, s.dropout, batch_first=True)
            layer.self_attn.dropout, layer.dropout = 0.0, nn.Identity()  # on what sub-layers give, as ours, alone
            self.encoder = nn.TransformerEncoder(layer, s.layers, enable_nested_tensor=False)
            self.head = nn.Linear(s.width, sizes.hashtags)
            place, pair = torch.arange(4096)[:, None], torch.arange(0, s.width, 2)
            angle = place / 10_000 ** (pair / s.width)
            waves = torch.stack([angle.sin(), angle.cos()], 2).flatten(1)
            self.waves = waves

        def forward(self, tokens: Any, lengths: Any, form: str) -> Any:
            x = self.project(self.table(tokens)) * math.sqrt(s.width)
            padded = tokens == 0
            x = self.encoder(self.drop(x + self.waves[: x.shape[1]]), src_key_padding_mask=padded)
            return self.head(_pool(x, ~padded))

    return Transformer()
