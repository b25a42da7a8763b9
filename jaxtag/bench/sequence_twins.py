"""PyTorch twins of networks that say one hashtag after the other: `nn.LSTM`, `nn.GRU` and `nn.LSTMCell`.

They are given labels `[B, H]`, −1 padded, and return logits `[B, S, L]` of each step, one more where there is an end
token, and show_attend_tell a penalty `[B]` beside them. As in the other twins `nn.GRU` resets after the product with U,
and its z is our 1 − z. Every post is taken to have an image.
"""

from typing import Any

from jaxtag.errors import JaxtagError
from jaxtag.systems import Sizes

OPTIONS = ("compat", "image_steps", "trainable", "text_recurrent", "attention")


def _check(s: Any) -> None:
    """Refuse what the twins leave out: any option of `OPTIONS` that is not the recipes' own."""
    for name in OPTIONS:
        if getattr(s, name, None) != getattr(type(s)(), name, None):
            raise JaxtagError(f"the PyTorch twins have no model.{name} {getattr(s, name)}", "take the recipe's own")


def loss(found: Any, labels: Any, hashtags: int, smoothing: float) -> Any:
    """−Σ_t log p(H_t | …), and the penalty, on average over the posts of `labels [B, H]` that have a hashtag."""
    import torch
    from torch.nn import functional as F

    logits, penalty = found if isinstance(found, tuple) else (found, None)
    steps, end = logits.shape[1], logits.shape[2] > hashtags
    wanted = labels[:, : steps - end]
    wanted = F.pad(wanted, (0, steps - wanted.shape[1]), value=-1)
    real = (labels >= 0).any(1)
    if end:
        count = (labels >= 0).sum(1, keepdim=True)
        wanted = torch.where((torch.arange(steps) == count) & real.unsqueeze(1), hashtags, wanted)
    total = F.cross_entropy(
        logits.flatten(0, 1), wanted.flatten(), ignore_index=-1, reduction="sum", label_smoothing=smoothing
    )
    if penalty is not None:
        total = total + (penalty * real).sum()
    return total / real.sum()


def _told(labels: Any, s: Any) -> Any:
    """The hashtags that steps 1, 2, … are told, 0 where there is none."""
    steps = min(labels.shape[1], s.most)
    return labels[:, : steps if s.end else steps - 1].clamp_min(0)


def amnn(s: Any, sizes: Sizes) -> Any:
    """The twin of `jaxtag.models.amnn`, of both modalities or of one."""
    import torch
    from torch import nn
    from torch.nn.utils import rnn

    _check(s)

    class Amnn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            if s.modality != "image":
                self.words = nn.Embedding(sizes.words, s.embedding, padding_idx=0)
                self.text = nn.LSTM(s.embedding, s.width // 2, batch_first=True, bidirectional=True)
                self.word_score = nn.Linear(s.width, 1)
            if s.modality != "text":
                self.image = nn.LSTM(sizes.image["grid"][1], s.width, batch_first=True)
                self.hidden, self.cell_score = nn.Linear(s.width, s.width), nn.Linear(s.width, 1, bias=False)
            self.merged = nn.Linear(s.width * (1 + (s.modality == "both")), s.hashtag_embedding)
            self.table, self.drop = nn.Embedding(sizes.hashtags, s.hashtag_embedding), nn.Dropout(s.dropout)
            self.gru = nn.GRU(s.hashtag_embedding, s.width, batch_first=True)
            self.head = nn.Linear(s.width, sizes.hashtags + s.end)

        def _text(self, tokens: Any, lengths: Any, form: str) -> Any:
            x, real = self.words(tokens), tokens != 0
            if form != "packed":  # the backward direction starts at the last word only where packed
                states = self.text(x)[0]
            else:
                packed = rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
                states = rnn.pad_packed_sequence(self.text(packed)[0], batch_first=True, total_length=x.shape[1])[0]
            scores = self.word_score(states).squeeze(2).tanh().masked_fill(~real, -1e9)
            return (scores.softmax(1) * real).unsqueeze(1).bmm(states).squeeze(1)

        def _image(self, grid: Any) -> Any:
            states = self.image(grid)[0]
            scores = self.cell_score(self.hidden(states).tanh()).squeeze(2)
            return scores.softmax(1).unsqueeze(1).bmm(states).squeeze(1)

        def forward(self, tokens: Any, lengths: Any, form: str, labels: Any, grid: Any = None) -> Any:
            found = [self._image(grid)] if s.modality != "text" else []
            found += [self._text(tokens, lengths, form)] if s.modality != "image" else []
            told = self.drop(self.table(_told(labels, s)))
            return self.head(self.gru(torch.cat([self.merged(torch.cat(found, 1)).unsqueeze(1), told], 1))[0])

    return Amnn()


def nic(s: Any, sizes: Sizes) -> Any:
    """The twin of `jaxtag.models.nic`."""
    import torch
    from torch import nn
    from torch.nn.utils import rnn

    class Nic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.image = nn.Linear(sizes.image["vector"][0], s.hashtag_embedding)
            self.start = nn.Parameter(torch.randn(1, s.hashtag_embedding) / s.hashtag_embedding)
            self.table, self.drop = nn.Embedding(sizes.hashtags, s.hashtag_embedding), nn.Dropout(s.dropout)
            self.lstm = nn.LSTM(s.hashtag_embedding, s.width, batch_first=True)
            self.head = nn.Linear(s.width, sizes.hashtags + s.end)

        def forward(self, tokens: Any, lengths: Any, form: str, labels: Any, vector: Any) -> Any:
            first = self.start + self.drop(self.image(vector))
            told = self.drop(self.table(_told(labels, s)))
            x = torch.cat([first.unsqueeze(1), told], 1)
            if form != "packed":
                return self.head(self.lstm(x)[0])
            steps = ((labels >= 0).sum(1) + s.end).clamp(1, x.shape[1]).cpu()
            packed = self.lstm(rnn.pack_padded_sequence(x, steps, batch_first=True, enforce_sorted=False))[0]
            return self.head(rnn.pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])[0])

    return Nic()


def show_attend_tell(s: Any, sizes: Sizes) -> Any:
    """The twin of `jaxtag.models.show_attend_tell`."""
    import torch
    from torch import nn

    _check(s)
    wide, both = sizes.image["grid"][1], sizes.image["grid"][1] + s.hashtag_embedding

    class ShowAttendTell(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop, self.less = nn.Dropout(s.dropout), nn.Dropout(s.dropout * s.recurrent_share)
            first = lambda: (nn.Linear(wide, s.width), nn.Linear(s.width, s.width))  # noqa: E731
            (self.state_in, self.state), (self.memory_in, self.memory) = first(), first()
            self.cells, self.query = nn.Linear(wide, s.attention_width), nn.Linear(s.width, s.attention_width)
            self.score = nn.Linear(s.attention_width, 1, bias=False)
            self.lstm = nn.LSTMCell(both, s.width)
            self.start = nn.Parameter(torch.randn(1, s.hashtag_embedding) / s.hashtag_embedding)
            self.table = nn.Embedding(sizes.hashtags, s.hashtag_embedding)
            self.output, self.head = nn.Linear(s.width + both, s.output), nn.Linear(s.output, sizes.hashtags + s.end)

        def forward(self, tokens: Any, lengths: Any, form: str, labels: Any, grid: Any) -> Any:
            mean = grid.mean(1)
            h = self.state(self.drop(self.state_in(self.drop(mean)).tanh()))
            c = self.memory(self.drop(self.memory_in(self.drop(mean)).tanh()))
            told = torch.cat([self.start.expand(len(grid), -1).unsqueeze(1), self.table(_told(labels, s))], 1)
            own, found, looked = self.cells(grid).tanh(), [], []
            for y in told.unbind(1):
                hidden = self.drop(own + self.query(h).tanh().unsqueeze(1))
                weights = self.score(hidden).squeeze(2).softmax(1)
                z = weights.unsqueeze(1).bmm(grid).squeeze(1)
                new, c = self.lstm(self.less(torch.cat([z, y], 1)), (h, c))
                h = self.less(new)
                found.append(torch.cat([self.less(new), z, y], 1))
                looked.append(weights)
            logits = self.head(self.drop(self.output(self.drop(torch.stack(found, 1))).tanh()))
            count, place = (labels >= 0).sum(1, keepdim=True), torch.arange(told.shape[1])
            real = place < count.clamp_max(told.shape[1] - s.end)
            real = real | ((place == count) & (count > 0)) if s.end else real
            total = (torch.stack(looked, 1) * real.unsqueeze(2)).sum(1)
            return logits, s.penalty / 2 * ((1 - total) ** 2).mean(1)

    return ShowAttendTell()


MAKERS = {"amnn": amnn, "nic": nic, "show_attend_tell": show_attend_tell}
