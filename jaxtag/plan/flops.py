"""Floating-point operations of a traced function, counted from its jaxpr.

The compiler's own count (`cost_analysis`) takes the body of a loop once however often it runs, so a recurrent
network or scanned layers come out too low there. Here a scan counts its body times its length, a `while` with an
unknown number of rounds once, and of a `cond` the greater branch.
"""

from collections import Counter
from collections.abc import Callable
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

# Primitives that move or choose numbers and do no arithmetic on them.
MOVING = {
    "broadcast_in_dim", "reshape", "transpose", "slice", "gather", "concatenate", "convert_element_type", "select_n",
    "copy", "copy_p", "pad", "dynamic_slice", "dynamic_update_slice", "iota", "squeeze", "rev", "split",
    "sharding_constraint", "optimization_barrier", "bitcast_convert_type", "random_bits", "device_put",
}  # fmt: skip


def count(function: Callable, *arguments: Any) -> dict[str, int]:
    """Operations of one call of `function` on abstract or real `arguments`.

    Returns:
      `products`: two for each multiply-add of a matrix product or convolution; `elementwise`: one for each number
      that any other floating-point primitive reads or writes, whichever are more.
    """
    found = _count(jax.make_jaxpr(function)(*arguments).jaxpr)
    return {"products": int(found["products"]), "elementwise": int(found["elementwise"])}


def _count(jaxpr: Any) -> Counter:
    total: Counter = Counter()
    for equation in jaxpr.eqns:
        inner = [_count(j) for j in _inside(equation.params)]
        name = equation.primitive.name
        if name == "cond":
            total.update(max(inner, key=lambda c: c["products"]))
        elif inner:
            times = equation.params["length"] if name == "scan" else 1
            for part in inner:
                total.update({key: times * value for key, value in part.items()})
        else:
            total.update(_one(name, equation))
    return total


def _one(name: str, equation: Any) -> dict[str, int]:
    """Operations of a primitive without jaxprs inside."""
    result = equation.outvars[0].aval
    if name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        left = equation.invars[0].aval.shape
        return {"products": 2 * prod(result.shape) * prod(left[d] for d in contracted)}
    if name == "conv_general_dilated":
        kernel, numbers = equation.invars[1].aval.shape, equation.params["dimension_numbers"]
        return {"products": 2 * prod(result.shape) * prod(kernel) // kernel[numbers.rhs_spec[0]]}
    floats = hasattr(result, "dtype") and jnp.issubdtype(result.dtype, jnp.floating)
    if name in MOVING or not floats:
        return {}
    if name.startswith("scatter"):
        return {"elementwise": prod(equation.invars[2].aval.shape)}
    sizes = [prod(v.aval.shape) for v in (*equation.invars, *equation.outvars) if hasattr(v.aval, "shape")]
    return {"elementwise": max(sizes)}


def _inside(params: Any) -> list[Any]:
    """The jaxprs among a primitive's parameters; of a `while`, the body alone."""
    found = []
    for key, value in params.items():
        if key == "cond_jaxpr":
            continue
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, core.ClosedJaxpr):
                found.append(item.jaxpr)
            elif isinstance(item, core.Jaxpr):
                found.append(item)
    return found
