"""PyTorch twins of the networks that read images and give hashtags without a decoder; every post has an image.

They are called as the others, with `vector` or `grid` beside tokens, which those that read no words leave alone.
"""

import math
from typing import Any

from jaxtag.errors import JaxtagError
from jaxtag.systems import Sizes


def vgg_object_scene(s: Any, sizes: Sizes) -> Any:
    """The twin of `jaxtag.models.vgg_object_scene`."""
    from torch import nn

    widths = (sizes.image["vector"][0], *s.hidden)
    layers: list[Any] = []
    for before, width in zip(widths, widths[1:]):
        layers += [nn.Linear(before, width), nn.BatchNorm1d(width, s.epsilon, 1 - s.momentum), nn.ReLU()]
    return _of_vector(nn.Sequential(*layers, nn.Linear(widths[-1], sizes.hashtags)))


def multilabel_resnet(s: Any, sizes: Sizes) -> Any:
    """The twin of `jaxtag.models.multilabel_resnet` on extracted features."""
    from torch import nn

    if s.end_to_end:
        raise JaxtagError("the PyTorch twins have no model.end_to_end", "take the recipe's own")
    return _of_vector(nn.Sequential(nn.Linear(sizes.image["vector"][0], sizes.hashtags)))


def _of_vector(layers: Any) -> Any:
    """`layers` on `vector`."""
    from torch import nn

    class OfVector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = layers

        def forward(self, tokens: Any, lengths: Any, form: str, vector: Any) -> Any:
            return self.layers(vector)

    return OfVector()


def coattention(s: Any, sizes: Sizes) -> Any:
    """The twin of `jaxtag.models.coattention`."""
    import torch
    from torch import nn

    if s.guide != "concat":
        raise JaxtagError(f"the PyTorch twins have no model.guide {s.guide}", "take the recipe's own")

    class Guided(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.own, self.guide = (nn.Linear(s.width, s.attention, bias=False) for _ in range(2))
            self.score = nn.Linear(2 * s.attention, 1)

        def forward(self, values: Any, padded: Any, guide: Any) -> Any:
            other = self.guide(guide).unsqueeze(1).expand(-1, values.shape[1], -1)
            scores = self.score(torch.cat([self.own(values), other], 2).tanh()).squeeze(2)
            if padded is not None:
                scores = scores.masked_fill(padded, -math.inf)
            return scores.softmax(1).unsqueeze(1).bmm(values).squeeze(1)

    class Coattention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.drop = nn.Embedding(sizes.words, s.embedding, padding_idx=0), nn.Dropout(s.dropout)
            self.lstm = nn.LSTM(s.embedding, s.width, batch_first=True)
            self.cells = nn.Linear(sizes.image["grid"][1], s.width, bias=False)
            self.visual, self.textual = (nn.ModuleList(Guided() for _ in range(s.layers)) for _ in range(2))
            self.head = nn.Linear(s.width, sizes.hashtags)

        def forward(self, tokens: Any, lengths: Any, form: str, grid: Any) -> Any:
            padded = tokens == 0
            # right padding: a real step never sees a padded one
            states = self.lstm(self.table(tokens))[0].masked_fill(padded.unsqueeze(2), 0)
            cells = self.cells(grid).tanh()
            text = states.sum(1) / lengths.unsqueeze(1).to(states.dtype)
            image = torch.zeros_like(text)
            for layer, (visual, textual) in enumerate(zip(self.visual, self.textual)):
                image = image + visual(cells, None, text)
                read = textual(states, padded, image)
                text = text + read if layer else read
            return self.head(self.drop(text + image))

    return Coattention()


MAKERS = {"vgg_object_scene": vgg_object_scene, "multilabel_resnet": multilabel_resnet, "coattention": coattention}
