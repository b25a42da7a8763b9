"""`jaxtag systems`: what can be trained."""

import argparse

from jaxtag.verbs import shared

SUMMARY = "List the recipes: paper, columns read, kind of output, default objective."
EXAMPLES = """\
  jaxtag systems
  jaxtag systems --json
"""


def options(p: argparse.ArgumentParser) -> None:
    """There are none."""


def run(args: argparse.Namespace) -> shared.Said:
    """The table of recipes."""
    from jaxtag.recipes import recipe_rows
    from jaxtag.report.tables import markdown

    rows = recipe_rows()
    return rows, markdown(rows, list(rows[0]))
