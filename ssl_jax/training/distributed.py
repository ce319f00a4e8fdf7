"""Several hosts, one run: joining the others, and agreeing with them."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import jax
from jax._src import clusters

from ssl_jax.errors import UserError
from ssl_jax.training.hosts import Hosts, Membership, Timeouts

Result = TypeVar("Result")

LARGEST_COUNT = 2**20
"""Of the processes of a run."""

_hosts: Hosts | None = None


def on_tpu() -> bool:
    """Whether this machine has a TPU, without initialising it."""
    return any(Path("/dev").glob("accel*")) or any(Path("/dev/vfio").glob("[0-9]*"))


def join(hosts: str, timeouts: Timeouts | None = None) -> None:
    """Meets the other processes of a run. Must come before any use of JAX's devices.

    Args:
      hosts: "auto" joins the pod on a TPU VM and the job under a launcher that jax knows (Slurm, Open MPI with several
        tasks), and is a single process elsewhere; "HOST:PORT,ID,COUNT" gives the address of process 0, this process's
        number and the number of processes.
      timeouts: how long the hosts wait for each other; None for the defaults.

    Raises:
      UserError: `hosts` has another form, or not all hosts could be met.
    """
    global _hosts
    timeouts = timeouts or Timeouts()
    member = _find(timeouts) if hosts == "auto" else _read(hosts)
    if member is not None and member.count > 1:
        _hosts = Hosts(member, timeouts)
        _hosts.meet()


def may_be_main(hosts: str) -> bool:
    """Whether this process prints, as far as that is known before the others are met; `hosts` is as of `join`."""
    return hosts == "auto" or hosts.split(",")[1:2] == ["0"]


def _read(hosts: str) -> Membership:
    try:
        address, number, count = hosts.split(",")
        host, _, port = address.rpartition(":")
        member = Membership(address, int(number), int(count))
        if not (host and 0 < int(port) < 2**16 and 0 <= member.number < member.count <= LARGEST_COUNT):
            raise ValueError("out of range")
    except ValueError:
        raise UserError(
            f"--hosts {hosts!r}: expected auto, or HOST:PORT,ID,COUNT such as 10.0.0.1:8476,0,4, where ID is from "
            "0 to COUNT - 1."
        ) from None
    return member


def _find(timeouts: Timeouts) -> Membership | None:
    """This process in a pod or in a job of several tasks; None where it is alone."""
    several_tasks = any(_tasks(name) > 1 for name in ("SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE"))
    if not several_tasks and not on_tpu():
        return None
    try:
        address, count, number, devices = clusters.ClusterEnv.auto_detect_unset_distributed_params(
            None, None, None, None, None, round(timeouts.start)
        )
    except (ValueError, RuntimeError, LookupError, OSError) as error:
        if not several_tasks:  # a TPU VM on its own has no others
            return None
        raise UserError(
            f"--hosts auto: the other processes of this job could not be found ({error}); name them with --hosts "
            "HOST:PORT,ID,COUNT in every process."
        ) from error
    if address is None or count is None or number is None:
        return None
    return Membership(address, number, count, None if devices is None else tuple(devices))


def _tasks(name: str) -> int:
    """The number of tasks that a launcher has set in the environment; 1 if there is none."""
    value = os.environ.get(name, "1")
    if not (value.isdecimal() and len(value) < 10):
        raise UserError(
            f"{name} is {value!r:.40}; expected the number of tasks of the job. Unset it, or name the processes with "
            "--hosts HOST:PORT,ID,COUNT."
        )
    return int(value)


def current_hosts() -> Hosts | None:
    """The connection to the other processes; None in a run of one process."""
    return _hosts


def is_main() -> bool:
    """Whether this process prints and writes the logs."""
    return jax.process_index() == 0


def gather(value: Any) -> list[Any]:
    """The JSON-like values that all processes pass, by process. Returns when every process has called it."""
    return _hosts.gather(value) if _hosts else [value]


def announce(line: str) -> None:
    """Prints a line, in one of the processes."""
    if is_main():
        print(line, flush=True)


def of_main(value: Any) -> Any:
    """The JSON-like value that process 0 passes. Returns when every process has called it."""
    return gather(value)[0]


def sync(name: str) -> None:
    """Returns when every process has called it with the same name."""
    if len(set(gather(name))) > 1:
        raise RuntimeError(f"the processes are not at the same place; this one is at {name!r}")


def on_main(action: Callable[[], Result]) -> Result | None:
    """What `action` returns on process 0, while the others wait and get None. An error there ends all of them."""
    result = action() if is_main() else None
    sync("after process 0")
    return result


def anywhere(here: bool) -> bool:
    """Whether it is true on any process."""
    return any(gather(here))


def spread(function: Callable[[str], Result], names: Iterable[str]) -> dict[str, Result]:
    """The JSON-like result of a function for each name. The processes share the work, and each gets all results."""
    names = list(names)
    mine = {name: function(name) for name in names[jax.process_index() :: jax.process_count()]}
    found = {name: result for part in gather(mine) for name, result in part.items()}
    return {name: found[name] for name in names}


def same_everywhere(content: Any) -> bool:
    """Whether every process passed the same JSON-like content."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return len(set(gather(digest))) == 1
