"""Eight simulated CPU devices, one compile cache for the commands that tests start, and the shared real data.

JAX reads its settings once, so they are made here, before a test imports it.
"""

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Most of a test's time is compiling, which takes a third less without XLA's costly passes; programs are as right.
# JAX_DISABLE_MOST_OPTIMIZATIONS=0 tests them as users have them, and so does .ci/run with the parity tests.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
if "PYTEST_XDIST_WORKER" in os.environ:  # one core a worker, or they take each other's
    os.environ.setdefault("NPROC", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import jax
import pytest

from jaxtag.parallel.compiling import cache_folder

ROOT = Path(__file__).resolve().parent.parent

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_default_prng_impl", "threefry2x32")
# The commands that tests start see one device, as a user's would, and share the cache.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache_folder()))
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _compile_meshes_anew() -> None:
    """Never read a program over several devices back from the cache.

    `jaxtag.parallel.compiling` says why, and turns the whole cache off. Here, programs of one device are still
    read: JAX has no public setting for that, and where its internals are others than in 0.10, the cache is off.
    """
    try:
        from jax._src import compiler

        read, write = compiler._cache_read, compiler._cache_write
    except (ImportError, AttributeError):
        jax.config.update("jax_enable_compilation_cache", False)
        return

    def guarded(*arguments: Any) -> tuple[Any, Any]:
        devices = arguments[-1]
        return read(*arguments) if len(devices) == 1 else (None, None)

    def kept(key: Any, seconds: Any, name: Any, backend: Any, executable: Any, callbacks: Any) -> None:
        if len(executable.local_devices()) == 1:  # else it would be packed and written for nothing
            write(key, seconds, name, backend, executable, callbacks)

    compiler._cache_read, compiler._cache_write = guarded, kept


_compile_meshes_anew()
# Tracing makes millions of small objects, which the collector would go through 14 times as often.
gc.set_threshold(10_000, 10, 10)
gc.freeze()

# The files that take longest, roughly in this order: 20 seconds and more.
LONGEST = (
    "test_battery", "test_training", "test_fuzz", "test_kills", "test_reproduce", "test_zero_shot_runs",
    "test_distributed", "test_reproduce_lxmert4hashtag", "test_reproduce_amnn", "test_lxmert_runs", "test_lxmert",
    "test_plan_topologies", "test_study", "test_population", "test_sweep", "test_reproduce_hmemn2n", "test_together",
    "test_zero_shot_options", "test_zero_shot_cli", "test_blocked_softmax", "test_decoded_runs", "test_launch_local",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that no worker is left alone with one."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file goes to one worker whole, or both would make what its tests share; files keep their order."""
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real posts beside the checkout; a test that asks for it is skipped where there is none."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no ../shared/data beside the checkout")
    return folder


@pytest.fixture(scope="module")
def one_device() -> Iterator[None]:
    """Runs on one device, so that programs are compiled once and read back from the cache."""
    from jaxtag import runs
    from jaxtag.parallel.mesh import make_mesh

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "make_mesh", lambda parallel, devices=None: make_mesh(parallel, jax.devices()[:1]))
        yield


@pytest.fixture(scope="module", autouse=True)
def programs_of_a_module() -> Iterator[None]:
    """Lets go of a file's compiled programs: a process may map 65,530 pieces of memory, and each program is some."""
    yield
    jax.clear_caches()
