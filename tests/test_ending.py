"""How a command ends when it is asked to."""

import os
import signal
import time

import pytest

from jaxtag.ending import stoppable
from jaxtag.errors import Stopped


class Slow:
    """A finalizer in which SIGTERM arrives: Python drops what a handler raises there."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):
            pass


def test_a_signal_within_a_finalizer_still_stops() -> None:
    with pytest.raises(Stopped), stoppable():
        slow = Slow()
        del slow
        for _ in range(100):
            time.sleep(0.05)
