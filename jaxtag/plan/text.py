"""A plan as a person reads it."""

from typing import Any

from jaxtag.data.posts import shapes
from jaxtag.plan import machine_text
from jaxtag.plan.units import size

LARGEST = 12  # parameters that are shown of a plan for a machine


def render(plan: dict[str, Any]) -> str:
    """All of `jaxtag.plan.plan.describe`'s outcome as text for a terminal."""
    parts = [_head(plan), _table(plan), _flops(plan), _bytes(plan), _talk(plan)]
    if "topology" in plan:
        parts.append(machine_text.verdict(plan))
    took = f"traced in {plan['seconds']['trace']} s, compiled in {plan['seconds']['compile']} s; nothing was run"
    return "\n\n".join("\n".join(part) for part in [*parts, [took]])


def _head(plan: dict[str, Any]) -> list[str]:
    w = plan["workload"]
    lengths = ", ".join(f"{name} {' x '.join(map(str, s))}" for name, s in shapes(w["lengths"], w["earlier"]).items())
    axes = " x ".join(f"{axis} {n}" for axis, n in plan["mesh"].items())
    return [
        f"{plan.get('recipe', plan['system'])} ({plan['system']}), {plan['devices']['count']} x "
        f"{plan['devices']['kind']}{_there(plan['devices'])}, mesh {axes}",
        f"{w['words']:,} words, {w['hashtags']:,} hashtags, {w['posts']:,} training posts ({w['source']}); "
        f"columns {w['placement']}",
        f"a step: {plan['batch']:,} posts; values a post: {lengths}",
    ]


def _there(devices: dict[str, Any]) -> str:
    """How real the devices are."""
    return ", not there" if devices.get("absent") else ", simulated" if devices.get("simulated") else ""


def _table(plan: dict[str, Any]) -> list[str]:
    rows = [("parameter", "shape", "axes", "split over", "bytes a device")]
    shown = plan["leaves"]
    if "topology" in plan:
        shown = sorted(shown, key=lambda leaf: -leaf["bytes_per_device"])[:LARGEST]
    for leaf in shown:
        over = ", ".join(" x ".join(part) or "-" for part in leaf["mesh_axes"]) if any(leaf["mesh_axes"]) else "-"
        rows.append((leaf["parameter"], " x ".join(map(str, leaf["shape"])),
                     ", ".join(a or "-" for a in leaf["axes"]), over, size(leaf["bytes_per_device"])))  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = ["  ".join([*(c.ljust(w) for c, w in zip(row[:4], widths)), row[4].rjust(widths[4])]) for row in rows]
    lines.insert(1, "  ".join("-" * w for w in widths))
    more = len(plan["leaves"]) - len(shown)
    lines.append(f"{plan['parameters']:,} parameters" + f" ({more} smaller arrays of them: --json)" * (more > 0))
    held = plan["replicated"]
    if held["parameters"]:
        options = ", ".join(f"--parallel.{axis}" for axis in held["axes"])
        lines.append(f"whole on every device: {size(held['bytes_per_device'])} in {len(held['parameters'])} parameters "
                     f"that rules would split, on a mesh with more than 1 in {options}")  # fmt: skip
    return lines


def _flops(plan: dict[str, Any]) -> list[str]:
    f = plan["flops"]
    theirs = f["compiler_per_device"]
    said = f"; the compiler's count, loop bodies once: {theirs:.3e}" if theirs is not None else ""
    return [
        "floating-point operations of a step",
        f"  {f['step']:.3e} in all: {f['products']:.3e} in matrix products, {f['elementwise']:.3e} in the rest",
        f"  {f['step_per_device']:.3e} a device{said}",
    ]


def _bytes(plan: dict[str, Any]) -> list[str]:
    guess, found = plan["bytes_per_device"]["estimate"], plan["bytes_per_device"]["compiled"]
    left = [(name, size(value)) for name, value in guess.items()]
    right = [(name, size(value)) for name, value in found.items()] or [("not reported", "")]
    lines = ["bytes a device", f"  {'estimated from shapes':<30}as compiled"]
    for i in range(max(len(left), len(right))):
        pair = [side[i] if i < len(side) else ("", "") for side in (left[:-1], right[:-1])]
        lines.append("  " + "".join(f"{name:<14}{value:>12}    " for name, value in pair).rstrip())
    total = "".join(f"{name:<14}{value:>12}    " for name, value in (left[-1], right[-1])).rstrip()
    return [line for line in lines if line.strip()] + ["  " + total]


def _talk(plan: dict[str, Any]) -> list[str]:
    lines = ["collectives, each device"]
    for row in plan["collectives"]:
        lines.append(f"  {row['kind']:<20}{row['count']:>5} a {row['per']:<9}among {row['among']:<6}"
                     f"{size(row['bytes']):>12} in results{size(row['wire_bytes']):>12} sent")  # fmt: skip
    if not plan["collectives"]:
        lines.append("  none")
    if any(row["per"] == "round" for row in plan["collectives"]):
        lines.append("  a round: of a loop within the step, whose length the batch decides")
    return lines
