"""TPU chips, and slices of them that need not be there."""

import os
from collections.abc import Sequence
from typing import NamedTuple

import jax
from jax.experimental import topologies

from ssl_jax.errors import UserError
from ssl_jax.training.distributed import on_tpu

GIB = 2**30


class Chip(NamedTuple):
    """What a chip can do.

    Attributes:
      memory: bytes of HBM that a program may use.
      flops: bfloat16 operations per second at most.
      clock: cycles per second of its matrix units.
      hbm: bytes per second between HBM and the cores, at most.
      link: bytes per second that one link to a neighbour (ICI) carries in each direction, at most.
      wraps: the smallest number of chips in a row of a slice whose ends are linked too.
      network: bytes per second and chip between slices (DCN), at most.
    """

    memory: int
    flops: float
    clock: float
    hbm: float
    link: float
    wraps: int
    network: float


# Memory: what libtpu 0.0.42 names as available when a program does not fit. Operations, HBM and links:
# docs.cloud.google.com/tpu/docs/v4, v5e, v5p and v6e, where the bandwidth of the links of a chip is given for all its
# links (4 of v5e and v6e, 6 of v4 and v5p) and both directions together. Clock: operations per second / operations per
# cycle; a chip of v4 and v5p multiplies 8 matrices of 128x128 at a time, of v5e 4, of v6e 4 of 256x256, and the cycles
# that libtpu estimates for a large product agree to 70 to 94 %. Network: v5e 6.4 Tbit/s for 256 chips, v5p and v4
# 50 Gbit/s a chip, v6e 100 Gbit/s a chip.
CHIPS = {
    "TPU v4": Chip(int(30.75 * GIB), 275e12, 1.05e9, 1228e9, 50e9, 4, 6.25e9),
    "TPU v5 lite": Chip(int(15.75 * GIB), 197e12, 1.5e9, 819e9, 50e9, 16, 3.125e9),
    "TPU v5": Chip(int(95.74 * GIB), 459e12, 1.75e9, 2765e9, 100e9, 4, 6.25e9),
    "TPU v6 lite": Chip(int(31.25 * GIB), 918e12, 1.75e9, 1640e9, 100e9, 16, 12.5e9),
}


def topology_devices(name: str, slices: int = 1) -> Sequence[jax.Device]:
    """Devices of TPU slices such as "v5e:4x4", which need not exist.

    Args:
      name: generation and shape of a slice.
      slices: how many such slices, linked by the network of the data centre.

    Raises:
      UserError: there is no such slice, or libtpu, which compiles for it, is not installed.
    """
    # Several plans may be made at once: nothing here uses a TPU, which only one process may.
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    if not on_tpu():  # libtpu asks the machine about its TPU, and fails where there is none
        os.environ.update(
            TPU_SKIP_MDS_QUERY="1", TPU_ACCELERATOR_TYPE="v5litepod-1", TPU_WORKER_HOSTNAMES="localhost"
        )
    how = {"num_slices": slices} if slices > 1 else {}
    if name.startswith("v4:"):
        # Both cores of a chip are one device, as on the machines themselves.
        how["chip_config_name"] = "megacore"
    try:
        return topologies.get_topology_desc(platform="tpu", topology_name=name, **how).devices
    except (RuntimeError, ValueError, NotImplementedError) as error:
        raise UserError(
            f"--topology {name}: cannot be compiled for ({str(error).splitlines()[0][:200]}). Expected a slice such as "
            'v5e:4x4 or v5p:4x4x4, and libtpu installed (pip install "jax[tpu]").'
        ) from error


def hosts(devices: Sequence[jax.Device]) -> int:
    """Number of machines that the devices are in."""
    return len({device.process_index for device in devices})
