"""amnn/multilabel_resnet: what ResNet-50 sees in an image, to a probability for each hashtag (SYSTEMS 2.6).

On pooled features that were extracted before, which is a linear layer on `vector`; or `end_to_end`, the network itself
learning too, from decoded images (`pixels`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtag.layers.embedding import SoftmaxHead
from jaxtag.models.resnet import DEPTHS, WIDTH, ResNet

NETWORK = "resnet"  # the parameters, and statistics, of the network that learns too


@dataclass(frozen=True)
class Settings:
    """What is learned.

    Attributes:
      end_to_end: whether ResNet-50 learns too, from decoded images.
      weights: that it then starts from: `imagenet`, `none` (random ones), or a file of Keras' weights.
      depths: bottlenecks in each stage of the network that learns too; other numbers are another network.
      width: channels of its first stage; its pooled features are 2^(stages + 1) times as many.
    """

    end_to_end: bool = False
    weights: str = "imagenet"
    depths: tuple[int, ...] = DEPTHS
    width: int = WIDTH

    @property
    def columns(self) -> tuple[str, ...]:
        """What is read of a post."""
        return ("pixels",) if self.end_to_end else ("vector",)


class Model(nn.Module):
    """An image to scores over hashtags; `features` is the pooled grid of ResNet-50.

    `image` has the shapes of a post's image columns. A post without an image has zeros there: it is ranked by the
    head's bias, how much each hashtag is used.
    """

    settings: Settings
    words: int
    hashtags: int
    image: Mapping[str, tuple[int, ...]]

    def setup(self) -> None:
        """Declare the layers."""
        s = self.settings
        if s.end_to_end:
            self.resnet = ResNet(s.depths, s.width)
        width = s.width << (len(s.depths) + 1) if s.end_to_end else self.image["vector"][0]
        self.head = SoftmaxHead(self.hashtags, width)

    def features(self, batch: dict[str, jax.Array], rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """vector `[B, D]`, or pixels `[B, S, S, 3]`, and cells `[B]` to `[B, D]`."""
        seen = batch["cells"][:, None] > 0
        pooled = self.resnet(batch["pixels"]).mean(axis=(1, 2)) if self.settings.end_to_end else batch["vector"]
        return jnp.where(seen, pooled, 0)

    def __call__(self, batch: dict[str, jax.Array], rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """The same to logits `[B, hashtags]`."""
        return self.head(self.features(batch, rate, keys))
