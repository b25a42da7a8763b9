"""Simulated CPU devices that cannot wait for each other for ever. Runs before JAX is imported."""

import os

FLAG = "--xla_cpu_enable_concurrency_optimized_scheduler=false"


def order_collectives() -> None:
    """Have XLA run the collectives of a CPU program in one order; called before JAX starts its devices.

    XLA's CPU back end runs what does not depend on each other at once, in an order that differs from device
    to device. With more simulated devices than cores, one waits in one collective and another in the next,
    for ever, and XLA ends the process after 40 seconds: seen in half of the runs of a mesh of 2 x 4 on 2
    cores, and with this flag in none. It costs nothing on accelerators, which it does not reach. A user's
    own setting of it stays.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if FLAG.split("=")[0] not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {FLAG}".strip()
