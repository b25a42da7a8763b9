"""How much memory devices have."""

import jax

SHARE = 0.5  # of a device's memory, that columns may take: the rest is the model's


def allowed_mib(asked: float) -> tuple[float, str]:
    """MiB that columns may take on each device, at most `asked`, data.resident_mib; and what sets the limit.

    A device that does not tell its memory, such as a CPU, sets none. What else lies on a device is not asked for: all
    hosts of a run decide alike.
    """
    told = [(device.memory_stats() or {}).get("bytes_limit") for device in jax.local_devices()]
    least = min((SHARE * limit / 2**20 for limit in told if limit), default=asked)
    return (least, "half of its memory") if least < asked else (asked, "data.resident_mib")
