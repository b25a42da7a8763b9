"""The topical translation model of hashtags (SYSTEMS 4.6), learned by collapsed Gibbs sampling.

A post d is of one topic z_d. Each of its words n is of that topic, y_dn = 1, or of the background, and each of its
hashtags m translates one of its topical words, a_dm, or any where none is topical:

    π ~ Beta(δ, δ)   θ ~ Dir(α)   φ^B, φ^k ~ Dir(β)   η_{k, w} ~ Dir(γ), over hashtags
    z_d ~ θ   y_dn ~ π   w_dn ~ φ^B or φ^{z_d}   a_dm ~ uniform over the topical words   h_dm ~ η_{z_d, w_{d, a_dm}}

π, θ, φ and η are summed out. A sweep draws z_d, then every y_dn, then every a_dm of each post given all else: with one
post a block this is Gibbs sampling exactly. A block of several draws its posts side by side, each as if the others were
as the sweep found them; their counts move once the block is done. A y_dn has, beside what the words say, the uniform
draws of the alignments: (1/topical words)^hashtags, and 0 where an alignment would point to a word that is not topical.

With `translation` topic_only hashtags are drawn from their post's topic, η_k, and no word is aligned.

Counts are of words by topic, and of observed (word, hashtag) pairs by topic (`jaxtag.estimators.pairs`); K topics cost
4 K bytes a pair. What ranks is their sum over the sweeps after `burn_in`; until then, those of the newest sweep.
"""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxtag.data.posts import FIRST_WORD
from jaxtag.errors import JaxtagError
from jaxtag.estimators import pairs

COUNTED = ("topics", "background", "topical", "pairs", "aligned")


@dataclass(frozen=True)
class Settings:
    """The model's settings.

    Attributes:
      topics: K.
      alpha, beta, gamma, delta: α of topics, β of words, γ of hashtags, δ of the switch between topic and background.
      translation: of hashtags, from a `word` and the topic, or from the topic alone (`topic_only`).
      interpolation: λ: P(h | w, k) has this weight, and P(h | w) of all topics the rest.
      smoothing: γ where hashtags are ranked; 0 is the one that is sampled with. γ of 0.1 is as good as 13 uses over 128
        hashtags, and a word has few: 0.001 ranked real posts better.
      burn_in: sweeps before those that are averaged.
    """

    topics: int = 50
    alpha: float = 0.1
    beta: float = 0.01
    gamma: float = 0.1
    delta: float = 0.01
    translation: Literal["word", "topic_only"] = "word"
    interpolation: float = 0.8
    smoothing: float = 0.0
    burn_in: int = 250

    @property
    def ranking_gamma(self) -> float:
        """γ where hashtags are ranked."""
        return self.smoothing or self.gamma

    @property
    def by_word(self) -> bool:
        """Whether hashtags translate words."""
        return self.translation == "word"


def check(settings: Settings, columns: tuple[str, ...]) -> None:
    """Refuse settings that are not possible.

    Raises:
      JaxtagError: saying which.
    """
    for name in ("topics", "alpha", "beta", "gamma", "delta"):
        if not 0 < getattr(settings, name) < float("inf"):
            raise JaxtagError(f"model.{name} is {getattr(settings, name):g}; it must be above 0")
    if not 0 <= settings.interpolation <= 1:
        raise JaxtagError(f"model.interpolation is {settings.interpolation:g}; it must be from 0 to 1")
    for name in ("burn_in", "smoothing"):
        if not 0 <= getattr(settings, name) < float("inf"):
            raise JaxtagError(f"model.{name} is {getattr(settings, name):g}; it must be 0 or more")


def scores(settings: Settings, params: Any, collections: Any, batch: dict[str, jax.Array]) -> jax.Array:
    """log P(h | words) `[B, L]` float32, of every hashtag; without a known word, its share of training uses.

        P(k | w) ∝ θ_k Π_n [π_1 φ^k_{w_n} + π_0 φ^B_{w_n}]      r_kn = P(y_n = 1 | k, w_n) / Σ_n'
        P(h | w) = Σ_k P(k | w) Σ_n r_kn [λ P(h | w_n, k) + (1 − λ) P(h | w_n)]

    Args:
      settings: as it was learned.
      params: sums of counts, and `samples`, over how many sweeps.
      collections: `constants`: the table of pairs, and `uses [L]` of hashtags.
      batch: `tokens [B, T]`.
    """
    s, constants, tokens = settings, collections["constants"], batch["tokens"]
    counts = {name: params[name] for name in COUNTED if name != "pairs"}
    counts = {name: count / params["samples"] for name, count in counts.items()}
    known, uses = tokens >= FIRST_WORD, constants["uses"].astype(jnp.float32)
    words = jnp.where(known, tokens, 0)
    own, shared = _emissions(s, counts, words)
    mixed = own + shared[..., None]
    log_topic = jnp.log(counts["topics"] + s.alpha) + jnp.where(known[..., None], jnp.log(mixed), 0).sum(1)
    topic = jax.nn.softmax(log_topic, axis=-1)
    if s.by_word:
        weight = jnp.where(known[..., None], own / mixed, 0)
        weight = topic[:, None] * weight / jnp.maximum(weight.sum(1, keepdims=True), 1e-30)
        found = _translated(s, params, counts, constants, words, weight)
    else:
        table = params["pairs"].T / params["samples"]  # [K, L]
        smooth = lambda x: (x + s.ranking_gamma) / (x.sum(-1, keepdims=True) + len(uses) * s.ranking_gamma)  # noqa: E731
        table = s.interpolation * smooth(table) + (1 - s.interpolation) * smooth(table.sum(0, keepdims=True))
        found = topic @ table
    return jnp.log(
        jnp.where(known.any(1, keepdims=True), found, (uses + s.ranking_gamma) / (uses + s.ranking_gamma).sum())
    )


def _emissions(s: Settings, counts: Any, words: jax.Array) -> tuple[jax.Array, jax.Array]:
    """π_1 φ^k of each word `[B, T, K]`, and π_0 φ^B `[B, T]`."""
    smoothing = s.beta * (len(counts["background"]) - FIRST_WORD)
    totals, rest = counts["topical"].sum(0), counts["background"].sum()
    share = (totals.sum() + s.delta) / (totals.sum() + rest + 2 * s.delta)
    own = share * (counts["topical"][words] + s.beta) / (totals + smoothing)
    return own, (1 - share) * (counts["background"][words] + s.beta) / (rest + smoothing)


def _translated(
    s: Settings, params: Any, counts: Any, constants: Any, words: jax.Array, weight: jax.Array
) -> jax.Array:
    """Σ_n Σ_k weight[n, k] [λ P(h | w_n, k) + (1 − λ) P(h | w_n)], `[B, L]`, of `weight [B, T, K]`."""
    aligned, known = counts["aligned"][words], len(constants["uses"])
    of_topic = s.interpolation * weight / (aligned + known * s.ranking_gamma)
    of_word = (1 - s.interpolation) * weight.sum(-1) / (aligned.sum(-1) + known * s.ranking_gamma)
    weight = of_topic + of_word[..., None]
    smoothing = s.ranking_gamma * (of_topic.sum((1, 2)) + of_word.sum(1))
    table = constants["offsets"], constants["hashtags"], params["pairs"]
    return smoothing[:, None] + pairs.scores(words, weight / params["samples"], *table, known)
