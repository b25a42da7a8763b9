"""Compiled programs kept on disk, so that a second start does not compile again."""

import hashlib
import os
import platform
from pathlib import Path
from typing import Any

import jax


def _processor() -> str:
    """What the compiler optimises for: a program for one kind of CPU may not run on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n")
    except OSError:
        lines = []
    known = [line for line in lines if line.startswith(("model name", "flags", "Features"))][:2]
    return hashlib.sha256("\n".join([platform.machine(), platform.processor(), *known]).encode()).hexdigest()[:12]


def keep_compiled() -> None:
    """Turn JAX's persistent compilation cache on, in the user's cache folder, for programs of any size.

    A folder per kind of CPU and JAX version. Settings that the user made, by JAX_COMPILATION_CACHE_DIR or
    JAX_ENABLE_COMPILATION_CACHE, stay as they are.
    """
    settings: Any = jax.config  # its settings are made while it runs
    if settings.jax_compilation_cache_dir is None:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
        folder = base / "jaxtag" / "compiled" / f"{_processor()}-jax{jax.__version__}"
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
