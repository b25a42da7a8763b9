"""A compiled step judged on a machine that is not there: whether it fits, and how long it takes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from jaxtag.errors import JaxtagError
from jaxtag.plan import hlo, roofline
from jaxtag.plan.collectives import Collective
from jaxtag.plan.topologies import Topology
from jaxtag.plan.workload import Prepared
from jaxtag.training.parts import lengths_up_to
from jaxtag.training.rows import sparse_tables

FULL = "RESOURCE_EXHAUSTED"


def compile_for(lowered: Any, machine: Topology | None) -> tuple[Any, str]:
    """A program compiled; or none, and what the compiler says where it takes more memory than a chip has.

    Raises:
      JaxtagError: the compiler of a machine that is not there refuses the program for another reason.
    """
    if machine is None:
        return lowered.compile(), ""
    try:
        return lowered.compile(), ""
    except Exception as error:  # the plugins raise what they like
        said = str(error).split("\n")[0]
        if FULL not in said:
            raise JaxtagError(f"the compiler for {machine.name} refuses this step: {said[:300]}") from error
        return None, said.partition(FULL)[2].lstrip(": ")


def judge(
    machine: Topology, prepared: Prepared, program: Any, refused: str, plan: dict[str, Any], found: Sequence[Collective]
) -> dict[str, Any]:
    """What a plan says of a machine beside what it says of any devices.

    Returns:
      `topology`: `name`, `chip`, `chips` and `usable` bytes of a chip. `fits`: `fits` and `said`, the compiler's words.
      Where it fits, `estimate`: that of `roofline.estimate`, `wire_bytes` that a device sends in a step, `pieces` of
      work, `rounds` that a loop of unknown length is counted for, and `assumptions`.
    """
    chip = machine.chip
    about = {"name": machine.name, "chip": chip.title, "chips": machine.count, "usable": chip.memory}
    used = plan["bytes_per_device"]["compiled"].get("total", 0)
    fits = program is not None and (chip.kind == "tpu" or used <= chip.memory)  # libtpu refuses what does not fit
    judged: dict[str, Any] = {"topology": about, "fits": {"fits": fits, "said": refused}}
    if program is None:
        return judged
    rounds = rounds_of(prepared)
    scale = {"step": 1.0, "round": rounds, "dispatch": 0.0}
    pieces = sum(
        line.times * scale[line.per]
        for line in hlo.instructions(program.as_text())
        if not line.fused and line.operation not in hlo.FREE
    )
    work = roofline.Work(
        plan["flops"]["products"] / machine.count,
        must_move(plan["bytes_per_device"]["estimate"]),
        pieces,
        [replace(c, times=c.times * scale[c.per]) for c in found if scale[c.per]],
        prepared.experiment.training.precision,
    )
    said = roofline.assumptions(machine, work.precision)
    if any(c.per == "round" for c in found):
        said.append(f"loops whose length the batch decides are taken for {rounds:.2g} rounds each")
    if sparse_tables(prepared.system, prepared.experiment.training):
        said.append("training.rows: a step's two ways, of few rows and of whole tables, are counted both; one is taken")
    own = {"wire_bytes": round(sum(c.times * c.wire_bytes for c in work.collectives)), "pieces": round(pieces)}
    estimate = (
        roofline.estimate(machine, prepared.mesh.devices.flat, work) | own | {"rounds": rounds, "assumptions": said}
    )
    return judged | {"estimate": estimate}


def must_move(guess: dict[str, int]) -> int:
    """Bytes that a step must move to and from a chip's memory, of `memory.estimate`: each written and read once."""
    return 2 * (guess["parameters"] + guess["optimizer"] + guess["gradients"] + guess["activations"])


def rounds_of(prepared: Prepared) -> float:
    """Rounds of a loop whose length the program does not know: parts of a batch sorted by length, over all lengths."""
    training = prepared.experiment.training
    if training.by_length < 2:
        return 1.0
    texts = [prepared.batch[name].shape[-1] for name in prepared.system.entry.texts if name in prepared.batch]
    return training.by_length / len(lengths_up_to(max(texts, default=1)))
