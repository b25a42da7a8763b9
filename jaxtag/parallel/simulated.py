"""Simulated CPU devices that cannot wait for each other for ever. Runs before JAX is imported."""

import os

FLAG = "--xla_cpu_enable_concurrency_optimized_scheduler=false"
SIMULATING = "--xla_force_host_platform_device_count"


def order_collectives(always: bool = False) -> None:
    """Where CPU devices are simulated, have XLA run their collectives in one order; before JAX starts them.

    XLA's CPU back end runs what does not depend on each other at once, in an order that differs from device
    to device. With more simulated devices than cores, one waits in one collective and another in the next,
    for ever, and XLA ends the process after 40 seconds: seen in half of the runs of a mesh of 2 x 4 on 2
    cores, and with this flag in none of 12. A user's own setting of it stays.

    Args:
      always: also where XLA_FLAGS asks for no simulated devices, because they are asked for otherwise.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    simulating = always or SIMULATING in flags or os.environ.get("JAX_NUM_CPU_DEVICES", "1") != "1"
    if simulating and FLAG.split("=")[0] not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {FLAG}".strip()
