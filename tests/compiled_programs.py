"""One cache of compiled programs for all tests, but for those of several CPU devices."""

from typing import Any

import jax
from jax._src import compilation_cache  # JAX has no public way to keep some programs and others not

from tests.processes import CACHED_FROM


def keep_programs(folder: str) -> None:
    """Keeps programs of several CPU devices in this process, and all others in a folder.

    XLA writes a program for CPUs without the order of its collectives (jaxlib 0.10.2). Of a program that was read, two
    devices may begin different ones, and wait for each other until XLA aborts the process after 40 s.
    """
    kept: dict[str, tuple[Any, int]] = {}
    read, write = compilation_cache.get_executable_and_time, compilation_cache.put_executable_and_time

    def get(key: str, *rest: Any) -> tuple[Any, int | None]:
        return kept[key] if key in kept else read(key, *rest)

    def put(key: str, name: str, executable: Any, backend: Any, seconds: int) -> None:
        # A program for a slice that is not there knows no devices.
        if backend.platform == "cpu" and len(executable.local_devices()) > 1:
            kept[key] = executable, seconds
        else:
            write(key, name, executable, backend, seconds)

    compilation_cache.get_executable_and_time, compilation_cache.put_executable_and_time = get, put
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", CACHED_FROM)
    jax.block_until_ready(
        jax.numpy.zeros(3)
    )  # opens the cache: commands that tests call would forbid it for 8 devices
