"""Threads for simulated devices. Imports nothing: it has to run before JAX is imported."""

import os
import re


def give_threads(devices: int | None = None) -> None:
    """Give XLA's CPU threads to spare when it simulates several devices; called before JAX is imported.

    A simulated device may wait in two collectives at once, each wait holding a thread. With no more threads
    than cores (or with NPROC=1) the collectives of 8 devices on 2 cores were seen to wait for each other for
    ever, and XLA then ends the process; with four threads a device they never were.

    Args:
      devices: how many are simulated; by default what XLA_FLAGS says.
    """
    if devices is None:
        said = re.search(r"xla_force_host_platform_device_count=(\d+)", os.environ.get("XLA_FLAGS", ""))
        devices = int(said[1]) if said else 1
    if devices > 1:
        os.environ["NPROC"] = str(max(4 * devices, os.cpu_count() or 1))
