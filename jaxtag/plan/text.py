"""A plan as a person reads it."""

from typing import Any

from jaxtag.data.posts import shapes

UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def size(count: float) -> str:
    """Bytes in the largest unit that leaves at least 1: 1536 is `1.5 KiB`."""
    for unit in UNITS:
        if count < 1024 or unit == UNITS[-1]:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError


def render(plan: dict[str, Any]) -> str:
    """All of `jaxtag.plan.plan.describe`'s outcome as text for a terminal."""
    return "\n".join([*_head(plan), "", *_table(plan), "", *_flops(plan), "", *_bytes(plan), "", *_talk(plan)])


def _head(plan: dict[str, Any]) -> list[str]:
    w = plan["workload"]
    lengths = ", ".join(f"{name} {' x '.join(map(str, s))}" for name, s in shapes(w["lengths"], w["earlier"]).items())
    axes = " x ".join(f"{axis} {n}" for axis, n in plan["mesh"].items())
    return [
        f"{plan.get('recipe', plan['system'])} ({plan['system']}), {plan['devices']['count']} x "
        f"{plan['devices']['kind']}{', simulated' if plan['devices'].get('simulated') else ''}, mesh {axes}",
        f"{w['words']:,} words, {w['hashtags']:,} hashtags, {w['posts']:,} training posts ({w['source']}); "
        f"columns {w['placement']}",
        f"a step: {plan['batch']:,} posts; values a post: {lengths}",
    ]


def _table(plan: dict[str, Any]) -> list[str]:
    rows = [("parameter", "shape", "axes", "split over", "bytes a device")]
    for leaf in plan["leaves"]:
        over = ", ".join(" x ".join(part) or "-" for part in leaf["mesh_axes"]) if any(leaf["mesh_axes"]) else "-"
        rows.append((leaf["parameter"], " x ".join(map(str, leaf["shape"])),
                     ", ".join(a or "-" for a in leaf["axes"]), over, size(leaf["bytes_per_device"])))  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = ["  ".join([*(c.ljust(w) for c, w in zip(row[:4], widths)), row[4].rjust(widths[4])]) for row in rows]
    lines.insert(1, "  ".join("-" * w for w in widths))
    lines.append(f"{plan['parameters']:,} parameters")
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
    s = plan["seconds"]
    lines = ["collectives, each device"]
    for row in plan["collectives"]:
        lines.append(f"  {row['kind']:<20}{row['count']:>5} a {row['per']:<9}{size(row['bytes']):>12} in results"
                     f"{size(row['wire_bytes']):>12} sent")  # fmt: skip
    if not plan["collectives"]:
        lines.append("  none")
    return [*lines, "", f"traced in {s['trace']} s, compiled in {s['compile']} s; nothing was run"]
