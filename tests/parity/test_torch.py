"""Against PyTorch: the same weights give the same outputs, gradients and updates."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxtag.experiment import Training
from jaxtag.layers.recurrent import GRU, LSTM
from jaxtag.layers.transformer import TransformerLayer
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
    b, c = (p.grad.numpy().reshape(3, 8) for p in (cell.bias_ih_l0, cell.bias_hh_l0))
    for name, value in {"b_r": b[0], "b_z": -b[1], "b_h": b[2], "c_h": c[2]}.items():
        np.testing.assert_allclose(gradient[name], value, atol=1e-5)


def gates_of(cell, gates: str, grad: bool = False) -> dict[str, np.ndarray]:
    """W, U and the summed biases of torch.nn.LSTM's gates, or their gradients, under our names."""
    found = {}
    for ours, theirs in (("w", "weight_ih_l0"), ("u", "weight_hh_l0")):
        weight = getattr(cell, theirs)
        stacked = (weight.grad if grad else weight.detach()).numpy().reshape(len(gates), cell.hidden_size, -1)
        found |= {f"{ours}_{g}": rows.T for g, rows in zip(gates, stacked)}
    # One bias is enough: the gradients of their two are equal.
    bias = cell.bias_ih_l0.grad if grad else (cell.bias_ih_l0 + cell.bias_hh_l0).detach()
    return found | {f"b_{g}": rows for g, rows in zip(gates, bias.numpy().reshape(len(gates), -1))}


def test_lstm_outputs_and_gradients() -> None:
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    x, lengths = rng.normal(size=(4, 9, 6)).astype(np.float32), np.array([9, 5, 1, 7])
    mask = np.arange(9) < lengths[:, None]
    pull = rng.normal(size=(4, 9, 8)).astype(np.float32) * mask[..., None]
    cell = torch.nn.LSTM(6, 8, batch_first=True)
    inputs = torch.tensor(x, requires_grad=True)
    theirs, _ = cell(inputs)
    (theirs * torch.tensor(pull)).sum().backward()

    def total(params: dict, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        states, _ = LSTM(8).apply({"params": params}, x, jnp.asarray(mask))
        return (states * pull).sum(), states

    params = gates_of(cell, "ifgo")
    (_, states), (gradient, by_input) = jax.value_and_grad(total, (0, 1), has_aux=True)(params, jnp.asarray(x))
    np.testing.assert_allclose(states * mask[..., None], theirs.detach().numpy() * mask[..., None], atol=1e-5)
    np.testing.assert_allclose(by_input, inputs.grad.numpy(), atol=1e-5)
    expected = gates_of(cell, "ifgo", grad=True)
    assert set(gradient) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(gradient[name], value, atol=1e-5, err_msg=name)


def layer_of(layer, grad: bool = False) -> dict:
    """torch.nn.TransformerEncoderLayer's parameters, or their gradients, as ours."""

    def value(p) -> np.ndarray:
        return (p.grad if grad else p.detach()).numpy()

    def dense(linear) -> dict:
        return {"kernel": value(linear.weight).T, "bias": value(linear.bias)}

    def norm(layer) -> dict:
        return {"scale": value(layer.weight), "bias": value(layer.bias)}

    attention: dict = {"output": dense(layer.self_attn.out_proj)}
    stacked = zip(np.split(value(layer.self_attn.in_proj_weight), 3), np.split(value(layer.self_attn.in_proj_bias), 3))
    for name, (weight, bias) in zip(("query", "key", "value"), stacked):
        attention |= {f"{name}_kernel": weight.T, f"{name}_bias": bias}
    return {
        "self_attention": {"attention": attention, "norm": norm(layer.norm1)},
        "feed_forward": {"wide": dense(layer.linear1), "narrow": dense(layer.linear2), "norm": norm(layer.norm2)},
    }


@pytest.mark.parametrize(("activation", "eps"), [("relu", 1e-5), ("gelu", 1e-12)])
def test_transformer_layer_outputs_and_gradients(activation: str, eps: float) -> None:
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    x, lengths = rng.normal(size=(4, 9, 16)).astype(np.float32), np.array([9, 5, 1, 7])
    mask = np.arange(9) < lengths[:, None]
    pull = rng.normal(size=(4, 9, 16)).astype(np.float32) * mask[..., None]
    layer = torch.nn.TransformerEncoderLayer(16, 4, 32, 0.0, activation, eps, batch_first=True, norm_first=False)
    for p in layer.parameters():  # theirs begin with biases of 0 and scales of 1
        torch.nn.init.normal_(p, 0.1, 0.3)
    inputs = torch.tensor(x, requires_grad=True)
    theirs = layer(inputs, src_key_padding_mask=torch.tensor(~mask))
    (theirs * torch.tensor(pull)).sum().backward()
    ours = TransformerLayer(16, 4, 32, activation, eps)

    def total(params: dict, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        states = ours.apply({"params": params}, x, jnp.asarray(mask), 0.0, None)
        return (states * pull).sum(), states

    (_, states), (gradient, by_input) = jax.value_and_grad(total, (0, 1), has_aux=True)(layer_of(layer), jnp.asarray(x))
    np.testing.assert_allclose(states * mask[..., None], theirs.detach().numpy() * mask[..., None], atol=1e-5)
    np.testing.assert_allclose(by_input, inputs.grad.numpy(), atol=1e-5)
    expected = jax.tree_util.tree_leaves_with_path(layer_of(layer, grad=True))
    for (path, value), found in zip(expected, jax.tree.leaves(gradient), strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-5, err_msg=jax.tree_util.keystr(path))


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
