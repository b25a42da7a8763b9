"""A run's training program compiled in a thread, while its columns are sent and its first state is made."""

import contextlib
import threading
from typing import Any

import jax
import numpy as np

from jaxtag.data.batches import Resident, Source
from jaxtag.runs import Bound


class Ahead:
    """A jitted function that is compiled meanwhile, for arguments of these shapes, types and places.

    `jit` keeps what is compiled so, and a call finds it. What goes wrong is not said here: the call does the same
    again, and raises it where it is seen. A run of several processes compiles when it is called: all at one place.
    """

    def __init__(self, program: Any, *arguments: Any):
        """Begin; `arguments` may be abstract."""

        def compile() -> None:
            with contextlib.suppress(Exception):
                program.lower(*arguments).compile()

        self._thread = threading.Thread(target=compile, name="compile")
        if jax.process_count() == 1:
            self._thread.start()

    def wait(self) -> None:
        """Return once it is compiled; a call before would compile it too."""
        if self._thread.ident is not None:
            self._thread.join()


def feed_of(bound: Bound, source: Source) -> Any:
    """What a dispatch is fed from `source`, perhaps abstract."""
    if isinstance(source, Resident):
        return source.feed(0, 1)
    many, size, lies = source.steps, bound.experiment.training.batch, source.feed_shardings()
    shaped = lambda shape, dtype: jax.ShapeDtypeStruct((many, size, *shape), np.dtype(dtype), sharding=lies)  # noqa: E731
    return {name: shaped(shape, dtype) for name, (shape, dtype) in bound.reading.types().items()}
