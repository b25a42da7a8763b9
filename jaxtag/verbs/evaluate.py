"""`jaxtag evaluate`: a run's metrics on a part of its split."""

import argparse

from jaxtag.verbs import shared

SUMMARY = "Evaluate a run on a part of its split, beside the built-in baselines."
EXAMPLES = """\
  jaxtag evaluate RUN
  jaxtag evaluate RUN --part validation --json
"""


def options(p: argparse.ArgumentParser) -> None:
    """Declare the options."""
    shared.run_argument(p)
    shared.part_option(p)


def run(args: argparse.Namespace) -> shared.Said:
    """Evaluate, and show the table."""
    from jaxtag.evaluation.evaluate import evaluate
    from jaxtag.parallel.compiling import keep_compiled
    from jaxtag.report.tables import metrics_table

    keep_compiled()
    found = evaluate(args.run, args.part, args.data)
    return found, metrics_table({found["recipe"]: found, **found["baselines"]})
