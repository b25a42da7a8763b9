"""The mesh, and the rules that place every parameter and batch on it. The only file that knows both."""

from collections.abc import Callable, Iterable, Sequence
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
    return Mesh(_arranged(devices, sizes), AXES, axis_types=(AxisType.Auto,) * 3)


def _arranged(devices: Sequence[Any], sizes: Sequence[int]) -> np.ndarray:
    """`devices` in an array of `sizes`, the same on every process; those next to each other in the last axis are near.

    JAX lists devices process by process, so that `tensor` lies within a host where its size divides the host's devices.
    A TPU's are arranged along the wires between its chips, and the slices of several are parts of `data`.
    """
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    if devices[0].platform != "tpu" or len(devices) == 1 or sizes[0] % slices:
        return np.asarray(devices).reshape(sizes)
    from jax.experimental import mesh_utils

    if slices > 1:
        inner = [sizes[0] // slices, *sizes[1:]]
        return mesh_utils.create_hybrid_device_mesh(inner, [slices, 1, 1], devices, allow_split_physical_axes=True)
    return mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)


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


def put(values: Any, sharding: NamedSharding) -> Any:
    """`values`, a pytree of host arrays that are the same on every process, laid out as `sharding` says.

    A mesh over several processes gets from each what its own devices hold; that they agree is not looked at.
    """
    if sharding.is_fully_addressable:
        return jax.device_put(values, sharding)

    def one(value: Any) -> jax.Array:
        if isinstance(value, jax.Array) and not value.is_fully_addressable:
            return value if value.sharding == sharding else jax.device_put(value, sharding)
        host = np.asarray(value)
        return _held(host.shape, sharding, lambda at: host[at])

    return jax.tree.map(one, values)


def _held(shape: tuple[int, ...], sharding: NamedSharding, held: Callable[[Any], np.ndarray]) -> jax.Array:
    with jax.transfer_guard("allow"):  # asked for, as `jax.device_put` is, which a guard lets pass
        return jax.make_array_from_callback(shape, sharding, held)


def own_part(mesh: Mesh, posts: int) -> slice:
    """Which of a batch's `posts` this process must have: those of its devices, and what lies between them."""
    sharding = by_batch(mesh)
    if sharding.is_fully_addressable:
        return slice(0, posts)
    parts = [at[0].indices(posts) for at in sharding.addressable_devices_indices_map((posts,)).values() if at]
    return slice(min(start for start, _, _ in parts), max(stop for _, stop, _ in parts))


def put_part(values: Any, mesh: Mesh, posts: int, leading: int = 0) -> Any:
    """A batch of `posts`, spread over the mesh, of which each process gives its `own_part`.

    Args:
      values: pytree of this process's posts, as host arrays.
      mesh: where they go.
      posts: of the whole batch.
      leading: axes before the posts', that are the same everywhere.
    """
    sharding, mine = by_batch(mesh, leading), own_part(mesh, posts)
    if sharding.is_fully_addressable:
        return jax.device_put(values, sharding)

    def one(value: np.ndarray) -> jax.Array:
        def held(at: tuple[slice, ...]) -> np.ndarray:
            start, stop, _ = at[leading].indices(posts)
            return value[(*at[:leading], slice(start - mine.start, stop - mine.start), *at[leading + 1 :])]

        return _held((*value.shape[:leading], posts, *value.shape[leading + 1 :]), sharding, held)

    return jax.tree.map(one, values)


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
