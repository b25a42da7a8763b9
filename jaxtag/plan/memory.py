"""Bytes on a device: estimated from shapes and shardings without compiling, and as compiling reports them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxtag.parallel.mesh import BATCH
from jaxtag.plan.workload import Prepared
from jaxtag.training.gradients import in_bfloat16
from jaxtag.training.state import keys_of


def leaf_bytes(leaf: Any) -> int:
    """Bytes that an abstract array has on one device; without a sharding, all of them."""
    shape = leaf.sharding.shard_shape(leaf.shape) if getattr(leaf, "sharding", None) else leaf.shape
    return int(np.prod(shape)) * np.dtype(leaf.dtype).itemsize


def tree_bytes(tree: Any) -> int:
    """The same of all leaves; what is counted as one number, such as keys, is left out."""
    return sum(leaf_bytes(x) for x in jax.tree.leaves(tree) if _is_plain(x.dtype))


def estimate(prepared: Prepared) -> dict[str, int]:
    """Bytes on one device, from shapes alone.

    Returns:
      `parameters` and `optimizer` (its slots, and the step); `gradients`, as large as the parameters; `columns`,
      what a dispatch is fed: resident columns or its batches, and the numbers of the run; `activations`, what the
      backward pass needs of the forward one; and `total`. What splits the layers' outputs over the mesh is left
      out of `activations`, and so is what the compiler computes again or in place: both make it less.
    """
    abstract = prepared.abstract
    parameters = tree_bytes(abstract["params"])
    _, numbers, feed, _ = prepared.arguments
    found = {
        "parameters": parameters,
        "optimizer": tree_bytes(abstract["opt_state"]) + tree_bytes(abstract["collections"]),
        "gradients": parameters,
        "columns": _feed_bytes(prepared, feed) + tree_bytes(_read(prepared, numbers)),
        "activations": _activations(prepared),
    }
    return found | {"total": sum(found.values())}


def compiled(program: Any) -> dict[str, int]:
    """Bytes on one device, as the compiler laid them out.

    Returns:
      `arguments`, `outputs`, of which `aliased` are the arguments' own, `temporaries`, `peak`, as the compiler has it,
      and `total`: arguments, temporaries and what of the outputs is new. Empty where the compiler does not say.
    """
    found = program.memory_analysis() if program is not None else None
    if found is None:
        return {}
    sizes = {
        "arguments": int(found.argument_size_in_bytes),
        "temporaries": int(found.temp_size_in_bytes),
        "outputs": int(found.output_size_in_bytes),
        "aliased": int(found.alias_size_in_bytes),
        "peak": int(found.peak_memory_in_bytes),
    }
    return sizes | {"total": sizes["arguments"] + sizes["temporaries"] + sizes["outputs"] - sizes["aliased"]}


def _is_plain(dtype: Any) -> bool:
    """Whether numbers or truth values, and not random keys, whose size is the implementation's."""
    return jnp.issubdtype(dtype, jnp.number) or jnp.issubdtype(dtype, jnp.bool_)


def _feed_bytes(prepared: Prepared, feed: Any) -> int:
    whole = tree_bytes(feed)
    return whole if prepared.placement == "resident" else whole // _parts(prepared)


def _read(prepared: Prepared, numbers: Any) -> Any:
    """The numbers that the program reads: which posts come when is the host's business where it sends them."""
    unread = () if prepared.placement == "resident" else ("rows", "order")
    return {name: value for name, value in numbers.items() if name not in unread}


def _parts(prepared: Prepared) -> int:
    """Parts that a batch is spread in."""
    return int(np.prod([prepared.mesh.shape[axis] for axis in BATCH]))


def _activations(prepared: Prepared) -> int:
    """Bytes of what the forward pass keeps for the backward one; arrays with an axis of posts are spread.

    Of one part, where a batch is computed in parts, and in the precision that training asks for.
    """
    training, system = prepared.experiment.training, prepared.system
    state, numbers = prepared.arguments[:2]
    size, parts = training.batch // (training.accumulate * max(1, training.by_length)), _parts(prepared)
    batch = {n: jax.ShapeDtypeStruct((size, *x.shape[1:]), x.dtype) for n, x in prepared.batch.items()}

    def total(params: Any, collections: Any, batch: Any, numbers: Any, keys: Any) -> Any:
        loss, weight, collections = system.loss(params, collections, batch, numbers, keys)
        return loss.sum(), (weight.sum(), collections)

    loss = in_bfloat16(total) if training.precision == "bfloat16" else total

    def kept(params: Any, collections: Any, batch: Any, numbers: Any) -> Any:
        keys = keys_of(jax.random.key(0), size)
        return jax.vjp(lambda p: loss(p, collections, batch, numbers, keys)[0], params)[1]

    jaxpr = jax.make_jaxpr(kept)(state["params"], state["collections"], batch, numbers).jaxpr
    given = {id(v) for v in jaxpr.invars}
    found = {id(v): v.aval for v in jaxpr.outvars if id(v) not in given and hasattr(v.aval, "shape")}
    bytes_of = lambda a: int(np.prod(a.shape)) * a.dtype.itemsize  # noqa: E731
    arrays = [a for a in found.values() if _is_plain(a.dtype)]
    return sum(bytes_of(a) // parts if size in a.shape else bytes_of(a) for a in arrays)
