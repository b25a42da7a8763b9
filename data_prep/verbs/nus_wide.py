"""`jaxtag-prep nus-wide`: a dataset from NUS-WIDE."""

import argparse
from collections.abc import Mapping
from typing import Any

from .listed import add_listed, prepare
from .making import render

SUMMARY = "A dataset from NUS-WIDE: photos of Flickr with their tags."
EXAMPLES = """\
  jaxtag-prep nus-wide --input NUS-WIDE --out data/nus_wide
  jaxtag-prep nus-wide --input NUS-WIDE/lists --images NUS-WIDE/Flickr --out data/nus_wide
  jaxtag-prep nus-wide --input NUS-WIDE --out data/names --images none --max-hashtags 30

NUS-WIDE, or a folder below it, has Imagelist.txt and All_Tags.txt; where Final_Tag_List.txt is there too, only the
tags that it lists are taken. A photo may lie at its published path below --images, or under its Flickr id alone.
"""
__all__ = ["EXAMPLES", "SUMMARY", "options", "render", "run"]


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_listed(parser, "nus-wide")


def run(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Prepare the photos.

    Raises:
      JaxtagError: an argument, a list or the folder is not as it must be.
    """
    return prepare(arguments, "nus-wide", "nus_wide")
