"""Recurrent cells in the published conventions, and a scan that steps over padding unchanged."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxtag.layers.parameters import glorot, zeros

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {"relu": nn.relu, "tanh": jnp.tanh, "softplus": nn.softplus}


class GRU(nn.Module):
    """Gated recurrent units over a sequence, right-padded.

    z = σ(W_z x + U_z h + b_z), r = σ(W_r x + U_r h + b_r), and with `reset="before"` (GRU-v1, Cho et
    al. 2014) h̃ = φ(W x + U (r ⊙ h) + b), with `reset="after"` (cuDNN, PyTorch) h̃ = φ(W x + b + r ⊙ (U h + c));
    h' = (1 − z) ⊙ h + z ⊙ h̃ (SYSTEMS 0.3). One bias per gate, and c as well with `reset="after"`.

    Attributes:
      width: d, of the state.
      activation: φ.
      reset: where the reset gate acts.
    """

    width: int
    activation: str = "tanh"
    reset: str = "before"

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Inputs `[B, T, e]`, mask `[B, T]` to all states `[B, T, d]` and the last real one `[B, d]`.

        A padded step copies the state; a row without any real step ends at zeros.
        """
        d = self.width

        def kernel(name: str, rows: int) -> jax.Array:
            return glorot(self, name, (rows, d), ("embed", "hidden"))

        w = jnp.concatenate([kernel(f"w_{gate}", x.shape[-1]) for gate in "zrh"], 1)
        b = jnp.concatenate([zeros(self, f"b_{gate}", d, "hidden") for gate in "zrh"])
        u_gates = jnp.concatenate([kernel("u_z", d), kernel("u_r", d)], 1)
        u = kernel("u_h", d)
        c = zeros(self, "c_h", d, "hidden") if self.reset == "after" else None
        phi = ACTIVATIONS[self.activation]

        def step(h: jax.Array, inputs: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            xt, real = inputs
            z, r = jnp.split(nn.sigmoid(xt[:, : 2 * d] + h @ u_gates), 2, axis=1)
            inner = (r * h) @ u if c is None else r * (h @ u + c)
            new = h + z * (phi(xt[:, 2 * d :] + inner) - h)
            h = jnp.where(real[:, None], new, h)
            return h, h

        start = jnp.zeros((x.shape[0], d), x.dtype)
        last, states = lax.scan(step, start, ((x @ w + b).swapaxes(0, 1), mask.T))
        return states.swapaxes(0, 1), last
