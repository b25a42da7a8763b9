"""Bytes that a device sends in a step, predicted from the sharding rules alone: nothing is compiled.

For a parameter of B bytes on a mesh of D data x F fsdp x T tensor devices, whose gradient is summed once a step:

    not split            all-reduce of its gradient among D F devices      2 (D F − 1) / (D F) B
    split over F and T   all-gather before it is used                      (F − 1) / F B / T
                         reduce-scatter of its gradient among F            (F − 1) / F B / T
                         all-reduce of what is left among D                2 (D − 1) / D B / (F T)

Of a table whose gradient is that of the rows a batch names, B is the bytes of these rows; where it is split, they are
put together by an all-reduce. Layers split over T give activations that are put together in the forward pass and summed
in the backward one: 2 (T − 1) / T of their bytes. Parameters that the loss does not read have no gradient and are left
out. That is what a program must send; how it does is the compiler's choice: the CPU's sums a split gradient by an
all-reduce among F instead, twice the bytes of a reduce-scatter, and so does the TPU's where a shard is narrower than a
tile.
"""

from math import prod
from typing import Any

import jax
import numpy as np

from jaxtag.plan import memory
from jaxtag.plan.collectives import Collective
from jaxtag.plan.workload import Prepared
from jaxtag.training.rows import PAYS, sparse_tables
from jaxtag.training.state import keys_of

TILE = 128  # numbers that a TPU's tile is wide


def predicted(
    prepared: Prepared, scatters: bool = True, activations: int | None = None, used: list[bool] | None = None
) -> list[Collective]:
    """What devices send each other in a step: for each cause, one collective of all its bytes.

    Args:
      prepared: a step and where it lies.
      scatters: whether the compiler can sum a split gradient by a reduce-scatter.
      activations: bytes of them on a device, where they are known already.
      used: `read_by_the_loss`, where it is known already.
    """
    data, fsdp, tensor = (prepared.mesh.shape[axis] for axis in ("data", "fsdp", "tensor"))
    whole = part = left = narrow = 0.0
    used = read_by_the_loss(prepared) if used is None else used
    few, leaves = _few_rows(prepared), jax.tree_util.tree_leaves_with_path(prepared.abstract["params"])
    for (path, leaf), has in zip(leaves, used, strict=True):
        size, own = prod(leaf.shape) * leaf.dtype.itemsize, memory.leaf_bytes(leaf)
        rows = few.get(jax.tree_util.keystr(path, simple=True, separator="/"), leaf.shape[0] if leaf.shape else 1)
        if not has:
            continue
        if leaf.shape and rows < leaf.shape[0]:
            touched = size // leaf.shape[0] * rows
            whole += touched
            narrow += touched if own < size else 0
        elif own == size:
            whole += size
        else:
            left += own
            part += size / tensor
            narrow += 0 if scatters and _wide(leaf, fsdp) else size / tensor
    kept = 0.0
    if tensor > 1:
        kept = memory.estimate(prepared)["activations"] if activations is None else activations
    ids = np.arange(data * fsdp * tensor).reshape(data, fsdp, tensor)
    groups = {"batch": ids[:, :, 0], "data": ids[:, 0, 0], "fsdp": ids[0, :, 0], "tensor": ids[0, 0, :]}
    found = [
        _one("all-reduce", whole, 2, groups["batch"]),
        _one("all-gather", part, 1, groups["fsdp"]),
        _one("reduce-scatter", part - narrow, 1, groups["fsdp"]),
        _one("all-reduce", narrow, 2, groups["fsdp"]),
        _one("all-reduce", left, 2, groups["data"]),
        _one("all-reduce", kept, 2, groups["tensor"]),
    ]
    return [one for one in found if one.wire_bytes]


def _one(kind: str, size: float, ways: int, group: np.ndarray) -> Collective:
    """A collective of `size` bytes, whole, of which a device sends its share once or both ways."""
    among = group.size
    return Collective(kind, "step", 1, round(size), round(ways * (among - 1) / among * size), tuple(group.reshape(-1)))


def read_by_the_loss(prepared: Prepared) -> list[bool]:
    """Of every parameter, in the order of the tree's leaves, whether the loss depends on it."""
    state, numbers = prepared.arguments[:2]

    def loss(params: Any, collections: Any, batch: Any, numbers: Any) -> Any:
        keys = keys_of(jax.random.key(0), len(jax.tree.leaves(batch)[0]))
        return prepared.system.loss(params, collections, batch, numbers, keys)[0].sum()

    jaxpr = jax.make_jaxpr(loss)(state["params"], state["collections"], prepared.batch, numbers).jaxpr
    needed = {v for v in jaxpr.outvars if not hasattr(v, "val")}
    for equation in reversed(jaxpr.eqns):
        if needed.intersection(equation.outvars):
            needed.update(v for v in equation.invars if not hasattr(v, "val"))
    return [v in needed for v in jaxpr.invars[: len(jax.tree.leaves(state["params"]))]]


def _few_rows(prepared: Prepared) -> dict[str, int]:
    """Rows that a step moves of each table of which it moves no more than its batch names (`jaxtag.training.rows`)."""
    system, training = prepared.system, prepared.experiment.training
    sparse, found = sparse_tables(system, training), {}
    for group in system.entry.indexed:
        ids = 1 + sum(prod(prepared.batch[name].shape) for name in group.columns)
        rows = size = getattr(system.sizes, group.size)
        rows = min(rows, training.rows) if group in sparse else rows
        rows = ids if rows >= PAYS * ids else rows
        if rows < size:
            found |= dict.fromkeys(group.tables, rows)
    return found


def _wide(leaf: Any, fsdp: int) -> bool:
    """Whether the shards of a parameter fill whole tiles, so that they can be gathered and scattered as they are."""
    if fsdp == 1:
        return True
    shard = leaf.sharding.shard_shape(leaf.shape)
    return all(own == whole or own % TILE == 0 for own, whole in zip(shard, leaf.shape))
