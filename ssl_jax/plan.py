"""Plans a run before it is paid for: memory, time and price, on TPU slices that need not be there.

    python -m ssl_jax.plan experiments.bert                                # for the devices at hand
    python -m ssl_jax.plan experiments.bert large --topology v5e:4x4       # for a TPU slice
    python -m ssl_jax.plan experiments.bert large --topology v5e:4x4 --slices 2 --price_per_chip_hour 1.2
    python -m ssl_jax.plan experiments.bert large --topology v5e:4x4 --mesh.fsdp 4 --train.micro_batches 2
    python -m ssl_jax.plan experiments.bert large --topology v5e:4x4 --search

The experiment comes first, then what its own command takes: a preset and --section.field VALUE. Each phase of a run is
planned, and each run of a study. It needs no data; for --topology it needs libtpu (pip install "jax[tpu]"), but no TPU.
All times are estimates: docs/planning.md explains them. Exits with code 1 if the run does not fit into the memory of
the chips.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Annotated

import jax

from ssl_jax.cli import Config, Invocation, parse
from ssl_jax.domains import NonEmptyText, PositiveFloat, Settings, integers
from ssl_jax.errors import UserError
from ssl_jax.guard import guarded
from ssl_jax.recipes.views import ViewsConfig
from ssl_jax.runs.listing import import_experiment
from ssl_jax.training.experiment import Experiment
from ssl_jax.training.planning import CHIPS, Plan, plan_phase, topology_devices
from ssl_jax.training.planning import search as searching
from ssl_jax.training.planning.text import as_json, describe


@dataclass(frozen=True)
class Options(Settings):
    """What the run is planned for."""

    topology: NonEmptyText | None = None
    """TPU slice such as v5e:4x4 or v5p:4x4x4; None for the devices at hand."""
    slices: Annotated[int, integers(1, 256)] = 1
    """Number of such slices, which the network of the data centre links."""
    price_per_chip_hour: PositiveFloat | None = None
    """What a chip costs for an hour, in any currency; None leaves out what the run costs."""
    search: bool = False
    """Compile variants of remat, micro-batches and mesh, and plan the one with the shortest estimated time that fits.
    Takes several minutes."""
    json: bool = False
    """Print one JSON object with all numbers in place of the text."""

    def check_relations(self) -> None:
        if self.slices > 1 and self.topology is None:
            raise UserError(f"--slices {self.slices}: name the slice as well, such as --topology v5e:4x4.")


def runs_of(module: ModuleType, config: Config) -> Iterator[tuple[str, Experiment]]:
    """(name, experiment) of the run of an experiment, or of every run that a study trains."""
    if not hasattr(module, "study"):
        yield "", module.build(config)
        return
    for name, run in module.study(config).planned.items():
        yield name, import_experiment(run.module).build(run.config)


def progress(line: str) -> None:
    """Tells on the standard error output, since compiling takes from seconds to minutes."""
    print(f"{line} ...", file=sys.stderr, flush=True)


def advice(config: Config, plans: list[Plan]) -> str:
    """What to try when a run does not fit."""
    ways = []
    if found := searching.recomputation(config):
        path, values = found
        ways.append(f"--{path} {values[-1]}")
    chips = plans[0].chips
    if any(not plan.memory["step"].fits for plan in plans) and not isinstance(config, ViewsConfig):
        ways.append(f"--train.micro_batches {2 * config.train.micro_batches}")
    if plans[0].mesh["fsdp"] < chips:
        ways.append(f"--mesh.fsdp {chips}")
    ways.append("a slice of more chips")
    return (
        f"It does not fit. Try {', '.join(ways)}, alone or together; or --search, which tries them for you."
    )


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
    return plan(name, module, asked)


def plan(name: str, module: ModuleType, asked: Invocation) -> int:
    """Plans what a command line asks for, and prints it."""
    options, config = asked.options, asked.config
    topology = options.topology
    devices = topology_devices(topology, options.slices) if topology else jax.devices()
    tries = []
    if options.search:
        if hasattr(module, "study") or devices[0].device_kind not in CHIPS:
            raise UserError(
                "--search: takes an experiment that trains one run, and a TPU slice such as --topology v5e:4x4."
            )
        whole_batch = isinstance(config, ViewsConfig)
        tries = searching.search(module.build, config, devices, whole_batch=whole_batch, progress=progress)
        config = searching.changed(config, tries[0].settings)
        if not options.json:
            print(searching.describe(tries))
            print(f"  planned below: {searching.flags(tries[0].settings)}", flush=True)
    plans, told = [], []
    for run, experiment in runs_of(module, config):
        if run and not options.json:
            print(f"{run}:")
        for number, phase in enumerate(experiment.phases, start=1):
            made = plan_phase(experiment, phase, devices, progress=progress)
            plans.append(made)
            told.append({"run": run, "phase": number, **as_json(made, options.price_per_chip_hour)})
            if not options.json:
                print(describe(made, options.price_per_chip_hour), flush=True)
    fits = all(made.fits for made in plans)
    if options.json:
        what = {"experiment": name, "preset": asked.preset, "topology": topology, "slices": options.slices}
        print(json.dumps({**what, "fits": fits, "phases": told, "search": searching.as_json(tries)}))
    elif not fits:
        print(advice(config, plans))
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(sys.argv[1:])))
