"""`jaxtag plan`: what a training step takes, without running it."""

import argparse
import os
from typing import Any

from jaxtag.verbs import shared

SUMMARY = "Compile a training step and run nothing: parameters, where they lie, operations, bytes, collectives, time."
EXAMPLES = f"""\
  jaxtag plan zsl/cnn
  jaxtag plan zsl/rnn_attention --devices 8 --parallel.fsdp 4 --parallel.tensor 2
  jaxtag plan zsl/cnn --data DATA --training.batch 4096 --json
  jaxtag plan lxmert4hashtag/lxmert --topology v5e:16x16 --training.batch 4096
  jaxtag plan lxmert4hashtag/lxmert --topology h200:8x8 --training.batch 1024 --propose
  jaxtag plan hmemn2n/hmemn2n --topology v5p-256 --weak-scaling
devices that are not there are simulated by the CPU (--devices), or compiled for by libtpu (pip install 'jaxtag[tpu]')
or the CUDA plugin (pip install 'jaxtag[plan-gpu]'); no chip, driver or network is needed
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
    p.add_argument(
        "--topology", default="", metavar="NAME",
        help="a machine that is not there: TPUs as v5e:16x16, v5e-256, v5p:4x4x8 or v5p-256 (which counts cores, 2 a "
        "chip), GPUs as h200:8x8, hosts x GPUs, or h200-64; of v4 v5e v5p v6e a100 h100 h200",
    )  # fmt: skip
    p.add_argument("--slices", type=int, default=1, metavar="N", help="of TPUs: so many of them, over the network (1)")
    p.add_argument(
        "--propose", action="store_true", help="try the meshes of --topology, and name the fastest that fits"
    )
    p.add_argument(
        "--weak-scaling", action="store_true",
        help="plan for the smallest machine of these chips, a host of GPUs, and --topology; training.batch is a chip's",
    )  # fmt: skip
    p.add_argument(
        "--effort", type=float, default=None, metavar="E",
        help="of the compiler for --topology; -1 takes a third of the time for nearly the same plan (JAX's own, 0)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> shared.Said:
    """Make the plan, and show it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # the partitioner's warnings say in pages what the table says
    from jaxtag.recipes import resolve

    _check(args)
    experiment = resolve(args.recipe, args.size, args.overrides)

    from jaxtag.plan import ahead, devices, machine_text, plan, text, topologies

    if not args.topology:
        there, machine = devices.devices(args.devices), None
    else:
        machine = topologies.topology(args.topology, args.slices)
        there = ahead.absent_devices(machine, args.effort)
    work = _workload(args, experiment)
    found: dict[str, Any] = {"recipe": args.recipe}
    if machine and args.propose:
        from jaxtag.plan import propose

        found |= propose.propose(experiment, work, there, machine)
        return found, machine_text.tried(found)
    if machine and args.weak_scaling:
        from jaxtag.plan import scaling

        found |= scaling.weak_scaling(experiment, work, machine, args.effort)
        return found, machine_text.scaling(found)
    found |= plan.describe(experiment, work, there, machine)
    return found, text.render(found)


def _check(args: argparse.Namespace) -> None:
    """Refuse options that do not go together."""
    from jaxtag.errors import JaxtagError

    if args.data and (args.words or args.hashtags or args.posts):
        raise JaxtagError(
            "--words, --hashtags and --posts are the dataset's own when --data is given", "leave them out"
        )
    if args.topology and args.devices:
        raise JaxtagError("--topology and --devices both say what to plan for", "give one of them")
    alone = {"--propose": args.propose, "--weak-scaling": args.weak_scaling, "--slices": args.slices != 1,
             "--effort": args.effort is not None}  # fmt: skip
    for option in (name for name, given in alone.items() if given and not args.topology):
        raise JaxtagError(f"{option} is about a machine that is not there", "name it: --topology v5e:16x16")
    if args.propose and args.weak_scaling:
        raise JaxtagError("--propose and --weak-scaling are two plans", "give one of them")
    if args.effort is not None and not -1 <= args.effort <= 1:
        raise JaxtagError(f"--effort is {args.effort:g}; it must be from -1 to 1")


def _workload(args: argparse.Namespace, experiment: Any) -> Any:
    from jaxtag.data.dataset import open_dataset
    from jaxtag.plan import workload

    if not args.data:
        return workload.assumed(experiment, args.words, args.hashtags, args.posts)
    dataset = open_dataset(args.data)
    return workload.of_split(dataset, dataset.split(args.split), experiment)
