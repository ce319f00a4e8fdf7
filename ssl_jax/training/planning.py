"""What a compiled train step needs: memory, operations and communication, on devices that need not exist."""

import collections
import math
import os
import re
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
from jax.experimental import topologies
from jax.extend.core import Jaxpr, jaxprs_in_params

from ssl_jax.errors import UserError
from ssl_jax.training.compiling import Program
from ssl_jax.training.distributed import on_tpu
from ssl_jax.training.experiment import Experiment, Phase
from ssl_jax.training.sharding import check_batch, left_whole, make_mesh

GIB = 2**30
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")


class Chip(NamedTuple):
    """Memory in bytes and peak bfloat16 operations per second of a chip, from cloud.google.com/tpu/docs."""

    memory: float
    flops: float


CHIPS = {
    "TPU v4": Chip(32 * GIB, 275e12),
    "TPU v5 lite": Chip(16 * GIB, 197e12),
    "TPU v5": Chip(95 * GIB, 459e12),
    "TPU v6 lite": Chip(32 * GIB, 918e12),
}


class Plan(NamedTuple):
    """What the compiled step of one phase needs.

    Attributes:
      chips: number of devices.
      kind: of the devices, such as "TPU v5 lite".
      state: bytes per chip of parameters, optimiser and extras.
      batch: bytes per chip of the inputs.
      working: bytes per chip that the step needs beside them at its peak.
      flops: multiplications and additions of matrix products, per chip and step; what is computed again to save memory
        counts again.
      whole: parameters that the mesh should cut, and does not because it does not divide them.
      collectives: number of each kind in the program; those inside a loop over layers run once per layer.
      seconds: that the compilation took.
    """

    chips: int
    kind: str
    state: int
    batch: int
    working: int
    flops: float
    whole: Sequence[str]
    collectives: Mapping[str, int]
    seconds: float

    @property
    def total(self) -> int:
        """Bytes per chip at the peak."""
        return self.state + self.batch + self.working


def topology_devices(name: str) -> Sequence[jax.Device]:
    """Devices of a TPU slice such as "v5e:4x4", which need not exist.

    Raises:
      UserError: there is no such slice, or libtpu, which compiles for it, is not installed.
    """
    if not on_tpu():  # libtpu asks the machine about its TPU, and fails where there is none
        os.environ.update(
            TPU_SKIP_MDS_QUERY="1", TPU_ACCELERATOR_TYPE="v5litepod-1", TPU_WORKER_HOSTNAMES="localhost"
        )
    try:
        return topologies.get_topology_desc(platform="tpu", topology_name=name).devices
    except (RuntimeError, ValueError, NotImplementedError) as error:
        raise UserError(
            f"--topology {name}: cannot be compiled for ({str(error).splitlines()[0][:200]}). Expected a slice such as "
            'v5e:4x4 or v5p:4x4x4, and libtpu installed (pip install "jax[tpu]").'
        ) from error


def plan_phase(experiment: Experiment, phase: Phase, devices: Sequence[jax.Device]) -> Plan:
    """Compiles the train step of a phase for the devices, which need not exist.

    Raises:
      UserError: the mesh does not fit the devices, or the batch the mesh.
    """
    mesh = make_mesh(experiment.mesh, devices)
    check_batch(mesh, experiment.train.batch_size, experiment.train.micro_batches)
    program = Program(experiment, mesh)
    started = time.perf_counter()
    traced = program.trace_train_step(phase)
    compiled = traced.lower().compile()
    seconds = time.perf_counter() - started
    memory = compiled.memory_analysis()
    state = sum(_bytes_per_chip(x) for x in jax.tree.leaves(program.state))
    return Plan(
        chips=len(devices),
        kind=devices[0].device_kind,
        state=state,
        batch=memory.argument_size_in_bytes - state,
        working=memory.temp_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes,
        flops=product_flops(traced.jaxpr.jaxpr) / len(devices),
        whole=left_whole(mesh, experiment.rules, program.state.params),
        collectives=count_collectives(compiled.as_text()),
        seconds=seconds,
    )


def _bytes_per_chip(x: jax.ShapeDtypeStruct) -> int:
    shard = jax.ShapeDtypeStruct(x.sharding.shard_shape(x.shape), x.dtype)
    return shard.size * shard.dtype.itemsize


def product_flops(jaxpr: Jaxpr) -> int:
    """Operations of all matrix products and convolutions in a traced program.

    The body of a loop counts once per iteration; the compiler's own count has it once. Products with the padding of an
    image count, products with the zeros between the pixels of a dilated image do not.
    """
    flops = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            depth = math.prod(equation.invars[0].aval.shape[i] for i in contracted)
            flops += 2 * equation.outvars[0].aval.size * depth
        if equation.primitive.name == "conv_general_dilated":
            kernel = equation.invars[1].aval
            features = kernel.shape[equation.params["dimension_numbers"].rhs_spec[0]]
            dilation = math.prod(equation.params["lhs_dilation"])
            flops += 2 * equation.outvars[0].aval.size * (kernel.size // features) // dilation
        iterations = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        flops += iterations * sum(product_flops(inner) for inner in jaxprs_in_params(equation.params))
    return flops


def count_collectives(program: str) -> dict[str, int]:
    """How often a compiled program has each kind of communication (an asynchronous one counts once)."""
    kinds = "|".join(COLLECTIVES)
    return dict(collections.Counter(re.findall(rf"= .*? ({kinds})(?:-start)?\(", program)))
