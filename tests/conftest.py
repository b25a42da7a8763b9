"""Eight simulated CPU devices, one compile cache for the commands that tests start, and the shared real data.

JAX reads its settings once, so they are made here, before a test imports it.
"""

import os
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "PYTEST_XDIST_WORKER" in os.environ:  # one core a worker, or they take each other's
    os.environ.setdefault("NPROC", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from jaxtag.parallel.simulated import order_collectives

order_collectives()

import jax
import pytest

from jaxtag.parallel.compiling import keep_compiled

ROOT = Path(__file__).resolve().parent.parent

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_default_prng_impl", "threefry2x32")
# A program over several CPU devices that is read back from the cache has lost the order of its collectives:
# devices then wait for each other for ever. So the tests' own process compiles everything anew.
keep_compiled()
jax.config.update("jax_enable_compilation_cache", False)
# The commands that tests start see one device, as a user's would, and share the cache.
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(jax.config.jax_compilation_cache_dir)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real posts beside the checkout; a test that asks for it is skipped where there is none."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no ../shared/data beside the checkout")
    return folder
