"""How fast a device can be at most: what its maker says, and what a plain product and a plain copy reach on it.

The table holds dense rates, without sparsity, of a device as JAX counts them (a core of a TPU v2 or v3, a chip of later
ones), at boost clocks. A GPU multiplies float32 matrices as TF32 unless `jax_default_matmul_precision` says otherwise,
which is the rate that is given for float32 where there is one.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp

TERA, GIGA = 1e12, 1e9


@dataclass(frozen=True)
class Peak:
    """What a device does at most.

    Attributes:
      bfloat16, float32: floating-point operations of matrix products a second, by the type of what is multiplied.
      bandwidth: bytes that its memory reads or writes a second.
    """

    bfloat16: float
    float32: float
    bandwidth: float

    def flops(self, precision: str) -> float:
        """Operations a second in `precision`, bfloat16 or float32."""
        return self.bfloat16 if precision == "bfloat16" else self.float32


# The first whose key is in the device's kind, lower case, is taken. Sources: the makers' data sheets.
_KNOWN: tuple[tuple[str, Peak], ...] = (
    ("gb200", Peak(2500 * TERA, 1250 * TERA, 8000 * GIGA)),
    ("b200", Peak(2250 * TERA, 1125 * TERA, 8000 * GIGA)),
    ("h200", Peak(989 * TERA, 494 * TERA, 4800 * GIGA)),
    ("h100 pcie", Peak(756 * TERA, 378 * TERA, 2000 * GIGA)),
    ("h100 nvl", Peak(835 * TERA, 417 * TERA, 3900 * GIGA)),
    ("h100", Peak(989 * TERA, 494 * TERA, 3350 * GIGA)),
    ("a100-sxm4-80", Peak(312 * TERA, 156 * TERA, 2039 * GIGA)),
    ("a100 80", Peak(312 * TERA, 156 * TERA, 1935 * GIGA)),
    ("a100", Peak(312 * TERA, 156 * TERA, 1555 * GIGA)),
    ("l40s", Peak(362 * TERA, 183 * TERA, 864 * GIGA)),
    ("l4", Peak(121 * TERA, 60 * TERA, 300 * GIGA)),
    ("v100", Peak(15.7 * TERA, 15.7 * TERA, 900 * GIGA)),  # it multiplies float16 faster, and bfloat16 not
    ("t4", Peak(8.1 * TERA, 8.1 * TERA, 320 * GIGA)),
    ("tpu v6", Peak(918 * TERA, 918 * TERA, 1640 * GIGA)),
    ("tpu v5 lite", Peak(197 * TERA, 197 * TERA, 819 * GIGA)),
    ("tpu v5e", Peak(197 * TERA, 197 * TERA, 819 * GIGA)),
    ("tpu v5", Peak(459 * TERA, 459 * TERA, 2765 * GIGA)),
    ("tpu v4", Peak(275 * TERA, 275 * TERA, 1228 * GIGA)),
    ("tpu v3", Peak(61.5 * TERA, 61.5 * TERA, 450 * GIGA)),
    ("tpu v2", Peak(22.5 * TERA, 22.5 * TERA, 350 * GIGA)),
)


def known(kind: str) -> Peak | None:
    """What the maker says of a device of this kind, `jax.Device.device_kind`; None of one that is not in the table."""
    return next((peak for key, peak in _KNOWN if key in kind.lower()), None)


def peak() -> dict[str, Any]:
    """What the first device does at most, and a plain product and copy on it.

    Returns:
      `device`, its kind; `measured`, a `Peak` as values, from `measure`; and `taken`, the one that shares are of: the
      table's, or for a device that is not in it, such as a CPU, the measured; `source` says which.
    """
    kind = jax.devices()[0].device_kind
    measured, table = measure(), known(kind)
    taken, source = (table, "its maker's") if table else (measured, "measured here")
    return {"device": kind, "measured": asdict(measured), "taken": asdict(taken), "source": source}


def measure(width: int = 0, mib: int = 0) -> Peak:
    """The fastest of several square products of `width`, and copies of `mib`, on the first device; 0 suits it.

    Products are of random numbers: zeros and ones, which cost a device less power, run faster. Copies count their
    bytes twice: they are read and written.
    """
    small = jax.default_backend() == "cpu"
    width, mib = width or (1536 if small else 8192), mib or (256 if small else 2048)
    rates = {}
    with jax.default_device(jax.local_devices()[0]):
        for name in ("bfloat16", "float32"):
            a = jax.random.normal(jax.random.key(0), (width, width), name)
            rates[name] = 2 * width**3 / _fastest(jax.jit(lambda a: a @ a), a)
        x = jnp.ones(mib << 18, jnp.float32)
        size = 2 * x.nbytes
        rates["bandwidth"] = size / _fastest(jax.jit(lambda x: x + 1, donate_argnums=0), x, again=True)
    return Peak(**rates)


def _fastest(function: Callable[[Any], Any], given: Any, times: int = 5, again: bool = False) -> float:
    """Seconds of the fastest of several calls, after one that compiles; `again`: each is given what the last gave."""
    found = []
    for _ in range(times + 1):
        started = time.perf_counter()
        result = jax.block_until_ready(function(given))
        found.append(time.perf_counter() - started)
        given = result if again else given
    return min(found[1:])
