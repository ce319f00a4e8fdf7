"""Plans a run before it is paid for: the memory and time of its train step, on a TPU that need not be there.

    python -m ssl_jax.plan experiments.bert                                # for the devices at hand
    python -m ssl_jax.plan experiments.bert large --topology v5e:4x4       # for a TPU slice
    python -m ssl_jax.plan experiments.bert large --topology v5e:4x4 --mesh.fsdp 4 --train.micro_batches 2

The experiment comes first, then what its own command takes: a preset and --section.field VALUE. Each phase of a run is
planned, and each run of a study. It needs no data; for --topology it needs libtpu (pip install "jax[tpu]"), but no TPU.
Exits with code 1 if a step does not fit into the memory of the chips.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

import jax

from ssl_jax.cli import Config, parse
from ssl_jax.domains import NonEmptyText, Settings
from ssl_jax.errors import UserError
from ssl_jax.guard import guarded
from ssl_jax.runs.listing import import_experiment
from ssl_jax.training.experiment import Experiment, Phase
from ssl_jax.training.planning import CHIPS, GIB, Plan, plan_phase, topology_devices
from ssl_jax.training.progress import quantity


@dataclass(frozen=True)
class Options(Settings):
    """What the run is planned for."""

    topology: NonEmptyText | None = None
    """TPU slice such as v5e:4x4 or v5p:4x4x4; None for the devices at hand."""


def describe(experiment: Experiment, phase: Phase, plan: Plan) -> str:
    """A plan in words."""
    chip = CHIPS.get(plan.kind)
    unit, work = phase.work
    lines = [
        f"{phase.steps:,} steps of {phase.batch_size} examples ({work:,} {unit}) on {plan.chips} x "
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


def runs_of(module: ModuleType, config: Config) -> Iterator[tuple[str, Experiment]]:
    """(name, experiment) of the run of an experiment, or of every run that a study trains."""
    if not hasattr(module, "study"):
        yield "", module.build(config)
        return
    for name, run in module.study(config).planned.items():
        yield name, import_experiment(run.module).build(run.config)


def main(arguments: list[str]) -> int:
    """Plans the experiment named on the command line. Returns 1 if it does not fit into the memory of the chips."""
    if arguments[:1] in (["-h"], ["--help"]):
        print(f"usage: python -m ssl_jax.plan EXPERIMENT [PRESET] [--topology SLICE] [FIELDS]\n\n{__doc__}")
        return 0
    if not arguments or arguments[0].startswith("-"):
        raise UserError("name the experiment first, such as `python -m ssl_jax.plan experiments.bert large`.")
    name, *rest = arguments
    module = import_experiment(name)
    asked = parse(rest, module.PRESETS, f"python -m ssl_jax.plan {name}", __doc__, lambda workdir: Options())
    topology = asked.options.topology
    devices = topology_devices(topology) if topology else jax.devices()
    fits = True
    for name, experiment in runs_of(module, asked.config):
        if name:
            print(f"{name}:")
        for phase in experiment.phases:
            plan = plan_phase(experiment, phase, devices)
            print(describe(experiment, phase, plan), flush=True)
            fits &= plan.kind not in CHIPS or plan.total <= CHIPS[plan.kind].memory
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(sys.argv[1:])))
