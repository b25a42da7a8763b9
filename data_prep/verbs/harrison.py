"""`jaxtag-prep harrison`: a dataset from HARRISON."""

import argparse
from collections.abc import Mapping
from typing import Any

from .listed import add_listed, prepare
from .making import render

SUMMARY = "A dataset from HARRISON: photos of Instagram with their hashtags."
EXAMPLES = """\
  jaxtag-prep harrison --input HARRISON --out data/harrison
  jaxtag-prep harrison --input HARRISON --out data/harrison --images /photos
  jaxtag-prep harrison --input HARRISON --out data/names --images none

HARRISON has data_list.txt and tag_list.txt; the photos that they list, instagram_dataset/..., are below --images.
"""
__all__ = ["EXAMPLES", "SUMMARY", "options", "render", "run"]


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_listed(parser, "harrison")


def run(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Prepare the photos.

    Raises:
      JaxtagError: an argument, a list or the folder is not as it must be.
    """
    return prepare(arguments, "harrison", "harrison")
