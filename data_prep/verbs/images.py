"""`jaxtag-prep images`: features of a dataset's images."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtag.data.posts import PIXELS
from jaxtag.errors import JaxtagError

from .making import workers_of

SUMMARY = "Features of a dataset's images, by a convolutional network or from a file."
EXAMPLES = """\
  jaxtag-prep images --data data/mine --extractor inception_v3
  jaxtag-prep images --data data/mine --extractor resnet50 --weights resnet50_notop.h5 --layer pooled
  jaxtag-prep images --data data/mine --extractor vgg16 --layer block5_conv3 --name vgg16_conv3 --images /photos
  jaxtag-prep images --data data/mine --extractor vgg16_places --weights vgg16_places205.h5
  jaxtag-prep images --data data/mine --extractor pixels --size 224     for systems that read images end to end
  jaxtag-prep images --data data/mine --extractor resnet50 --features resnet50.npy --names photos.txt
  jaxtag-prep images --data data/mine --name regions --features regions.npz --key regions --layer pooled grid

Several extractors stand side by side under images/. A run that was stopped goes on when given again. A layer is
pooled (the mean of the last grid), grid, or one of Keras' names; at most one vector and one grid a name.
A file of features is .npy, .npz or HDF5: [images, width], or [images, cells, width] for a grid. Which row is of which
image is told by --names, by names within the file, or else by the order of images/files.jsonl.
Networks need pip install 'jaxtag[images]'; files of Keras weights end in .h5, .weights.h5 or .keras.
"""
_COMPUTED = ("weights", "images", "batch", "size", "seed")
_GIVEN = ("names", "key")


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="dataset folder")
    add("--extractor", default="", help="inception_v3, resnet50, resnet152, vgg16, vgg16_places or pixels")
    add("--layer", nargs="+", default=[], metavar="LAYER", help="pooled, grid, fc2, block5_pool, block5_conv3 ...")
    add("--name", default="", help="of the features (default: the extractor's)")
    add("--weights", metavar="W", help="imagenet (default), none for random ones, or a local file")
    add("--images", type=Path, metavar="DIR", help="folder that the images are in (default: where they were)")
    add("--size", type=int, metavar="N", help="pixels of a side (default: the network's own)")
    add("--batch", type=int, metavar="N", help="images computed at a time (default 32)")
    add("--seed", type=int, help="of random weights (default 0)")
    add("--features", type=Path, metavar="FILE", help="take the features from a file instead")
    add("--names", type=Path, metavar="FILE", help="the image of each row of --features, one a line")
    add("--key", help="which array of --features")
    add("--max-bad", type=float, default=0.01, metavar="F", help="of images without features (default 0.01)")
    add("--workers", type=int, default=os.cpu_count() or 1, help="threads that decode (default: one a core)")


def run(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Compute the features, or take them from a file.

    Raises:
      JaxtagError: an argument, the dataset, the network or the file is not as it must be.
    """
    computed = arguments["features"] is None
    for key in _GIVEN if computed else _COMPUTED:
        if arguments[key] is not None:
            what = "needs --features" if computed else "is of computing, and --features gives what was computed"
            raise JaxtagError(f"--{key} {what}", "leave one of them out")
    if arguments["extractor"] == PIXELS:
        of_networks = {"--weights": arguments["weights"], "--seed": arguments["seed"], "--features": not computed}
        given = [name for name, value in (of_networks | {"--layer": arguments["layer"]}).items() if value]
        if given:
            raise JaxtagError(f"{given[0]} says nothing of --extractor pixels, decoded images", "leave it out")
    name = arguments["name"] or arguments["extractor"]
    if not (arguments["extractor"] if computed else name):
        raise JaxtagError("nothing says which features", "name a network with --extractor, or a file's with --name")
    layers, most = tuple(arguments["layer"]), arguments["max_bad"]
    if not computed:
        from .. import feature_files

        names, key = arguments["names"], arguments["key"] or ""
        given = feature_files.Given(arguments["features"], names, key, layers, name, most, arguments["extractor"])
        return _said(feature_files.load(arguments["data"], given))
    from .. import cnn_features

    options = {"weights": arguments["weights"], "batch": arguments["batch"], "side": arguments["size"]}
    options |= {"seed": arguments["seed"]}
    given = {key: value for key, value in options.items() if value is not None}
    wanted = cnn_features.Wanted(arguments["extractor"], layers, name=name, max_bad=most, **given)
    return _said(cnn_features.make(arguments["data"], wanted, arguments["images"], workers_of(arguments)))


def render(result: Mapping[str, Any]) -> str:
    """The features as lines for a reader."""
    from jaxtag.data.show import shapes_text

    source = result["source"]["name"] if "source" in result else result["network"]
    lines = [f"image features {result['name']}: {shapes_text(result['shapes'])}"]
    if source != PIXELS:
        lines[0] += f", from {source}"
    if "weights" in result:
        lines[0] += f", weights {result['weights']}"
    lines.append(f"images: {result['present']:,} with features, {result['without']:,} without")
    if result["without"]:
        lines[-1] += f", listed in images/{result['name']}/unreadable.jsonl"
    if result.get("not_in_dataset"):
        lines.append(f"rows of no image of the dataset: {result['not_in_dataset']:,}")
    rate = f" ({result['images_per_second']:,} images/s)" if "images_per_second" in result else ""
    return "\n".join([*lines, f"seconds: {result['seconds']}{rate}"])


def _said(info: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in info.items() if key not in ("files", "format", "images")}
