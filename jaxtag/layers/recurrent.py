"""Recurrent cells in the published conventions, and one scan that steps over padding unchanged."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxtag.layers.packing import Packing, by_word, over_steps, pack, packing_or_none, products, unpack
from jaxtag.layers.parameters import affine, constants, glorot, zeros

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {"relu": nn.relu, "tanh": jnp.tanh, "softplus": nn.softplus}

Arrays = tuple[jax.Array, ...]
Product = Callable[[int, jax.Array], jax.Array]
# A cell is one step, `cell(state, xs, product) -> state`. `xs` `[B, n_i]` is what the inputs bring, and
# `product(i, f)` is xs[i] + f U_i with the i-th recurrent kernel, which the cell sees in no other way.
Cell = Callable[[Arrays, Arrays, Product], Arrays]


def gru_before(activation: str, state: Arrays, xs: Arrays, product: Product) -> Arrays:
    """GRU-v1: h̃ = φ(x_h + (r ⊙ h) U_h); kernels (U_zr, U_h), state (h,), xs (x_zr, x_h)."""
    (h,) = state
    z, r = jnp.split(nn.sigmoid(product(0, h)), 2, axis=1)
    return (h + z * (ACTIVATIONS[activation](product(1, r * h)) - h),)


def gru_after(activation: str, state: Arrays, xs: Arrays, product: Product) -> Arrays:
    """cuDNN's GRU: h̃ = φ(x_h + r ⊙ (c + h U_h)); kernels (U_zr, U_h), state (h,), xs (x_zr, c, x_h)."""
    (h,) = state
    z, r = jnp.split(nn.sigmoid(product(0, h)), 2, axis=1)
    return (h + z * (ACTIVATIONS[activation](xs[2] + r * product(1, h)) - h),)


def lstm(state: Arrays, xs: Arrays, product: Product) -> Arrays:
    """c' = σ(f) ⊙ c + σ(i) ⊙ tanh(g), h' = σ(o) ⊙ tanh(c'); kernels (U,), state (h, c), xs (x,), order i f o g."""
    h, c = state
    gates, g = jnp.split(product(0, h), (3 * h.shape[1],), axis=1)
    i, f, o = jnp.split(nn.sigmoid(gates), 3, axis=1)
    c = f * c + i * jnp.tanh(g)
    return o * jnp.tanh(c), c


def _fold(step: Any, start: Any, inputs: Any, reverse: bool, packed: Packing | None) -> tuple[Any, Any]:
    """`lax.scan(step, start, inputs)` over time `[T, B, …]`, or over the steps that have words among rows `[N, …]`."""
    if packed is None:
        return lax.scan(step, start, inputs, reverse=reverse)
    return over_steps(packed, step, start, inputs, reverse)


def _scan(
    cell: Cell, states: int, reverse: bool, kernels: Arrays, xs: Arrays, mask: jax.Array, packed: Packing | None
) -> tuple[Any, Any]:
    """What `masked_scan` gives, and every step's state before it and products, for the derivative."""

    def step(state: Arrays, inputs: tuple[Arrays, jax.Array]) -> tuple[Arrays, Any]:
        x, real = inputs
        made: dict[int, jax.Array] = {}

        def product(i: int, factor: jax.Array) -> jax.Array:
            made[i] = x[i] + factor @ kernels[i]
            return made[i]

        new = _select(real, cell(state, x, product), state)
        return new, (new[0], (state, made))

    posts = mask.shape[1] if packed is None else len(packed.rows)
    start = (jnp.zeros((posts, kernels[0].shape[0]), xs[0].dtype),) * states
    last, (all_, kept) = _fold(step, start, (xs, mask), reverse, packed)
    return (all_, last[0]), kept


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def masked_scan(
    cell: Cell, states: int, reverse: bool, kernels: Arrays, xs: Arrays, mask: jax.Array, packed: Packing | None = None
) -> tuple[jax.Array, jax.Array]:
    """Run `cell` over time; a padded step copies the state.

    The gradients are those of the plain scan up to the order of additions. The plain scan's derivative adds to an
    array as large as the kernels at every step, and keeps every intermediate value; here each kernel's gradient is
    one product over all steps, and a step's products and state are kept, from which the rest is made again.

    Args:
      cell: one step.
      states: arrays in its state, zeros at first.
      reverse: from the last step to the first.
      kernels: recurrent kernels `[d, n_i]`.
      xs: what the inputs bring, `[T, B, n_i]` each, time first; there may be more of them than kernels.
      mask: real steps, `[T, B, 1]` bool.
      packed: where the words are, if xs and mask are rows `[N, n_i]` and `[N, 1]`; padding is then left out.

    Returns:
      All states, `[T, B, d]` or rows `[N, d]`, of which those of padded steps are for nobody to read, and the state
      `[B, d]` after the last real step in the direction of the scan.
    """
    return _scan(cell, states, reverse, kernels, xs, mask, packed)[0]


def _forward(
    cell: Cell, states: int, reverse: bool, kernels: Arrays, xs: Arrays, mask: jax.Array, packed: Packing | None
) -> tuple[Any, Any]:
    given, kept = _scan(cell, states, reverse, kernels, xs, mask, packed)
    return given, (kernels, xs, mask, packed, kept)


def _backward(cell: Cell, states: int, reverse: bool, residuals: Any, given: Any) -> tuple[Arrays, Arrays, None, None]:
    kernels, xs, mask, packed, kept = residuals
    by_all, by_last = given
    turned = tuple(k.T for k in kernels)  # once, not at every step, whose few rows cost less than turning a kernel

    def step(by_state: Arrays, inputs: Any) -> tuple[Arrays, Any]:
        x, real, (state, made), by_output = inputs

        def again(state: Arrays, x: Arrays) -> tuple[Arrays, Any]:
            factors: dict[int, jax.Array] = {}

            def product(i: int, factor: jax.Array) -> jax.Array:
                factors[i] = factor
                return _known(made[i], x[i], factor, turned[i])

            return _select(real, cell(state, x, product), state), factors

        _, back, factors = jax.vjp(again, state, x, has_aux=True)
        by_state, by_x = back((by_state[0] + by_output, *by_state[1:]))
        return by_state, (by_x, factors)

    start = (by_last,) + (jnp.zeros_like(by_last),) * (states - 1)
    _, (by_x, factors) = _fold(step, start, (xs, mask, kept, by_all), not reverse, packed)
    # What reaches xs[i] is what reaches its product.
    by_kernels = tuple(products(factors[i], by_x[i], packed) for i in range(len(kernels)))
    return by_kernels, by_x, None, None


masked_scan.defvjp(_forward, _backward)


def _select(real: jax.Array, new: Arrays, old: Arrays) -> Arrays:
    return tuple(jnp.where(real, n, o) for n, o in zip(new, old, strict=True))


@jax.custom_vjp
def _known(product: jax.Array, x: jax.Array, factor: jax.Array, turned: jax.Array) -> jax.Array:
    """x + factor @ turned.T, which is `product`; its derivative goes to x and to the factor."""
    return product


_known.defvjp(lambda product, x, factor, turned: (product, turned), lambda turned, g: (None, g, g @ turned, None))


def _over_posts(
    cell: Cell, states: int, reverse: bool, kernels: Arrays, x: jax.Array, mask: jax.Array, inputs: Any
) -> tuple[jax.Array, jax.Array]:
    """The layer: `inputs(x, packed)` gives the scan's xs of x, rows or time first; all states `[B, T, d]`, the last."""
    packed, mask = packing_or_none(mask), mask[..., None]
    scan: Any = masked_scan  # custom_vjp's own type says nothing of what it gives
    if packed is None:
        xs, real = inputs(x.swapaxes(0, 1), None), mask.swapaxes(0, 1)
        all_, last = scan(cell, states, reverse, kernels, xs, real, None)
        return all_.swapaxes(0, 1), last
    xs, real = inputs(pack(x, packed), packed), lax.stop_gradient(pack(mask, packed))
    all_, last = scan(cell, states, reverse, kernels, xs, real, packed)
    return unpack(all_, packed), last


def _once(cell: Cell, kernels: Arrays, xs: Arrays, state: Arrays) -> Arrays:
    """The state after one step of `cell` from `state`."""
    return cell(state, xs, lambda i, factor: xs[i] + factor @ kernels[i])


class GRU(nn.Module):
    """Gated recurrent units over a sequence, right-padded.

    z = σ(W_z x + U_z h + b_z), r = σ(W_r x + U_r h + b_r), and with `reset="before"` (GRU-v1, Cho et
    al. 2014) h̃ = φ(W x + U (r ⊙ h) + b), with `reset="after"` (cuDNN, PyTorch) h̃ = φ(W x + b + r ⊙ (U h + c));
    h' = (1 − z) ⊙ h + z ⊙ h̃ (SYSTEMS 0.3). One bias per gate, and c as well with `reset="after"`.

    Attributes:
      width: d, of the state.
      activation: φ, of `ACTIVATIONS`.
      reset: where the reset gate acts.
      reverse: from the last word to the first.
    """

    width: int
    activation: str = "tanh"
    reset: str = "before"
    reverse: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None, state: Arrays = ()) -> Arrays:
        """Inputs `[B, T, e]`, mask `[B, T]` to all states `[B, T, d]` and the last real one `[B, d]`.

        A padded step copies the state; a row without any real step ends at zeros. Without a mask, one step: inputs
        `[B, e]` and the state's arrays `[B, d]` to the next state's.
        """
        w, u, b = _gates(self, "zrh", x.shape[-1], self.width)
        kernels = (jnp.concatenate(u[:2], 1), u[2])
        into = ((jnp.concatenate(w[:2], 1), jnp.concatenate(b[:2])), (w[2], b[2]))
        c = zeros(self, "c_h", self.width, "hidden") if self.reset == "after" else None

        def inputs(x: jax.Array, packed: Packing | None) -> Arrays:
            gates, new = (by_word(affine, parameters, x, packed) for parameters in into)
            return (gates, new) if c is None else (gates, jnp.broadcast_to(c, new.shape), new)

        cell = partial(gru_before if c is None else gru_after, self.activation)
        if mask is None:
            return _once(cell, kernels, inputs(x, None), state)
        return _over_posts(cell, 1, self.reverse, kernels, x, mask, inputs)


class LSTM(nn.Module):
    """Long short-term memory over a sequence, right-padded: gates i, f, o, g, no peepholes (SYSTEMS 0.3).

    Attributes:
      width: d, of the state and of the cell.
      forget_bias: what the forget gate's bias is at first.
      reverse: from the last word to the first.
    """

    width: int
    forget_bias: float = 1.0
    reverse: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None, state: Arrays = ()) -> Arrays:
        """Inputs `[B, T, e]`, mask `[B, T]` to all states `[B, T, d]` and the last real one `[B, d]`, as `GRU`.

        Without a mask, one step from the state (h, c).
        """
        w, u, b = _gates(self, "ifog", x.shape[-1], self.width, {"f": self.forget_bias})
        into = (jnp.concatenate(w, 1), jnp.concatenate(b))

        def inputs(x: jax.Array, packed: Packing | None) -> Arrays:
            return (by_word(affine, into, x, packed),)

        kernels = (jnp.concatenate(u, 1),)
        if mask is None:
            return _once(lstm, kernels, inputs(x, None), state)
        return _over_posts(lstm, 2, self.reverse, kernels, x, mask, inputs)


def _gates(
    module: nn.Module, names: str, inputs: int, width: int, start: dict[str, float] | None = None
) -> tuple[list[jax.Array], list[jax.Array], list[jax.Array]]:
    """Each gate's W `[inputs, width]`, U `[width, width]` and bias, zeros at first or what `start` says."""
    start = start or {}
    w = [glorot(module, f"w_{g}", (inputs, width), ("embed", "hidden")) for g in names]
    b = [constants(module, f"b_{g}", width, "hidden", start.get(g, 0.0)) for g in names]
    u = [glorot(module, f"u_{g}", (width, width), ("embed", "hidden")) for g in names]
    return w, u, b
