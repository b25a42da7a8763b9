"""Before a long run: does every device of every process answer, and how long does one all-reduce take?"""

import socket
import time
from typing import Any

from jaxtag.errors import JaxtagError
from jaxtag.parallel import distributed, watchdog

NUMBERS = 1 << 20  # float32 that each device adds: 4 MiB
TIMES = 5


def preflight(numbers: int = NUMBERS, times: int = TIMES) -> dict[str, Any]:
    """Add up `numbers` of every device on every device, and again `times` times.

    Returns:
      `devices`, how many in all; `mib` that each added; and of each process in `processes` its `host`, `devices` (its
      own, by name), `first_seconds` with compiling, and `seconds`, the median of the others. The same on every process.

    Raises:
      JaxtagError: a sum is wrong; the message names the processes where it is.
    """
    import jax
    import numpy as np
    from jax.sharding import PartitionSpec

    from jaxtag.parallel.mesh import AXES, make_mesh, put_part

    mesh = make_mesh(_flat())
    count = mesh.size
    added = jax.jit(
        jax.shard_map(
            lambda x: jax.lax.psum(x, AXES), mesh=mesh, in_specs=PartitionSpec(AXES), out_specs=PartitionSpec(),
            check_vma=False,
        )
    )  # fmt: skip
    mine = [d for d in mesh.devices.flat if d.process_index == jax.process_index()]
    places = [i for i, d in enumerate(mesh.devices.flat) if d in mine]
    values = np.repeat(np.arange(places[0], places[-1] + 1, dtype=np.float32)[:, None], numbers, 1)
    given, took = put_part(values, mesh, count), []
    for _ in range(1 + times):
        begun = time.perf_counter()
        found = jax.block_until_ready(added(given))
        took.append(time.perf_counter() - begun)
        watchdog.tell("in an all-reduce over every device")
    right = bool((np.asarray(found.addressable_shards[0].data) == count * (count - 1) / 2).all())
    told = {
        "host": socket.gethostname(),
        "devices": [str(d) for d in mine],
        "first_seconds": round(took[0], 4),
        "seconds": round(sorted(took[1:])[times // 2], 6),
        "right": right,
    }
    rows = distributed.gather("preflight", told)
    if wrong := [str(i) for i, row in enumerate(rows) if not row["right"]]:
        raise JaxtagError(
            f"an all-reduce over {count} devices gave a wrong sum on process {', '.join(wrong)}",
            "try another all-reduce with fewer hosts, to find the device",
        )
    return {"devices": count, "mib": round(4 * numbers / 2**20, 3), "processes": rows}


def _flat() -> Any:
    from jaxtag.experiment import Parallel

    return Parallel(data=-1, fsdp=1, tensor=1)
