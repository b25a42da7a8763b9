"""Devices to compile for: those there are, or CPU devices simulated in their place."""

import contextlib
import os
from collections.abc import Sequence
from typing import Any

import jax

from jaxtag.errors import JaxtagError


def devices(count: int = 0) -> Sequence[Any]:
    """`count` devices, by default all there are; where there are fewer, as many CPU devices are simulated.

    Called before JAX has started its devices: afterwards their number is settled.

    Raises:
      JaxtagError: `count` is negative, or JAX has started with fewer.
    """
    if count < 0:
        raise JaxtagError(f"--devices is {count}; it must be 1 or more")
    if not count:
        return jax.devices()
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        with contextlib.suppress(RuntimeError):  # started already, as in a test: what is there must do
            jax.config.update("jax_num_cpu_devices", count)
    for found in (jax.devices(), jax.devices("cpu")):
        if len(found) >= count:
            return found[:count]
    raise JaxtagError(
        f"JAX has started with {len(jax.devices('cpu'))} CPU devices, {count} are asked for",
        "ask for fewer, or leave XLA_FLAGS alone",
    )
