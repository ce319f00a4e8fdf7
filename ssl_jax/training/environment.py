"""What a figure of a run depends on besides its configuration: versions, the state of the code, and devices."""

import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

EXPERIMENTS = "experiments"
"""The folder beside the package that is code as well."""
LISTED = 50
"""Files that are named at most."""


def environment() -> dict[str, Any]:
    """Versions, revision and devices: what a figure of this run depends on besides the configuration."""
    packages = (
        "jax",
        "jaxlib",
        "libtpu",
        "flax",
        "optax",
        "orbax-checkpoint",
        "grain",
        "numpy",
        "sentencepiece",
    )
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in packages},
        "revision": _git("describe", "--always", "--dirty", "--abbrev=40"),
        "uncommitted": _uncommitted(),
        "devices": [device.device_kind for device in jax.devices()],
        "processes": jax.process_count(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _uncommitted() -> list[str] | None:
    """Files of the code that are changed or new since the revision; None where that is not known."""
    status = _git("status", "--porcelain", "--untracked-files=all", "--", ".", f"../{EXPERIMENTS}")
    if status is None:
        return None
    files = [line[3:] for line in status.splitlines()]
    return files if len(files) <= LISTED else [*files[:LISTED], f"and {len(files) - LISTED} more"]


def _git(*words: str) -> str | None:
    """What a git command says of the code; None if the code is in no repository, as when it was installed by pip."""
    source = Path(__file__).resolve().parents[1]
    try:
        done = subprocess.run(
            ["git", "-C", str(source), *words], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.rstrip()
