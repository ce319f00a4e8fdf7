"""The run folder: which configuration it belongs to, and what it was run with."""

import contextlib
import json
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any

import jax
from etils import epath

from ssl_jax.errors import UserError

CONFIG, ENVIRONMENT, DATA = "config.json", "environment.json", "data.json"
PREPROCESSING = "preprocessing"
"""Key of data.json beside those of the data's identity."""
TOPOLOGY = "config.mesh."
"""Settings that may differ when a run is continued: the same curve comes from any mesh."""


@contextlib.contextmanager
def writing(path: epath.Path) -> Iterator[None]:
    """Turns a full disk, a read-only folder and their like into a UserError that names `path`."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror or error}). Checkpoints already there are untouched: free some "
            "space or give write permission and run the same command again, or choose another --workdir."
        ) from error


def write_json(file: epath.Path, content: Any) -> None:
    """Writes a file whole or not at all. UserError if it cannot be written."""
    draft = file.with_name(file.name + ".new")
    with writing(file):
        draft.write_text(json.dumps(content, indent=2) + "\n")
        draft.replace(file)


def read_json(file: epath.Path) -> Any:
    """UserError if the file is absent or not JSON."""
    try:
        return json.loads(file.read_text())
    except FileNotFoundError:
        raise UserError(f"{file.parent} is not a run folder: it has no {file.name}.") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{file}: not JSON ({error}); restore it, or choose another --workdir.") from None


def flatten(settings: Any, prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}."""
    if not isinstance(settings, Mapping):
        return {prefix: settings}
    joined = ((f"{prefix}.{key}" if prefix else key, value) for key, value in settings.items())
    return {name: leaf for key, value in joined for name, leaf in flatten(value, key).items()}


def differences(old: Any, new: Any) -> list[str]:
    """Lines such as "config.train.seed: 0 -> 1", but for the topology."""
    before, after = flatten(old), flatten(new)
    names = [n for n in {**before, **after} if before.get(n) != after.get(n) and not n.startswith(TOPOLOGY)]
    return [f"{name}: {before.get(name)!r} -> {after.get(name)!r}" for name in names]


def changes(folder: epath.Path, settings: Mapping[str, Any]) -> list[str]:
    """What differs between the run in a folder and these settings, as `differences` gives it."""
    return differences(read_json(folder / CONFIG), json.loads(json.dumps(settings)))


def claim(folder: epath.Path, settings: Mapping[str, Any]) -> None:
    """Makes the folder this run's, or checks that it already is.

    Args:
      folder: of the run; it is made if needed.
      settings: JSON: the experiment, the preset and the full configuration.

    Raises:
      UserError: the folder cannot be written, or it belongs to a run with other settings (the differences are listed).
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        inside = {path.name for path in folder.iterdir()}
    if CONFIG in inside:
        if changed := changes(folder, settings):
            warm_start = (
                f", or both --workdir and --init_from {folder} to start from its weights"
                if "init_from" in settings
                else ""
            )
            raise UserError(
                f"{folder} holds a run with another configuration; nothing was touched. Different (old -> new): "
                f"{'; '.join(changed)}. Give the old values to continue it, or another --workdir to start a new run"
                f"{warm_start}."
            )
    elif inside - {CONFIG + ".new"}:
        raise UserError(
            f"{folder} is not empty and not a run folder (it has no {CONFIG}); choose another --workdir."
        )
    write_json(folder / CONFIG, settings)
    write_json(folder / ENVIRONMENT, environment())


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
        "revision": _revision(),
        "devices": [device.device_kind for device in jax.devices()],
        "processes": jax.process_count(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _revision() -> str | None:
    source = epath.Path(__file__).parent
    command = ["git", "-C", str(source), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def check_data(folder: epath.Path, identity: Mapping[str, str], preprocessing: Mapping[str, str]) -> None:
    """Writes down what the data of a new run is, or checks that of a continued run.

    Args:
      folder: of the run.
      identity: what must not change between a run and its continuation.
      preprocessing: what decides the meaning of ids and pixels, for runs that start from this one.

    Raises:
      UserError: the identity has changed.
    """
    if not (folder / DATA).exists():
        write_json(folder / DATA, {**identity, PREPROCESSING: dict(preprocessing)})
        return
    saved = {name: value for name, value in read_json(folder / DATA).items() if name != PREPROCESSING}
    changed = differences(saved, dict(identity))
    if changed:
        raise UserError(
            f"{folder}: the data is not what this run was started with (old -> new): {'; '.join(changed)}. "
            "Continuing would mix two curves. Bring the old files back, or start anew with another --workdir."
        )
