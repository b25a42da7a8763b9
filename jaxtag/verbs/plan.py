"""`jaxtag plan`: what a training step takes, without running it."""

import argparse
import os

from jaxtag.verbs import shared

SUMMARY = "Compile a training step and run nothing: parameters, where they lie, operations, bytes, collectives."
EXAMPLES = f"""\
  jaxtag plan zsl/cnn
  jaxtag plan zsl/rnn_attention --devices 8 --parallel.fsdp 4 --parallel.tensor 2
  jaxtag plan zsl/cnn --data DATA --training.batch 4096 --json
devices that are not there are simulated by the CPU
{shared.OVERRIDES}"""
OVERRIDES = True


def options(p: argparse.ArgumentParser) -> None:
    """Declare the options."""
    shared.recipe_options(p)
    shared.data_option(p, help="take the numbers of this dataset; without it, those below")
    shared.split_option(p)
    for name, default in (("words", 60_000), ("hashtags", 50), ("posts", 100_000)):
        p.add_argument(f"--{name}", type=int, default=0, metavar="N", help=f"{name} of the training part ({default})")
    p.add_argument("--devices", type=int, default=0, metavar="N", help="devices to plan for (those there are)")


def run(args: argparse.Namespace) -> shared.Said:
    """Make the plan, and show it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # the partitioner's warnings say in pages what the table says
    from jaxtag.errors import JaxtagError
    from jaxtag.recipes import resolve

    experiment = resolve(args.recipe, args.size, args.overrides)
    if args.data and (args.words or args.hashtags or args.posts):
        raise JaxtagError(
            "--words, --hashtags and --posts are the dataset's own when --data is given", "leave them out"
        )

    from jaxtag.data.dataset import open_dataset
    from jaxtag.plan import devices, plan, text, workload

    there = devices.devices(args.devices)
    if args.data:
        dataset = open_dataset(args.data)
        work = workload.of_split(dataset, dataset.split(args.split), experiment)
    else:
        work = workload.assumed(experiment, args.words, args.hashtags, args.posts)
    found = {"recipe": args.recipe} | plan.describe(experiment, work, there)
    return found, text.render(found)
