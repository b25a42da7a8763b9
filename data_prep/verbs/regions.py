"""`jaxtag-prep regions`: what a detector found in a dataset's images."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .making import workers_of

SUMMARY = "Regions of a dataset's images, as a detector found them: features and boxes."
EXAMPLES = """\
  jaxtag-prep regions --data data/mine --input train_obj36.tsv
  jaxtag-prep regions --data data/mine --input features/          .npz or .npy, a file an image; or an LMDB
  jaxtag-prep regions --data data/mine --input regions.h5 --max-bad 0.1
  jaxtag-prep regions --data data/mine --input regions.npz --regions 100 --name regions100

Read are: lines of 10 columns (img_id, img_h, img_w, objects_id, objects_conf, attrs_id, attrs_conf, num_boxes, boxes,
features) or 6 (img_id, img_w, img_h, num_boxes, boxes, features) with base64 of float32; folders of ID.npz (features,
boxes, num_boxes, image_h, image_w) or of ID.npy with ID_boxes.npy; .npz and HDF5 of all images (features [n, R, D],
boxes [n, R, 4], image_id [n]); HDF5 with a group an image; LMDB of archives, lines or plain pickled dictionaries, of
which nothing is unpickled. A row's image is told by path, name, name without its ending, or COCO's number.
Boxes, x1 y1 x2 y2, in pixels or as shares, are stored as shares of width and height. A row that cannot be used is
listed in images/regions/rejects.jsonl with its file and row. A run that was stopped goes on when given again.
HDF5 needs pip install 'jaxtag[regions]'.
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="dataset folder")
    add("--input", type=Path, required=True, metavar="FILE|DIR", help="what the detector wrote")
    add("--regions", type=int, default=36, metavar="N", help="that an image has room for (default 36)")
    add("--width", type=int, default=2048, metavar="N", help="of a region's features (default 2048)")
    add("--name", default="regions", help="of the features (default: regions)")
    add("--max-bad", type=float, default=0.01, metavar="F", help="of images without regions (default 0.01)")
    add("--workers", type=int, default=os.cpu_count() or 1, help="threads that decode (default: one a core)")


def run(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Take the regions.

    Raises:
      JaxtagError: an argument, the dataset or the source is not as it must be.
    """
    from .. import region_features

    wanted = region_features.Wanted(*(arguments[key] for key in ("input", "regions", "width", "name", "max_bad")))
    found = region_features.make(arguments["data"], wanted, workers_of(arguments))
    return {key: value for key, value in found.items() if key not in ("files", "format", "images")}


def render(result: Mapping[str, Any]) -> str:
    """The regions as lines for a reader."""
    many, width = result["shapes"]["regions"]
    lines = [f"{result['name']}: up to {many} regions an image, {width} numbers each, from {result['source']['name']}"]
    lines.append(f"images: {result['present']:,} with regions, {result['without']:,} without")
    if result["without"]:
        lines[-1] += f", listed in images/{result['name']}/unreadable.jsonl"
    if result["bad_rows"]:
        lines.append(f"bad rows: {result['bad_rows']:,}, listed in images/{result['name']}/rejects.jsonl")
    lines += [f"  {row['file']} row {row['row']}: {row['reason']}" for row in result.get("first_bad", ())]
    if result["not_in_dataset"]:
        lines.append(f"rows of no image of the dataset: {result['not_in_dataset']:,}")
    rate = f" ({result['images_per_second']:,} images/s)" if "images_per_second" in result else ""
    return "\n".join([*lines, f"seconds: {result['seconds']}{rate}"])
