"""Compiled programs kept on disk, so that a second start does not compile again; and how long compiling took."""

import hashlib
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import jax
from jax import monitoring

# What JAX tells of itself while it makes programs; the compiler's seconds hold those of reading a kept program.
_SECONDS = {
    "/jax/core/compile/jaxpr_trace_duration": "trace_seconds",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "trace_seconds",
    "/jax/core/compile/backend_compile_duration": "compile_seconds",
}
_COUNTS = {"/jax/core/compile/backend_compile_duration": "programs"}
_READ = "/jax/compilation_cache/cache_hits"


def _processor() -> str:
    """What the compiler optimises for: a program for one kind of CPU may not run on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n")
    except OSError:
        lines = []
    known = [line for line in lines if line.startswith(("model name", "flags", "Features"))][:2]
    return hashlib.sha256("\n".join([platform.machine(), platform.processor(), *known]).encode()).hexdigest()[:12]


def cache_folder() -> Path:
    """Where compiled programs are kept: in the user's cache folder, a folder per kind of CPU and JAX version."""
    base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return base / "jaxtag" / "compiled" / f"{_processor()}-jax{jax.__version__}"


def keep_compiled() -> None:
    """Turn JAX's persistent compilation cache on, for programs of any size; starts the devices.

    Settings that the user made, by JAX_COMPILATION_CACHE_DIR or JAX_ENABLE_COMPILATION_CACHE, stay as they are.

    Not where several CPU devices are simulated: a program over them that is read back has lost the order of its
    collectives, so that some devices wait in one and some in the next, for ever, until XLA ends the process.
    On meshes of 2 x 4 and 2 x 2 x 2 over 2 cores, 6 of 7 programs that were read back did so, and none of 10
    that were compiled (JAX 0.10.2).
    """
    spent()
    if not _readable():
        jax.config.update("jax_enable_compilation_cache", False)
        return
    settings: Any = jax.config  # its settings are made while it runs
    if settings.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _readable() -> bool:
    """Whether a program read back from disk is the one that was kept; see `keep_compiled`."""
    return jax.default_backend() != "cpu" or jax.device_count() == 1


@contextmanager
def caching(folder: str | Path) -> Iterator[bool]:
    """While open, compiled programs are kept in `folder`, if it is True that they can be; for measurements."""
    from jax.experimental.compilation_cache import compilation_cache

    least = ("min_compile_time_secs", "min_entry_size_bytes")
    names = ("jax_compilation_cache_dir", *(f"jax_persistent_cache_{name}" for name in least))
    before = {name: getattr(jax.config, name) for name in names}
    if not (_readable() and jax.config.jax_enable_compilation_cache):  # pyright: ignore[reportAttributeAccessIssue]
        yield False
        return
    try:
        for name, value in zip(names, (str(folder), 0.0, -1)):
            jax.config.update(name, value)
        compilation_cache.reset_cache()
        yield True
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()


def spent() -> dict[str, float]:
    """How long this process has made programs, since this was first called (`keep_compiled` does).

    Returns:
      `compile_seconds` in the compiler, or reading what it made before; `trace_seconds` in Python, before that, which
      no cache spares (a function traced inside another counts in both); `programs` made, and how many of them were
      `programs_kept` on disk.
    """
    told = _listening()
    with _TELLING:
        return {name: round(value, 3) if name.endswith("seconds") else int(value) for name, value in told.items()}


_TELLING = threading.Lock()


@cache
def _listening() -> dict[str, float]:
    """What `spent` tells, kept up to date from here on."""
    told: dict[str, float] = dict.fromkeys(("compile_seconds", "trace_seconds", "programs", "programs_kept"), 0.0)

    def lasted(event: str, duration_secs: float, **kwargs: Any) -> None:
        with _TELLING:
            if event in _SECONDS:
                told[_SECONDS[event]] += duration_secs
            if event in _COUNTS:
                told[_COUNTS[event]] += 1

    def happened(event: str, **kwargs: Any) -> None:
        with _TELLING:
            told["programs_kept"] += event == _READ

    monitoring.register_event_duration_secs_listener(lasted)
    monitoring.register_event_listener(happened)
    return told
