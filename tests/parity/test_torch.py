"""Against PyTorch: the same weights give the same outputs, gradients and updates."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxtag.experiment import Training
from jaxtag.layers.recurrent import GRU
from jaxtag.training.objectives import pairs
from jaxtag.training.optimizers import optimizer

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install -e '.[parity]'")
pytestmark = pytest.mark.parity


def to_ours(cell) -> dict[str, np.ndarray]:
    """torch.nn.GRU's weights as ours: it stacks r, z, n, and its z keeps the old state where ours takes the new."""
    w, u, b, c = (getattr(cell, f"{n}_l0").detach().numpy() for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    ours = {}
    for i, (gate, sign) in enumerate((("r", 1), ("z", -1), ("h", 1))):
        rows = slice(i * cell.hidden_size, (i + 1) * cell.hidden_size)
        ours |= {f"w_{gate}": sign * w[rows].T, f"u_{gate}": sign * u[rows].T}
        ours |= {"b_h": b[rows], "c_h": c[rows]} if gate == "h" else {f"b_{gate}": sign * (b[rows] + c[rows])}
    return ours


def test_gru_outputs_and_gradients() -> None:
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    x, lengths = rng.normal(size=(4, 9, 6)).astype(np.float32), np.array([9, 5, 1, 7])
    mask = np.arange(9) < lengths[:, None]
    pull = rng.normal(size=(4, 9, 8)).astype(np.float32) * mask[..., None]
    cell = torch.nn.GRU(6, 8, batch_first=True)
    inputs = torch.tensor(x, requires_grad=True)
    theirs, _ = cell(inputs)  # right padding: a real step never sees a padded one
    (theirs * torch.tensor(pull)).sum().backward()
    layer, params = GRU(8, "tanh", reset="after"), to_ours(cell)

    def total(params: dict, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        states, _ = layer.apply({"params": params}, x, jnp.asarray(mask))
        return (states * pull).sum(), states

    (_, states), (gradient, by_input) = jax.value_and_grad(total, (0, 1), has_aux=True)(params, jnp.asarray(x))
    np.testing.assert_allclose(states * mask[..., None], theirs.detach().numpy() * mask[..., None], atol=1e-5)
    np.testing.assert_allclose(by_input, inputs.grad.numpy(), atol=1e-5)
    for name, weight in (("w", cell.weight_ih_l0), ("u", cell.weight_hh_l0)):
        for gate, rows, sign in zip("rzh", weight.grad.numpy().reshape(3, 8, -1), (1, -1, 1)):
            np.testing.assert_allclose(gradient[f"{name}_{gate}"], sign * rows.T, atol=1e-5)


def test_pair_loss_is_their_cross_entropy() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(6, 10)).astype(np.float32)
    labels = rng.integers(0, 10, 6)
    for smoothing in (0.0, 0.1):
        loss, weight = pairs(
            jnp.asarray(logits), jnp.asarray(labels[:, None]), jnp.ones(10, bool), jnp.float32(smoothing)
        )
        theirs = torch.nn.functional.cross_entropy(
            torch.tensor(logits), torch.tensor(labels), label_smoothing=smoothing
        )
        np.testing.assert_allclose(loss.sum() / weight.sum(), theirs.item(), rtol=1e-6)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adam_steps(decay: float) -> None:
    rng = np.random.default_rng(2)
    start, pulls = rng.normal(size=(5, 3)).astype(np.float32), rng.normal(size=(20, 5, 3)).astype(np.float32)
    theirs = torch.nn.Parameter(torch.tensor(start))
    rule = torch.optim.AdamW([theirs], lr=0.01, weight_decay=decay)
    ours = optimizer(Training(clip=2.0))
    numbers = {"learning_rate": jnp.float32(0.01), "weight_decay": jnp.float32(decay), "l2": jnp.float32(0)}
    params, state = jnp.asarray(start), ours.init(jnp.asarray(start))
    for pull in pulls:
        theirs.grad = torch.tensor(pull)
        torch.nn.utils.clip_grad_norm_([theirs], 2.0)
        rule.step()
        updates, state = ours.update(jnp.asarray(pull), state, params, numbers)
        params = optax.apply_updates(params, updates)
        np.testing.assert_allclose(params, theirs.detach().numpy(), atol=2e-6)
