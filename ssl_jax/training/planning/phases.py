"""The plan of one phase of a run: whether it fits, how long a step takes at least, and what the chips exchange."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax

from ssl_jax.training.compiling import Program
from ssl_jax.training.evaluate import Evaluator
from ssl_jax.training.experiment import Experiment, Phase
from ssl_jax.training.mapping import lower_map
from ssl_jax.training.planning.chips import CHIPS, hosts
from ssl_jax.training.planning.communication import Collective, collectives
from ssl_jax.training.planning.flops import kernel_seconds, product_flops, recomputed_flops
from ssl_jax.training.planning.hlo import memory_traffic, parse_program
from ssl_jax.training.planning.programs import Compiled, Memory, compile_program
from ssl_jax.training.sharding import check_batch, left_whole, make_mesh


class StepTime(NamedTuple):
    """Seconds of a step of a TPU. All are estimates, none a measurement.

    Attributes:
      flops: at the peak of the matrix units.
      memory: of the traffic of HBM at its full bandwidth.
      instructions: the cycles that the compiler estimates for its instructions. It estimates none for sorts, copies and
        random bits.
      kernels: of the kernels of attention, for which the compiler estimates none; see `kernel_seconds`.
      exposed: communication that the chips wait for.
      hidden: communication during which they compute.
    """

    flops: float
    memory: float
    instructions: float
    kernels: float
    exposed: float
    hidden: float

    @property
    def estimate(self) -> float:
        """Instructions and kernels, beside them the communication that they hide, then what nothing hides."""
        return max(self.instructions + self.kernels, self.flops, self.hidden) + self.exposed


class Plan(NamedTuple):
    """What a phase of a run needs.

    Attributes:
      phase: the phase.
      kind: of the devices, such as "TPU v5 lite".
      chips: their number.
      hosts: machines that they are in.
      mesh: number of devices along each axis.
      memory: of every program that was compiled, by name: step, evaluation, initialisation, representation.
      flops: of matrix products per chip and step, without what is computed again.
      recomputed: of matrix products per chip and step that are computed again to save memory.
      whole: parameters that the mesh should cut, and does not because it does not divide them.
      collectives: of the step.
      time: of the step; None where the chip is not known or the step does not fit.
      seconds: that compiling took.
    """

    phase: Phase
    kind: str
    chips: int
    hosts: int
    mesh: Mapping[str, int]
    memory: Mapping[str, Memory]
    flops: float
    recomputed: float
    whole: Sequence[str]
    collectives: Sequence[Collective]
    time: StepTime | None
    seconds: float

    @property
    def fits(self) -> bool:
        """Whether all programs fit into the memory of the chips."""
        return all(memory.fits for memory in self.memory.values())

    @property
    def work_per_second(self) -> float | None:
        """Tokens or images per second, estimated."""
        return self.phase.work[1] / self.time.estimate if self.time else None

    @property
    def model_utilization(self) -> float | None:
        """Model FLOPs utilization (MFU): needed operations per second, as a share of the chips' peak."""
        return self.flops / CHIPS[self.kind].flops / self.time.estimate if self.time else None

    @property
    def hardware_utilization(self) -> float | None:
        """Hardware FLOPs utilization (HFU): as MFU, with the operations that are done again."""
        done = self.flops + self.recomputed
        return done / CHIPS[self.kind].flops / self.time.estimate if self.time else None

    @property
    def hours(self) -> float | None:
        """Of the steps of the phase, estimated; evaluation, checkpoints and waiting for data come on top."""
        return self.phase.steps * self.time.estimate / 3600 if self.time else None

    @property
    def chip_hours(self) -> float | None:
        """Hours times chips."""
        return self.hours * self.chips if self.time else None

    @property
    def rows_per_host(self) -> float | None:
        """Examples per second that each host must read to keep its chips busy."""
        return self.phase.batch_size / self.time.estimate / self.hosts if self.time else None


def plan_phase(
    experiment: Experiment,
    phase: Phase,
    devices: Sequence[jax.Device],
    *,
    step_only: bool = False,
    progress: Callable[[str], None] = lambda line: None,
) -> Plan:
    """Compiles what a phase runs for the devices, which need not exist: for the largest of its batches.

    Args:
      experiment: what is trained.
      phase: one of its phases.
      devices: of the slice.
      step_only: compiles the train step alone.
      progress: is told what is compiled next, which takes from seconds to minutes.

    Raises:
      UserError: the mesh does not fit the devices, or the batch the mesh.
    """
    mesh = make_mesh(experiment.mesh, devices)
    check_batch(mesh, phase.batch_size, experiment.train.micro_batches)
    program = Program(experiment, mesh)
    chip = CHIPS.get(devices[0].device_kind)
    traced = program.trace_train_step(phase)
    compiled: dict[str, Compiled] = {}
    lowered = {"step": traced.lower, **({} if step_only else _others(program, phase))}
    for name, lower in lowered.items():
        progress(f"compiling the {name}")
        compiled[name] = compile_program(
            lower,
            state={} if name == "initialisation" else program.state,
            batch={} if name == "initialisation" else program.place_batch(phase.batch),
            available=chip.memory if chip else None,
            jaxpr=traced.jaxpr.jaxpr if name == "step" else None,
        )
    step = compiled["step"].program
    parsed = parse_program(step.as_text()) if step else None
    flops, recomputed = (
        count(traced.jaxpr.jaxpr) / len(devices) for count in (product_flops, recomputed_flops)
    )
    exchanged = collectives(parsed, mesh) if parsed else []
    time = None
    if chip and parsed:
        cycles = sum(instruction.times * instruction.cycles for _, instruction in parsed.scheduled())
        seconds = {
            hidden: sum(each.seconds for each in exchanged if each.asynchronous == hidden)
            for hidden in (True, False)
        }
        time = StepTime(
            flops=flops / chip.flops,
            memory=memory_traffic(parsed) / chip.hbm,
            instructions=cycles / chip.clock,
            kernels=kernel_seconds(traced.jaxpr.jaxpr, len(devices) * chip.flops),
            exposed=seconds[False],
            hidden=seconds[True],
        )
    return Plan(
        phase=phase,
        kind=devices[0].device_kind,
        chips=len(devices),
        hosts=hosts(devices),
        mesh=dict(mesh.shape),
        memory={name: each.memory for name, each in compiled.items()},
        flops=flops - recomputed,
        recomputed=recomputed,
        whole=left_whole(mesh, experiment.rules, program.state.params),
        collectives=exchanged,
        time=time,
        seconds=sum(each.seconds for each in compiled.values()),
    )


def _others(program: Program, phase: Phase) -> dict[str, Callable[[], jax.stages.Lowered]]:
    """What a run compiles beside its step: initialisation, evaluation, and the representation for its report."""
    experiment, mesh, state = program.experiment, program.mesh, program.state
    batch = program.place_batch(phase.heldout_batch)
    evaluator = Evaluator(experiment, mesh)
    others = {"evaluation": lambda: evaluator.lower(state.params, state.extras, batch)}
    if phase is experiment.phases[0]:
        others["initialisation"] = program.lower_initialisation
    if represent := experiment.represent:
        others["representation"] = lambda: lower_map(represent, state.variables, batch, mesh)
    return others
