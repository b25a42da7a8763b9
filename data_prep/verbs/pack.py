"""`jaxtag-prep pack`: a dataset's columns again, by its records alone."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SUMMARY = "A dataset's columns again, by its records alone."
EXAMPLES = """\
  jaxtag-prep pack --data data/mine      after the folders columns, text or vocabulary were damaged or left behind
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="dataset folder, or one with records alone"
    )


def run(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Pack.

    Raises:
      JaxtagError: there are no records, or they are damaged.
    """
    from jaxtag.data.posts import COLUMNS
    from jaxtag.files import read_json

    from .. import build

    data = arguments["data"]
    old = data / "dataset.json"
    had = read_json(old, "dataset description")["columns"] if old.is_file() else {}
    info = build.repack(data)
    said = {key: info[key] for key in ("name", "preset", "posts", "fingerprint")}
    gone = [f"{name}: {COLUMNS[name].made_by}" for name in had if name not in info["columns"] and name in COLUMNS]
    return {"dataset": str(data)} | said | ({"to add again": gone} if gone else {})
