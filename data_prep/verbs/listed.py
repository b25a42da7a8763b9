"""What the verbs of datasets published as lists of photos share: their options, and preparing one."""

import argparse
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .making import add_making, identity, made, preset_of, workers_of
from .reading import add_images, fraction_of, gallery_of, of_images


def add_listed(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options of the dataset `name`."""
    add = parser.add_argument
    add("--input", required=True, type=Path, metavar="DIR", help="folder that has the lists")
    add_images(parser, "default: --input")
    add("--encoding", default="utf-8", help="of the lists (default utf-8)")
    add("--max-bad", type=float, default=0.01, metavar="FRACTION", help="of bad lines to put up with (default 0.01)")
    add("--name", default=name, help=f"of the dataset (default {name})")
    add("--licence", default="", help="of the source, if known")
    add_making(parser, "amnn")
    add("--seed", type=int, help="of the default split (default 0)")


def prepare(arguments: Mapping[str, Any], name: str, module: str) -> dict[str, Any]:
    """Prepare the photos of the dataset `name`, whose lists `data_prep/MODULE.py` finds and reads.

    Raises:
      JaxtagError: an argument, a list or the folder is not as it must be.
    """
    from .. import build, gallery
    from ..plan import Plan

    source = importlib.import_module(f"..{module}", __package__)
    preset, max_bad, workers = preset_of(arguments, name), fraction_of(arguments), workers_of(arguments)
    lists = source.lists(arguments["input"])
    images = gallery_of(arguments, arguments["input"], workers)
    how, folder = of_images(images)
    reading = {"source": name, "encoding": arguments["encoding"], **how}
    sources = [identity(file) for file in lists if file] + folder
    plan = Plan(arguments["name"], arguments["licence"], sources, reading, ("image",), preset)
    chunks = gallery.kept(arguments["out"], images, source.read(*lists, images, arguments["encoding"]))
    return made(arguments, build.build(arguments["out"], plan, chunks, workers, max_bad))
