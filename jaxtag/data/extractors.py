"""Convolutional networks of keras.applications as functions from pixels to features, on Keras' JAX backend.

Preparing and recommending call the same function, so a new image gets the features that a stored one has. Keras is
the optional extra `images`, imported when a network is built.
"""

import os
import shutil
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from jaxtag.data import hdf5
from jaxtag.data.posts import PIXELS
from jaxtag.errors import JaxtagError, nearest

NAMED = 5  # weights that a message lists
LARGEST = 65504.0  # of float16: a larger activation is stored as this
POOLED = "pooled"  # the mean over the cells of `grid`
SIDE = 224  # pixels of a side of `pixels`, as ResNet-50 takes them


@dataclass(frozen=True)
class Network:
    """A network that features are taken from.

    Attributes:
      model: its name in keras.applications.
      module: the module of keras.applications that has its `preprocess_input`.
      side: pixels of a side of the images that it was trained on.
      grid: Keras' name of the layer with its last grid.
      layers: what is taken when nothing else is asked.
      imagenet: whether Keras offers weights trained on ImageNet.
      widths: of the features of its last grid, and of its dense layers.
    """

    model: str
    module: str
    side: int
    grid: str
    layers: tuple[str, ...] = (POOLED, "grid")
    imagenet: bool = True
    widths: tuple[int, ...] = (2048,)


# SYSTEMS 9. Places-205's network is VGG-16 with other classes, which no layer taken here depends on.
NETWORKS = {
    "inception_v3": Network("InceptionV3", "inception_v3", 299, "mixed10"),
    "resnet50": Network("ResNet50", "resnet", 224, "conv5_block3_out"),
    "resnet152": Network("ResNet152", "resnet", 224, "conv5_block3_out", (POOLED,)),
    "vgg16": Network("VGG16", "vgg16", 224, "block5_pool", ("fc2", "block5_pool"), widths=(4096, 512)),
    "vgg16_places": Network("VGG16", "vgg16", 224, "block5_pool", ("fc2",), False, (4096, 512)),
}
_MEMBER = "model.weights.h5"  # of a .keras archive
_TOP = ("flatten", "fc1", "fc2", "avg_pool", "predictions")  # layers above the last grid


@dataclass(frozen=True)
class Extractor:
    """A function from images to features.

    Attributes:
      side: pixels of a side of the images.
      shapes: of a row of `vector`, of `grid` and of `pixels`, those of them that there are.
      call: from uint8 `[batch, side, side, 3]`, red first, to float16 `[batch, *shape]` by kind, `pixels` to uint8; a
        batch must be a multiple of `devices`.
      devices: how many devices share a batch.
      versions: of what computes.
    """

    side: int
    shapes: Mapping[str, tuple[int, ...]]
    call: Callable[[np.ndarray], dict[str, np.ndarray]]
    devices: int = 1
    versions: Mapping[str, str] = field(default_factory=dict)


def build(
    name: str, layers: Sequence[str] = (), weights: str = "imagenet", side: int = 0, seed: int = 0, devices: int = 0
) -> Extractor:
    """The network `name` as an extractor.

    Args:
      name: of `NETWORKS`; or 'pixels', the decoded images themselves, of which the rest but `side` says nothing.
      layers: 'pooled', 'grid' or Keras' names of layers; at most one vector and one grid. None is the network's own.
      weights: 'imagenet', 'none' (random ones, of `seed`) or a local .h5, .weights.h5 or .keras file.
      side: pixels of a side; 0 is the network's own.
      devices: how many share a batch; 0 is all of this host.

    Raises:
      JaxtagError: Keras is not installed, or a name, the side or the weights do not fit.
    """
    if name == PIXELS:
        side = side or SIDE
        return Extractor(side, {PIXELS: (side, side, 3)}, lambda images: {PIXELS: images})
    if name not in NETWORKS:
        raise JaxtagError(f"no network {name!r}", nearest(name, NETWORKS))
    network = NETWORKS[name]
    if weights == "imagenet" and not network.imagenet:
        raise JaxtagError(f"Keras has no imagenet weights for {name}", "give a file with --weights FILE")
    _check_file(weights)
    keras = _keras()
    keras.utils.clear_session()  # layers' names are counted on
    keras.utils.set_random_seed(seed)
    layers = tuple(layers) or network.layers
    whole = _whole(keras, network, any(layer in _TOP for layer in layers), weights, side or network.side)
    outputs = _outputs(keras, whole, network, layers)
    model = keras.Model(whole.inputs, list(outputs.values()))
    if weights not in ("imagenet", "none"):
        _load(model, Path(weights))
    preprocess = getattr(keras.applications, network.module).preprocess_input
    return of_model(model, tuple(outputs), preprocess, side or network.side, devices)


def weights_of(name: str, weights: str) -> dict[str, dict[str, np.ndarray]]:
    """The weights of the network `name` without its dense layers, by Keras' name of the layer and of the weight.

    Raises:
      JaxtagError: as of `build`.
    """
    _check_file(weights)
    keras, network = _keras(), NETWORKS[name]
    keras.utils.clear_session()
    whole = _whole(keras, network, False, weights, network.side)
    if weights not in ("imagenet", "none"):
        _load(whole, Path(weights))
    return {layer.name: {w.name: np.asarray(w) for w in layer.weights} for layer in whole.layers if layer.weights}


def of_model(model: Any, kinds: Sequence[str], preprocess: Callable[[Any], Any], side: int, devices: int) -> Extractor:
    """A Keras model with an output of each of `kinds` as an extractor; the batch is shared among devices."""
    import jax
    import jax.numpy as jnp
    import keras
    from jax.sharding import AxisType, NamedSharding, PartitionSpec

    used = jax.local_devices()[: devices or None]
    mesh = jax.make_mesh((len(used),), ("data",), axis_types=(AxisType.Auto,), devices=used)
    split, everywhere = NamedSharding(mesh, PartitionSpec("data")), NamedSharding(mesh, PartitionSpec())
    variables = [[v.value for v in part] for part in (model.trainable_variables, model.non_trainable_variables)]
    held = jax.device_put(variables, everywhere)

    def forward(variables: Any, images: jax.Array) -> list[jax.Array]:
        inputs = preprocess(images.astype(jnp.float32))
        outputs, _ = model.stateless_call(*variables, inputs, training=False)
        outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
        flat = [o.reshape(len(o), -1, o.shape[-1]) if o.ndim == 4 else o for o in outputs]
        return [jnp.clip(o, -LARGEST, LARGEST).astype(jnp.float16) for o in flat]

    compiled = jax.jit(forward, in_shardings=(everywhere, split), out_shardings=split)
    found = jax.eval_shape(forward, variables, jax.ShapeDtypeStruct((1, side, side, 3), jnp.uint8))

    def call(images: np.ndarray) -> dict[str, np.ndarray]:
        outputs = compiled(held, jax.device_put(images, split))
        return {kind: np.asarray(output) for kind, output in zip(kinds, outputs)}

    shapes = {kind: tuple(output.shape[1:]) for kind, output in zip(kinds, found)}
    return Extractor(side, shapes, call, len(used), {"keras": keras.__version__, "jax": jax.__version__})


@cache
def _keras() -> Any:
    """Keras on JAX.

    Raises:
      JaxtagError: it is not installed, or was imported before on another backend.
    """
    os.environ["KERAS_BACKEND"] = "jax"
    try:
        import keras
    except ImportError:
        raise JaxtagError("Keras is not installed", "pip install 'jaxtag[images]', or give --features FILE") from None
    if keras.backend.backend() != "jax":
        raise JaxtagError(f"Keras runs on {keras.backend.backend()} in this process", "set KERAS_BACKEND=jax")
    return keras


def _whole(keras: Any, network: Network, top: bool, weights: str, side: int) -> Any:
    """The network of keras.applications, with its dense layers where `top` says so."""
    make = getattr(keras.applications, network.model)
    given = "imagenet" if weights == "imagenet" else None
    if given and top and side != network.side:
        raise JaxtagError(f"dense layers with imagenet weights take {network.side} pixels a side, not {side}")
    try:
        return make(include_top=top, weights=given, input_shape=(side, side, 3))
    except ValueError as error:
        raise JaxtagError(f"{network.model} cannot be built: {error}", "give another --size") from None
    except Exception as error:
        if given is None or "URL fetch" not in str(error):
            raise
        raise JaxtagError(
            f"the imagenet weights could not be fetched: {error!s:.200}",
            "fetch the file elsewhere and give it with --weights FILE",
        ) from None


def _outputs(keras: Any, whole: Any, network: Network, layers: Sequence[str]) -> dict[str, Any]:
    """The outputs asked for, by kind.

    Raises:
      JaxtagError: there is no such layer, it is neither a vector nor a grid, or two are of one kind.
    """
    names = [layer.name for layer in whole.layers]
    found: dict[str, Any] = {}
    for layer in layers:
        name = network.grid if layer in (POOLED, "grid") else layer
        if name not in names:
            raise JaxtagError(f"{network.model} has no layer {layer!r}", nearest(layer, [POOLED, "grid", *names]))
        output = whole.get_layer(name).output
        if layer == POOLED:
            output = keras.layers.GlobalAveragePooling2D()(output)
        kind = {2: "vector", 4: "grid"}.get(len(output.shape))
        if kind is None or layer == "predictions":
            raise JaxtagError(f"layer {layer} of {network.model} is neither a vector nor a grid of features")
        if kind in found:
            raise JaxtagError(f"two of the layers {', '.join(layers)} are a {kind}", "give the other another --name")
        found[kind] = output
    return found


def _check_file(weights: str) -> None:
    """Refuse weights of a file that is not there."""
    if weights not in ("imagenet", "none") and not Path(weights).is_file():
        raise JaxtagError(f"no file {weights} of weights", "give --weights imagenet, none, or a file")


def _load(model: Any, path: Path) -> None:
    """Load weights from a file.

    Raises:
      JaxtagError: it does not fit.
    """
    for variable in model.weights:
        variable.assign(np.full(variable.shape, np.nan))  # Keras leaves what it does not find in a file as it is
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of containers that a part of a network does not have
            if path.name.endswith(".keras"):
                with tempfile.TemporaryDirectory() as folder:
                    _load_checked(model, _unpacked(path, Path(folder)))
            else:
                _load_checked(model, path)
    except (*hdf5.DAMAGE, AttributeError, RecursionError, MemoryError, zlib.error, zipfile.BadZipFile) as error:
        raise JaxtagError(f"{path} does not hold weights of this network: {hdf5.reason(error):.300}") from None
    without = [variable.path for variable in model.weights if np.isnan(np.asarray(variable)).any()]
    if without:
        named = ", ".join(without[:NAMED]) + (", …" if len(without) > NAMED else "")
        raise JaxtagError(
            f"{path} does not hold weights of this network: it lacks {len(without)} of {len(model.weights)}: {named}"
        )


def _unpacked(path: Path, folder: Path) -> Path:
    """The weights of a .keras archive as a file in `folder`; what else it has, code among it, is left alone."""
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo(_MEMBER)
        if member.file_size > max(hdf5.ALWAYS_EXPANDED, hdf5.MOST_EXPANDED * member.compress_size):
            raise ValueError(f"its weights unpack to {member.file_size} bytes")
        with archive.open(member) as source, open(folder / _MEMBER, "wb") as file:
            shutil.copyfileobj(source, file, 1 << 22)
    return folder / _MEMBER


def _load_checked(model: Any, path: Path) -> None:
    """Load a file of HDF5, all of whose arrays are its own; older ones in order where it has as many layers as the
    network, as Keras' own files are meant, else by the layers' names.
    """
    with hdf5.opened(path, "images") as file:
        if path.name.endswith(".weights.h5"):
            model.load_weights(path)
            return
        group = file["model_weights"] if "layer_names" not in file.attrs and "model_weights" in file else file
        layers = [str(name) for name in group.attrs["layer_names"]]  # type: ignore
        there = [name for name in layers if len(group[name].attrs["weight_names"])]  # type: ignore
    in_order = len(there) == sum(bool(layer.weights) for layer in model.layers)
    model.load_weights(path, by_name=None if in_order else True)
