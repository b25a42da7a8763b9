"""`jaxtag preflight`: do all hosts answer?"""

import argparse

from jaxtag.verbs import shared

SUMMARY = "Run one all-reduce over every device of every process, and show which hosts answered."
EXAMPLES = """\
  jaxtag preflight
  srun jaxtag preflight --json                          under SLURM, one process a task
  JAXTAG_COORDINATOR=host0:8476 JAXTAG_PROCESSES=2 JAXTAG_PROCESS=1 jaxtag preflight      on the second of two hosts
a process that does not come within JAXTAG_START_SECONDS (300) is named, with exit code 75
"""
PROCESSES = "many"


def options(p: argparse.ArgumentParser) -> None:
    """There are none."""


def run(args: argparse.Namespace) -> shared.Said:
    """Add up, and show who did."""
    import os

    from jaxtag.parallel import watchdog
    from jaxtag.parallel.preflight import preflight
    from jaxtag.parallel.processes import START_SECONDS, seconds_of

    limit = seconds_of(os.environ, "JAXTAG_START_SECONDS", START_SECONDS)
    with watchdog.watching(limit, "in an all-reduce over every device", "JAXTAG_START_SECONDS"):
        found = preflight()
    lines = [f"{'process':>7}  {'host':20}  {'answered':8}  {'first':>9}  {'all-reduce':>10}  devices"]
    for i, row in enumerate(found["processes"]):
        lines.append(
            f"{i:>7}  {row['host']:20}  {'yes':8}  {row['first_seconds']:>7.2f} s  {1000 * row['seconds']:>7.2f} ms  "
            f"{', '.join(row['devices'])}"
        )
    said = f"{len(found['processes'])} processes, {found['devices']} devices, {found['mib']:g} MiB a device added up"
    return found, "\n".join([*lines, said])
