"""What a run will cost, before an hour of it is paid: compiles an experiment's step for a TPU that is not there.

    python -m ssl_jax.plan experiments.bert large --topology v5e:4x4 [--section.field VALUE ...]

Needs no data and no TPU, only `libtpu` (pip install "jax[tpu]"). Without --topology, it plans for the devices at hand.
"""

import argparse
import collections
import importlib
import math
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
from jax.experimental import topologies
from jax.extend.core import Jaxpr, jaxprs_in_params

from ssl_jax.cli import guarded, parse
from ssl_jax.errors import UserError
from ssl_jax.training.compiling import Program
from ssl_jax.training.distributed import on_tpu
from ssl_jax.training.experiment import Experiment, Phase
from ssl_jax.training.progress import quantity
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

    state, batch, working: bytes per chip of what is kept, of the inputs, and of what the step needs at its peak beside.
    flops: multiplications and additions of matrix products, per chip and step; what is computed again to save memory
        counts again.
    whole: parameters that the mesh should cut and does not divide.
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
    """Devices of a TPU slice such as "v5e:4x4". UserError if there is no such slice, or no libtpu to compile for it."""
    if not on_tpu():  # libtpu asks the machine about its TPU, and complains where there is none
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
    """Compiles the train step of a phase for the devices, which need not exist."""
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
    """Operations of all matrix products and convolutions in a traced program; a loop's body counts once per turn.

    The compiler's own count takes the loop over layers for a single turn. Products with what pads an image count, those
    with the zeros between the pixels of a dilated one do not.
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
        turns = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        flops += turns * sum(product_flops(inner) for inner in jaxprs_in_params(equation.params))
    return flops


def count_collectives(program: str) -> dict[str, int]:
    """How often each kind of communication stands in a compiled program (an asynchronous one counts once)."""
    kinds = "|".join(COLLECTIVES)
    return dict(collections.Counter(re.findall(rf"= .*? ({kinds})(?:-start)?\(", program)))


def describe(experiment: Experiment, phase: Phase, plan: Plan) -> str:
    """A plan in words."""
    chip = CHIPS.get(plan.kind)
    unit, work = phase.work
    lines = [
        f"{phase.steps:,} steps of {experiment.train.batch_size} examples ({work:,} {unit}) on {plan.chips} x "
        f"{plan.kind}; compiled in {plan.seconds:.0f} s",
        f"  memory per chip: {plan.total / GIB:.2f} GiB = state {plan.state / GIB:.2f} + "
        f"batch {plan.batch / GIB:.3f} + working {plan.working / GIB:.2f}"
        + (f"; the chip has {chip.memory / GIB:.0f}" if chip else ""),
        f"  operations per chip and step: {quantity(plan.flops)}FLOP",
        "  collectives: "
        + (", ".join(f"{n} {kind}" for kind, n in sorted(plan.collectives.items())) or "none"),
    ]
    if plan.whole:
        lines.append(f"  not cut, since the mesh does not divide them: {', '.join(plan.whole)}")
    if chip and plan.flops:
        fastest = plan.flops / chip.flops
        lines.append(
            f"  at the chip's peak a step would take {1e3 * fastest:.1f} ms, and the phase "
            f"{phase.steps * fastest / 3600:.1f} hours; expect two to three times that"
        )
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Plans the experiment named on the command line. Returns 1 if it does not fit into the chips' memory."""
    parser = argparse.ArgumentParser(
        prog="python -m ssl_jax.plan",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("experiment", help="module, such as experiments.bert")
    parser.add_argument("--topology", help="TPU slice such as v5e:4x4 or v5p:4x4x4")
    chosen, rest = parser.parse_known_args(arguments)
    try:
        module = importlib.import_module(chosen.experiment)
    except ModuleNotFoundError as error:
        raise UserError(f"{chosen.experiment}: no such experiment ({error}).") from error
    config = parse(rest, module.PRESETS, chosen.experiment).config
    devices = topology_devices(chosen.topology) if chosen.topology else jax.devices()
    experiment = module.build(config)
    fits = True
    for phase in experiment.phases:
        plan = plan_phase(experiment, phase, devices)
        print(describe(experiment, phase, plan), flush=True)
        fits &= plan.kind not in CHIPS or plan.total <= CHIPS[plan.kind].memory
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(sys.argv[1:])))
