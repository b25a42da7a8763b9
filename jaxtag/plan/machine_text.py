"""What a plan says of a machine that is not there, as a person reads it: a step's time, meshes tried, weak scaling."""

from typing import Any

from jaxtag.plan.units import size, time

PARTS = {
    "compute": "matrix products",
    "memory": "to and from memory",
    "starts": "pieces of work started",
    "talk": "collectives",
}

TRIED = ("data", "fsdp", "tensor", "bytes a device", "sent a device", "a step, by rule", "compiled: bytes", "a step")
SHOWN = 12  # meshes that are shown


def verdict(plan: dict[str, Any]) -> list[str]:
    """Whether a step fits a chip, how long it takes, and what that rests on."""
    about, fits = plan["topology"], plan["fits"]
    lines = [f"on {about['name']}: {about['chips']} x {about['chip']}, of whose memory a program may use "
             f"{size(about['usable'])}"]  # fmt: skip
    if not fits["fits"]:
        lines.append(f"  does not fit: {fits['said'] or size(plan['bytes_per_device']['compiled']['total'])}")
    else:
        lines.append(f"  fits: {size(plan['bytes_per_device']['compiled']['total'])} of it are taken")
    if "estimate" not in plan:
        return lines
    e = plan["estimate"]
    low, high = e["seconds"]["low"], e["seconds"]["high"]
    lines.append(
        f"  a step takes {time(low)} to {time(high)}: {plan['batch'] / high:,.0f} to "
        f"{plan['batch'] / low:,.0f} posts a second, MFU {e['mfu']['low']:.1%} to {e['mfu']['high']:.1%}"
    )
    for name, (most, least) in e["parts"].items():
        more = {"starts": f"   {e['pieces']:,} pieces", "talk": f"   {size(e['wire_bytes'])} sent by a device"}.get(
            name, ""
        )
        lines.append(f"    {PARTS[name]:<24}{time(least):>10} to {time(most):>10}{more}")
    lines.append("  assumed:")
    return lines + [f"    {sentence}" for sentence in e["assumptions"]]


def tried(found: dict[str, Any]) -> str:
    """The meshes that were tried, and what to give to `jaxtag train`."""
    about, best = found["topology"], found["best"]
    lines = [f"{found['recipe']} on {about['name']}: {about['chips']} x {about['chip']}, {size(about['usable'])} each, "
             f"batch {found['batch']:,}", ""]  # fmt: skip
    rows: list[tuple[str, ...]] = [(*TRIED, "")]
    fastest = sorted(found["meshes"], key=lambda row: (not row["compiled"], sum(row["guess"]["seconds"].values())))
    for row in fastest[:SHOWN]:
        rows.append((*(str(row["mesh"][axis]) for axis in TRIED[:3]), *_guess(row), *_compiled(row),
                     row["said"] + "  <- the fastest that fits" * (row["mesh"] == best)))  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    lines += ["  ".join([*(c.rjust(w) for c, w in zip(row, widths)), row[-1]]).rstrip() for row in rows]
    if (more := len(fastest) - SHOWN) > 0:
        lines.append(f"{more} meshes more that are slower by the rule: --json")
    if left := found["refused"]:
        lines.append(f"{left['meshes']} more meshes do not divide: {left['first']}")
    options = " ".join(f"--parallel.{axis} {n}" for axis, n in best.items()) if best else ""
    lines += ["", f"give to jaxtag train: {options}" if best else "none of the meshes that were compiled fits"]
    return "\n".join([*lines, "", "assumed:", *(f"  {sentence}" for sentence in found["assumptions"])])


def _guess(row: dict[str, Any]) -> tuple[str, str, str]:
    guess = row["guess"]
    return size(guess["bytes"]), size(guess["wire_bytes"]), _span(guess["seconds"])


def _compiled(row: dict[str, Any]) -> tuple[str, str]:
    found = row["compiled"]
    if not found:
        return "-", "-"
    return (size(found["bytes"]) if found["bytes"] else "too many"), (
        _span(found["seconds"]) if found["seconds"] else "-"
    )


def _span(seconds: dict[str, float]) -> str:
    return f"{time(seconds['low'])} to {time(seconds['high'])}"


def scaling(found: dict[str, Any]) -> str:
    """Weak scaling: a chip's batch stays, chips are added."""
    rows = [("machine", "chips", "batch", "a step", "collectives", "sent a device", "MFU", "efficiency")]
    for row in found["machines"]:
        span = row["efficiency"]
        rows.append((row["name"], f"{row['chips']:,}", f"{row['batch']:,}", _span(row["seconds"]),
                     f"{time(row['talk'][1])} to {time(row['talk'][0])}", size(row["wire_bytes"]),
                     f"{row['mfu']['low']:.1%} to {row['mfu']['high']:.1%}",
                     f"{span['low']:.1%} to {span['high']:.1%}"))  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [f"{found['recipe']}, weak scaling: {found['batch_per_chip']:,} posts a chip and step"]
    lines += ["  ".join(c.rjust(w) for c, w in zip(row, widths)) for row in rows]
    lines.append("efficiency: seconds of the same work with nobody to talk to over these, at the worse and the better "
                 "of what is assumed")  # fmt: skip
    lines.append("assumed:")
    return "\n".join([*lines, *(f"  {sentence}" for sentence in found["assumptions"])])
