"""`jaxtag bench step`: how long a training step takes, beside PyTorch."""

import argparse
from pathlib import Path

from jaxtag.verbs import shared

SUMMARY = "Measure training steps: time, utilisation, memory, compiling; alone or in turn with PyTorch twins."
EXAMPLES = f"""\
  jaxtag bench step zsl/cnn
  jaxtag bench step zsl/cnn zsl/rnn_attention --against torch --out step.json
  jaxtag bench step --size tiny --against torch --rounds 3
  jaxtag bench step zsl/cnn --data DATA --data.placement streamed
  jaxtag bench step zsl/transformer --training.precision bfloat16 --full --profile TRACE
  jaxtag bench step zsl/rnn --devices 4 --parallel.fsdp 2
the trace of --profile opens in TensorBoard with XProf, or ui.perfetto.dev (perfetto_trace.json.gz)
leave the machine alone meanwhile: under a load the two sides suffer differently
{shared.OVERRIDES}"""
OVERRIDES = True
PROCESSES = "one"


def options(p: argparse.ArgumentParser) -> None:
    """Declare the options."""
    p.add_argument("recipes", nargs="*", metavar="RECIPE", help="what to measure (every recipe that has a twin)")
    shared.size_option(p)
    p.add_argument("--against", default="", metavar="PEER", help="torch: the same network in PyTorch (nobody)")
    p.add_argument("--rounds", type=int, default=5, metavar="N", help="blocks of each side (5)")
    p.add_argument("--seconds", type=float, default=2.0, metavar="S", help="a block lasts (2)")
    p.add_argument("--words", type=int, default=60_000, metavar="N", help="words of made-up posts (60000)")
    p.add_argument(
        "--hashtags", type=int, default=0, metavar="N", help="hashtags of made-up posts (as many as the paper has)"
    )
    p.add_argument("--full", action="store_true", help="make up posts that are all as long as a batch has room for")
    p.add_argument("--uniform", action="store_true", help="make up posts whose words are all equally likely")
    shared.data_option(p, help="measure on the training posts of this dataset, not on made-up ones")
    shared.split_option(p)
    p.add_argument("--threads", type=int, default=0, metavar="N", help="threads of PyTorch (as many as cores)")
    p.add_argument("--torch-compile", action="store_true", help="try torch.compile too, and keep what is faster")
    p.add_argument(
        "--devices", type=int, default=0, metavar="N", help="devices of the mesh, simulated where absent (all)"
    )
    p.add_argument("--profile", metavar="DIR", default="", help="write a trace for XProf, TensorBoard or Perfetto")
    p.add_argument("--out", type=Path, metavar="FILE", help="write the JSON document there as well")


def run(args: argparse.Namespace) -> shared.Said:
    """Measure, and show the table."""
    from jaxtag.bench import step
    from jaxtag.bench.twins import LENGTHS
    from jaxtag.files import write_json
    from jaxtag.recipes import recipes, resolve
    from jaxtag.systems import find_trained_by_step

    chosen = args.recipes or [name for name, recipe in recipes().items() if recipe("tiny").system in LENGTHS]
    for recipe in chosen:
        find_trained_by_step(
            resolve(recipe, args.size, args.overrides), "measurement of steps"
        )  # a mistake is found before anything is measured
    setup = step.Setup(
        args.size, args.overrides, args.against, args.rounds, args.seconds, args.words, args.hashtags, args.uniform,
        str(args.data.resolve()) if args.data else "", args.split, args.threads, args.torch_compile, args.devices,
        args.full, args.profile,
    )  # fmt: skip
    found = step.bench(chosen, setup)
    if args.out:
        write_json(args.out, found)
    return found, step.render(found)
