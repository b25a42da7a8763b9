"""`jaxtag export`: a run's weights for other libraries."""

import argparse
from pathlib import Path

from jaxtag.verbs import shared

SUMMARY = "Save a run's encoder as Hugging Face's LxmertModel loads it."
EXAMPLES = """\
  jaxtag export RUN --out LXMERT           model.safetensors, config.json and vocab.txt
  jaxtag train lxmert4hashtag/lxmert --data DATA --run OTHER --model.init lxmert:LXMERT
of runs of lxmert alone; what lies between the encoder and the hashtags has no place in that layout
"""


def options(p: argparse.ArgumentParser) -> None:
    """Declare the options."""
    shared.run_argument(p)
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")


def run(args: argparse.Namespace) -> shared.Said:
    """Export, and say how much."""
    from jaxtag.training.sharing import export

    return shared.lines(export(args.run, args.out, args.data))
