"""Compiled programs are kept on disk, so that a command that starts again need not compile them again."""

import contextlib
import hashlib
import os
import platform
import stat
import sys
from pathlib import Path

import jax

from ssl_jax.data.cache import default_cache
from ssl_jax.errors import UserError

KEPT_BYTES = 4 * 2**30
"""Of compiled programs. Where there are more, those go that were not used for the longest time."""


def keep_programs() -> None:
    """Keeps programs that take the compiler more than a second.

    Must come after the processes have met, and before the first program is compiled.

    They are in a folder of the user's cache that nobody else may write to, because compiled programs are run. They are
    never in a run folder, which may be a copy of a stranger's. `JAX_COMPILATION_CACHE_DIR` names another place, which
    may be on gs://, and `JAX_ENABLE_COMPILATION_CACHE=false` keeps none. A cache that cannot be written is no mistake:
    programs are then compiled at each start.

    None is kept or read where a run has several CPU devices. XLA writes a program without the order of its collectives,
    and devices that begin different ones wait for each other until XLA ends the process (seen with jaxlib 0.10.2).
    """
    if jax.default_backend() == "cpu" and jax.device_count() > 1:
        jax.config.update("jax_enable_compilation_cache", False)
        return
    if jax.config.jax_compilation_cache_dir is not None:
        return
    try:
        folder = default_cache() / f"programs-{os.getuid()}-{_machine()}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_private(folder):
            print(
                f"{folder}: other users may write there, so that its compiled programs are not run and none is kept. "
                "Remove it, or set SSL_JAX_CACHE to a folder of your own.",
                file=sys.stderr,
            )
            return
        make_room(folder, KEPT_BYTES)
    except (UserError, OSError):
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))


def make_room(folder: Path, limit: int) -> None:
    """Removes the files of a folder that were not used for the longest time, until it has at most `limit` bytes."""
    found = {}
    for file in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another process makes room as well
            found[file] = file.stat()
    total = sum(about.st_size for about in found.values())
    for file, about in sorted(found.items(), key=lambda item: max(item[1].st_atime, item[1].st_mtime)):
        if total <= limit:
            return
        file.unlink(missing_ok=True)
        total -= about.st_size


def _is_private(folder: Path) -> bool:
    """Whether a folder is this user's, is no link, and may be written by nobody else."""
    about = folder.lstat()
    return (
        stat.S_ISDIR(about.st_mode)
        and about.st_uid == os.getuid()
        and not about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def _machine() -> str:
    """A name for the instructions that this CPU has.

    Programs for CPUs use all of them, JAX does not compare them, and a home folder may be shared by different machines.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # there is none on macOS
        lines = []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    return f"{platform.machine()}-{hashlib.sha256(flags.encode()).hexdigest()[:8]}"
