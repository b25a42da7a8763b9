"""Eight simulated CPU devices, one compile cache for every test and worker, and the shared real data.

JAX reads its settings once, so they are made here, before a test imports it.
"""

import os
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "PYTEST_XDIST_WORKER" in os.environ:  # one core a worker for the oracles, or they take each other's
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from jaxtag.parallel.threads import give_threads

give_threads(8)

import jax
import pytest

from jaxtag.parallel.compiling import keep_compiled

ROOT = Path(__file__).resolve().parent.parent

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_default_prng_impl", "threefry2x32")
keep_compiled()
jax.devices()  # starts the devices, with the threads given above
# Commands that tests start read the same cache; they see one device, as a user's would, and a core each.
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(jax.config.jax_compilation_cache_dir)
os.environ["NPROC"] = "1" if "PYTEST_XDIST_WORKER" in os.environ else str(os.cpu_count())
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real posts beside the checkout; a test that asks for it is skipped where there is none."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no ../shared/data beside the checkout")
    return folder
