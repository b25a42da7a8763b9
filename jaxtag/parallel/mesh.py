"""The mesh, and the rules that place every parameter and batch on it. The only file that knows both."""

from collections.abc import Iterable, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxtag.errors import JaxtagError
from jaxtag.experiment import Parallel

AXES = ("data", "fsdp", "tensor")
BATCH = ("data", "fsdp")  # the axes that posts are spread over

# Logical axis of a parameter -> mesh axes that split it. A parameter's axis must be named here.
RULES: dict[str, tuple[str, ...]] = {
    "words": ("fsdp", "tensor"),  # rows of a word table, or of one of places
    "hashtags": ("fsdp", "tensor"),  # columns of a head
    "hidden": ("fsdp", "tensor"),  # what a layer gives, and what the next one takes of it
    "embed": (),  # what a layer takes
    "window": (),  # places of a convolution
    "types": (),  # kinds of words
    "layers": (),  # layers of one shape, scanned
    "scalar": (),  # an axis of size 1
}


def make_mesh(parallel: Parallel, devices: Sequence[Any] | None = None) -> Mesh:
    """The (data, fsdp, tensor) mesh over `devices`, by default all there are.

    Raises:
      JaxtagError: the sizes do not make up the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    sizes = [parallel.data, parallel.fsdp, parallel.tensor]
    known = int(np.prod([s for s in sizes if s > 0]))
    if -1 in sizes and len(devices) % known == 0:
        sizes[sizes.index(-1)] = len(devices) // known
    if int(np.prod(sizes)) != len(devices):
        asked = f"data {parallel.data}, fsdp {parallel.fsdp}, tensor {parallel.tensor}"
        raise JaxtagError(
            f"a mesh of {asked} does not fit {len(devices)} devices",
            "choose parallel.data, parallel.fsdp and parallel.tensor whose product is that number",
        )
    return Mesh(np.asarray(devices).reshape(sizes), AXES, axis_types=(AxisType.Auto,) * 3)


def check_batch(name: str, size: int, mesh: Mesh) -> None:
    """Refuse a batch that does not divide evenly over the mesh.

    Raises:
      JaxtagError: naming the setting, its value and the number of parts.
    """
    parts = int(np.prod([mesh.shape[axis] for axis in BATCH]))
    if size % parts:
        raise JaxtagError(
            f"{name} is {size}, which does not divide over the mesh's {parts} parts of a batch "
            f"(data {mesh.shape['data']} x fsdp {mesh.shape['fsdp']})",
            f"make it a multiple of {parts}",
        )


def replicated(mesh: Mesh) -> NamedSharding:
    """The same values on every device."""
    return NamedSharding(mesh, PartitionSpec())


def by_batch(mesh: Mesh, leading: int = 0) -> NamedSharding:
    """Posts spread over the mesh; `leading` axes before the posts' stay whole."""
    return NamedSharding(mesh, PartitionSpec(*[None] * leading, BATCH))


def state_shardings(boxed: Any, mesh: Mesh) -> Any:
    """The sharding of every leaf of an abstract state whose parameters carry logical axes.

    Args:
      boxed: a pytree of `jax.ShapeDtypeStruct`, some inside `nn.LogicallyPartitioned`.
      mesh: where they go.

    Returns:
      The same tree with a `NamedSharding` at every leaf, boxes gone.

    Raises:
      JaxtagError: an axis that no rule covers, a rule whose mesh axes do not divide the dimension, or a
        parameter of two or more dimensions without logical axes.
    """

    def one(path: Any, leaf: Any) -> NamedSharding:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if not isinstance(leaf, nn.LogicallyPartitioned):
            if len(leaf.shape) > 1:
                raise JaxtagError(f"parameter {name} {list(leaf.shape)} has no logical axes, so no rule places it")
            return replicated(mesh)
        return NamedSharding(mesh, _spec(name, leaf.value.shape, leaf.names, mesh))

    return jax.tree_util.tree_map_with_path(one, boxed, is_leaf=_is_box)


def unbox(boxed: Any) -> Any:
    """The tree without its boxes (linen's own unbox would constrain abstract values)."""
    return jax.tree.map(lambda x: x.value if _is_box(x) else x, boxed, is_leaf=_is_box)


def _is_box(x: Any) -> bool:
    return isinstance(x, nn.meta.AxisMetadata)


def _spec(name: str, shape: tuple[int, ...], axes: Iterable[str | None], mesh: Mesh) -> PartitionSpec:
    spec = []
    for size, axis in zip(shape, axes, strict=True):
        if axis not in RULES:
            raise JaxtagError(f"parameter {name} {list(shape)}: no rule covers its axis {axis!r}")
        over = tuple(a for a in RULES[axis] if mesh.shape[a] > 1)
        parts = int(np.prod([mesh.shape[a] for a in over]))
        if size % parts:
            raise JaxtagError(
                f"parameter {name} {list(shape)}: axis {axis!r} of {size} does not divide over {' x '.join(over)} "
                f"= {parts} devices of mesh {dict(mesh.shape)}",
                "choose a mesh whose axes divide it, other sizes, or for a table another parallel.multiple",
            )
        spec.append(over or None)
    return PartitionSpec(*spec)
