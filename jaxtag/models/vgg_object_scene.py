"""amnn/vgg_object_scene: what two VGG-16 see in an image, objects and the scene, to a probability for each hashtag.

Two hidden layers with batch normalisation over `vector`, 4096 numbers by VGG-16 trained on ImageNet (fc2) beside 4096
by VGG-16 trained on Places-205 (SYSTEMS 2.6).
"""

from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtag.layers.embedding import SoftmaxHead
from jaxtag.layers.normalization import BatchNorm
from jaxtag.layers.parameters import Dense


@dataclass(frozen=True)
class Settings:
    """Sizes of the network.

    Attributes:
      hidden: widths of the hidden layers, each normalised over the batch and then rectified.
      momentum: of the running statistics by which posts are normalised when not training.
      epsilon: added to a variance.
    """

    hidden: tuple[int, ...] = (4096, 4096)
    momentum: float = 0.99
    epsilon: float = 1e-3


class Model(nn.Module):
    """An image's features to scores over hashtags; `features` is the last hidden layer.

    A post without an image has zeros there: it is ranked by the head's bias, how much each hashtag is used, and has no
    part in the statistics.
    """

    settings: Settings
    words: int
    hashtags: int

    def setup(self) -> None:
        """Declare the layers."""
        s = self.settings
        self.layers = [Dense(width) for width in s.hidden]
        self.norms = [BatchNorm(s.momentum, s.epsilon) for _ in s.hidden]
        self.head = SoftmaxHead(self.hashtags, s.hidden[-1])

    def features(self, batch: dict[str, jax.Array], rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """vector `[B, D]` and cells `[B]` to `[B, hidden]`; keys `[B]` mean training, by the batch's statistics."""
        seen = batch["cells"] > 0
        x = jnp.where(seen[:, None], batch["vector"], 0)
        for layer, norm in zip(self.layers, self.norms):
            x = nn.relu(norm(layer(x), seen, keys is not None))
        return jnp.where(seen[:, None], x, 0)

    def __call__(self, batch: dict[str, jax.Array], rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """vector `[B, D]` to logits `[B, hashtags]`."""
        return self.head(self.features(batch, rate, keys))
