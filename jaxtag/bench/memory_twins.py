"""PyTorch twins of the hmemn2n paper's networks: `nn.EmbeddingBag` for bags of words, `bmm` for attention.

Their tables' gradients are dense or, as `Theirs` asks, sparse: rows that a batch has, which PyTorch combines itself.
"""

from typing import Any

from jaxtag.errors import JaxtagError
from jaxtag.systems import Sizes

OPTIONS = ("tying", "position_encoding", "temporal", "relu", "between", "activation", "trainable")


def _check(s: Any) -> None:
    """Refuse what the twins leave out: any option of `OPTIONS` that is not the recipes' own."""
    for name in OPTIONS:
        if getattr(s, name, None) != getattr(type(s)(), name, None):
            raise JaxtagError(f"the PyTorch twins have no model.{name} {getattr(s, name)}", "take the recipe's own")


def _joined(s: Any, sizes: Sizes) -> Any:
    """What follows the hops: dropout, W_f and the head without a bias."""
    from torch import nn

    width = s.hidden or s.embedding
    head = nn.Linear(width, sizes.hashtags, bias=False)
    return nn.Sequential(nn.Dropout(s.dropout), nn.Linear(2 * s.embedding, width), head)


def hmemn2n(s: Any, sizes: Sizes) -> Any:
    """The twin of `jaxtag.models.hmemn2n`."""
    import torch
    from torch import nn

    _check(s)

    class Hmemn2n(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            width, inner = s.embedding, s.attention or s.embedding
            self.words = nn.EmbeddingBag(sizes.words, width, mode="sum", padding_idx=0)
            self.keys, self.values = (nn.Embedding(sizes.words, width, padding_idx=0) for _ in range(2))
            self.own, self.past = nn.Linear(width, inner, bias=False), nn.Linear(width, inner, bias=False)
            self.score, self.drop = nn.Linear(inner, 1, bias=False), nn.Dropout(s.dropout)
            self.joined = _joined(s, sizes)
            for table in (self.words, self.keys, self.values):
                nn.init.normal_(table.weight, std=s.scale)

        def forward(self, tokens: Any, lengths: Any, form: str, history: Any) -> Any:
            first = o = self.drop(self.words(tokens))
            keys, values, padded = self.keys(history).flatten(1, 2), self.values(history), history == 0
            none = padded.all(2)
            for _ in range(s.hops):
                scores = keys.bmm(o.unsqueeze(2)).view(padded.shape).masked_fill(padded, -1e9)
                posts = scores.softmax(2).unsqueeze(2).matmul(values).squeeze(2)  # padding's rows are zeros
                hidden = (self.own(o).unsqueeze(1) + self.past(posts)).tanh()
                among = self.score(hidden).squeeze(2).masked_fill(none, -1e9).softmax(1)
                o = o + among.unsqueeze(1).bmm(posts).squeeze(1)
            return self.joined(torch.cat([first, o], 1))

    return Hmemn2n()


def memn2n(s: Any, sizes: Sizes) -> Any:
    """The twin of `jaxtag.models.memn2n` without the original's options."""
    import torch
    from torch import nn

    _check(s)

    class Memn2n(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            tables = [nn.EmbeddingBag(sizes.words, s.embedding, mode="sum", padding_idx=0) for _ in range(3)]
            self.words, self.keys, self.values = tables
            self.drop, self.joined = nn.Dropout(s.dropout), _joined(s, sizes)
            for table in tables:
                nn.init.normal_(table.weight, std=s.scale)

        def forward(self, tokens: Any, lengths: Any, form: str, history: Any) -> Any:
            first = o = self.drop(self.words(tokens))
            flat, none = history.flatten(0, 1), (history == 0).all(2)
            keys, values = (bag(flat).view(*none.shape, -1) for bag in (self.keys, self.values))
            for _ in range(s.hops):
                among = keys.bmm(o.unsqueeze(2)).squeeze(2).masked_fill(none, -1e9).softmax(1)
                o = o + among.unsqueeze(1).bmm(values).squeeze(1)
            return self.joined(torch.cat([first, o], 1))

    return Memn2n()


def cnn_attention(s: Any, sizes: Sizes) -> Any:
    """The twin of `jaxtag.models.cnn_attention`."""
    import math

    import torch
    from torch import nn

    _check(s)

    class CnnAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            width = s.embedding
            self.table = nn.Embedding(sizes.words, width, padding_idx=0)
            self.scorer = nn.Conv1d(width, 1, s.window, padding=s.window // 2)
            self.banks = nn.ModuleList(nn.Conv1d(width, s.filters, w, padding=w // 2) for w in s.windows)
            self.local, self.all = nn.Linear(width, width), nn.Linear(len(s.windows) * s.filters, width)
            self.both, self.drop = nn.Linear(2 * width, width), nn.Dropout(s.dropout)
            self.head = nn.Linear(width, sizes.hashtags)

        def forward(self, tokens: Any, lengths: Any, form: str) -> Any:
            x, padded, long = self.table(tokens), tokens == 0, tokens.shape[1]
            turned = x.transpose(1, 2)
            score = self.scorer(turned)[:, 0, :long].tanh()
            low = score.masked_fill(padded, math.inf).amin(1, keepdim=True)
            high = score.masked_fill(padded, -math.inf).amax(1, keepdim=True)
            over = (score - torch.minimum(s.delta * low + (1 - s.delta) * high, high)).masked_fill(padded, -1)
            kept = (over >= 0).float()
            gates = {"relu": over.relu(), "hard": kept, "straight_through": kept + kept * (over - over.detach())}
            local = self.local(gates[s.gate].unsqueeze(1).bmm(x).squeeze(1)).tanh()
            maps = [bank(turned)[..., :long].masked_fill(padded.unsqueeze(1), -math.inf).amax(2) for bank in self.banks]
            both = torch.cat([self.all(torch.cat(maps, 1).tanh()), local], 1)
            return self.head(self.drop(self.both(both).tanh()))

    return CnnAttention()


MAKERS = {"hmemn2n": hmemn2n, "memn2n": memn2n, "cnn_attention": cnn_attention}
