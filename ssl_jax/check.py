"""Checks the machines before a run: devices, versions, disk, the work directory, and one operation of all together.

    ./tpu_setup.sh --check --workdir gs://BUCKET/runs                        # on every worker of a pod
    python -m ssl_jax.check --workdir runs --hosts 10.0.0.1:8476,0,4         # or with the hosts named

Give it the --hosts and the --workdir of the run. It names hosts that do not start, versions that differ, and a work
directory that cannot be written. Exits with code 2 if something would keep a run from working.
"""

import dataclasses
import platform
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.sharding import NamedSharding, PartitionSpec

from ssl_jax.cli import StudyOptions, read_arguments
from ssl_jax.data.cache import default_cache
from ssl_jax.errors import UserError
from ssl_jax.files import draft_of, write_whole, writing
from ssl_jax.guard import guarded
from ssl_jax.training import distributed
from ssl_jax.training.environment import environment
from ssl_jax.training.sharding import MeshConfig, make_mesh

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Options(StudyOptions):
    """Checks the machines before a run."""

    workdir: str = "runs"
    """A folder, local or gs://, in which each host writes a small file, reads it and removes it."""


class Machine(TypedDict):
    """What a host says of itself.

    Attributes:
      name: of the host.
      devices: of this process, in words.
      versions: of Python and of the packages.
      free: GiB on the disks that a run uses, by folder.
    """

    name: str
    devices: str
    versions: Mapping[str, str | None]
    free: Mapping[str, int]


def this_machine() -> Machine:
    """What this host says of itself."""
    found = environment()
    return Machine(
        name=platform.node(),
        devices=describe_devices(jax.local_devices()),
        versions={"python": found["python"], **found["packages"], "revision": found["revision"]},
        free={str(place): shutil.disk_usage(_existing(place)).free // GIB for place in _local_places()},
    )


def describe_devices(devices: Sequence[jax.Device]) -> str:
    """Such as "4 x TPU v5 lite of 15.7 GiB"."""
    memory = (devices[0].memory_stats() or {}).get("bytes_limit")
    return f"{len(devices)} x {devices[0].device_kind}" + (f" of {memory / GIB:.1f} GiB" if memory else "")


def topology() -> str:
    """All devices, and their arrangement if they have one: "16 devices (4x4) on 4 hosts"."""
    coordinates = [getattr(device, "coords", None) for device in jax.devices()]
    shape = ""
    if all(coordinates):
        shape = f" ({'x'.join(str(1 + max(axis)) for axis in zip(*coordinates, strict=True))})"
    return f"{_count(jax.device_count(), 'device')}{shape} on {_count(jax.process_count(), 'host')}"


def check_versions(machines: Sequence[Machine]) -> None:
    """UserError if the hosts do not run the same versions."""
    first, *others = (machine["versions"] for machine in machines)
    for number, versions in enumerate(others, 1):
        if different := [name for name in first if versions.get(name) != first[name]]:
            name = different[0]
            raise UserError(
                f"host {number} ({machines[number]['name']}) has {name} {versions.get(name)}, host 0 has {first[name]}"
                "; set up the same revision with tpu_setup.sh on all hosts."
            )


def check_folder(folder: epath.Path) -> None:
    """Writes a file in a folder, reads it and removes it. UserError if that fails."""
    file, content = draft_of(folder / "check"), b"written by ssl_jax.check"
    write_whole(file, content)
    with writing(file):
        found = file.read_bytes()
        file.unlink()
    if found != content:
        raise UserError(f"{folder}: a file reads back differently from what was written; check its disk.")


def check_devices(patience: float) -> float:
    """Adds a number of every device on all devices.

    Args:
      patience: seconds that this may take.

    Returns:
      Seconds that the operation takes, without its compilation.

    Raises:
      UserError: the sum is wrong, or does not come.
    """
    seconds: list[float] = []
    errors: list[Exception] = []

    def add() -> None:
        try:
            seconds.append(_timed_sum())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=add, daemon=True)
    thread.start()
    thread.join(patience)
    if errors:
        raise errors[0]
    if not seconds:
        raise UserError(
            f"the {jax.device_count()} devices did not add a number each within {patience:g} seconds, though all hosts "
            "have started: check the network between them, or start the pod anew; --timeouts.failure waits longer."
        )
    return seconds[0]


def _timed_sum() -> float:
    mesh = make_mesh(MeshConfig())
    numbers = np.arange(jax.device_count(), dtype=np.float32)
    spread = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    x = jax.make_array_from_callback(numbers.shape, spread, lambda index: numbers[index])
    total = jax.jit(jnp.sum, out_shardings=NamedSharding(mesh, PartitionSpec()))
    total(x).block_until_ready()
    started = time.perf_counter()
    found = float(total(x))
    if found != numbers.sum():
        raise UserError(
            f"the devices add up to {found:g} instead of {numbers.sum():g}; one of them is at fault."
        )
    return time.perf_counter() - started


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'s' if number > 1 else ''}"


def _local_places() -> tuple[Path, ...]:
    return Path(tempfile.gettempdir()), default_cache()


def _existing(place: Path) -> Path:
    return next(folder for folder in (place, *place.parents) if folder.exists())


def main(arguments: list[str]) -> int:
    """Checks what the command line names. Returns the exit code."""
    options = read_arguments(Options, arguments, prog="python -m ssl_jax.check", description=__doc__)
    distributed.join(options.hosts, options.timeouts)
    machines = distributed.gather(this_machine())
    if distributed.is_main():
        for number, machine in enumerate(machines):
            free = ", ".join(f"{count} GiB free in {place}" for place, count in machine["free"].items())
            print(f"host {number}: {machine['name']}: {machine['devices']}; {free}")
        print(f"together: {topology()}")
        print(", ".join(f"{name} {version}" for name, version in machines[0]["versions"].items() if version))
    check_versions(machines)
    check_folder(options.folder)
    seconds = check_devices(options.timeouts.failure)
    distributed.sync("checked")
    if distributed.is_main():
        print(f"{options.folder}: every host can write and read it")
        print(f"all devices added a number each in {1e3 * seconds:.1f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(sys.argv[1:])))
