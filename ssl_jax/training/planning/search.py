"""Looks for the settings with which a run fits and takes the least time: recomputation, micro-batches and the mesh."""

import dataclasses
import math
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax

from ssl_jax.errors import UserError
from ssl_jax.training.compiling import Program
from ssl_jax.training.experiment import Experiment
from ssl_jax.training.planning.chips import CHIPS, GIB
from ssl_jax.training.planning.phases import Plan, plan_phase
from ssl_jax.training.planning.programs import bytes_per_chip
from ssl_jax.training.planning.text import milliseconds, table
from ssl_jax.training.sharding import MeshConfig, left_whole, make_mesh

TRIES = 12
"""Settings that are compiled at most; each takes from seconds to a minute per phase."""

Config = Any
Settings = dict[str, Any]
"""Values by the path of their field, such as {"train.micro_batches": 2}."""


class Try(NamedTuple):
    """Settings that were compiled.

    Attributes:
      settings: all that the search varies.
      plans: of the train step of every phase.
    """

    settings: Settings
    plans: Sequence[Plan]

    @property
    def fits(self) -> bool:
        """Whether all steps fit."""
        return all(plan.fits for plan in self.plans)

    @property
    def hours(self) -> float:
        """Estimated time of all steps; infinite if it is not known."""
        return sum(math.inf if plan.hours is None else plan.hours for plan in self.plans)

    @property
    def memory(self) -> int:
        """Most bytes that a step needs on a chip."""
        return max(memory.total for plan in self.plans for memory in plan.memory.values())

    @property
    def order(self) -> tuple:
        """Smaller is better: what fits comes first, then the shorter run, then the smaller memory."""
        return not self.fits, self.hours if self.fits else 0, self.memory


def search(
    build: Callable[[Config], Experiment],
    config: Config,
    devices: Sequence[jax.Device],
    *,
    whole_batch: bool,
    progress: Callable[[str], None],
) -> list[Try]:
    """Varies one setting after the other from the best values so far, until nothing is better or TRIES are compiled.

    Args:
      build: makes the experiment of a configuration.
      config: where the search begins.
      devices: of the slice.
      whole_batch: whether the objective compares the examples of a batch, so that micro-batches would change it.
      progress: is told what is compiled next.

    Returns:
      All tries, the best first.
    """
    tries: dict[tuple, Try] = {}

    def attempt(settings: Settings) -> Try | None:
        key = tuple(settings.items())
        if key not in tries and len(tries) < TRIES:
            progress(f"try {len(tries) + 1} of at most {TRIES}: {flags(settings)}")
            try:
                tries[key] = Try(settings, _step_plans(build(changed(config, settings)), devices))
            except UserError as error:  # the batch cannot be divided so
                progress(str(error))
        return tries.get(key)

    best = attempt(_start(config, devices))
    if best is None:
        raise UserError(
            "--search begins with the settings of the command line, which cannot be planned (see above)."
        )
    while True:
        before = best
        for field in best.settings:
            for settings in _variants(build, config, best.settings, field, devices, whole_batch):
                made = attempt(settings)
                if made and made.order < best.order:
                    best = made
        if best is before:
            return sorted(tries.values(), key=lambda each: each.order)


def changed(config: Config, settings: Settings) -> Config:
    """The configuration with other values. The mesh takes all devices that fsdp and tensor leave."""
    for path, value in settings.items():
        outer, name = path.split(".")
        inner = dataclasses.replace(getattr(config, outer), **{name: value})
        if isinstance(inner, MeshConfig):
            inner = dataclasses.replace(inner, data=-1)
        config = dataclasses.replace(config, **{outer: inner})
    return config


def flags(settings: Settings) -> str:
    """Settings as on a command line."""
    return " ".join(f"--{name} {value}" for name, value in settings.items())


def describe(tries: Sequence[Try]) -> str:
    """All tries as a table."""
    rows = [("hours", "a step", "GiB", "fits", "settings")]
    for each in tries:
        steps = " + ".join(milliseconds(plan.time.estimate) if plan.time else "?" for plan in each.plans)
        hours = f"{each.hours:.1f}" if math.isfinite(each.hours) else "?"
        fits = "yes" if each.fits else "no"
        rows.append((hours, steps, f"{each.memory / GIB:.2f}", fits, flags(each.settings)))
    return "\n".join(["  tries, the best first (train steps only):", *table(rows)])


def as_json(tries: Sequence[Try]) -> list[dict[str, Any]]:
    """All tries, the best first."""
    return [
        {
            "settings": each.settings,
            "fits": each.fits,
            "hours": each.hours if math.isfinite(each.hours) else None,
            "memory": each.memory,
        }
        for each in tries
    ]


def recomputation(config: Config) -> tuple[str, tuple[str, ...]] | None:
    """(path, values) of the setting that says what is computed again to save memory; None if there is none."""
    for field in dataclasses.fields(config):
        inner = getattr(config, field.name)
        if dataclasses.is_dataclass(inner) and hasattr(inner, "remat"):
            return f"{field.name}.remat", typing.get_args(typing.get_type_hints(type(inner))["remat"])
    return None


def _start(config: Config, devices: Sequence[jax.Device]) -> Settings:
    """What the search varies, as the configuration has it."""
    mesh = make_mesh(config.mesh, devices).shape
    settings: Settings = {"train.micro_batches": config.train.micro_batches}
    if found := recomputation(config):
        path, _ = found
        settings = {path: _value(config, path), **settings}
    return {**settings, "mesh.fsdp": mesh["fsdp"], "mesh.tensor": mesh["tensor"]}


def _variants(
    build: Callable[[Config], Experiment],
    config: Config,
    settings: Settings,
    field: str,
    devices: Sequence[jax.Device],
    whole_batch: bool,
) -> Iterator[Settings]:
    """The settings with other values of one field."""
    value = settings[field]
    if field.endswith(".remat"):
        others = [other for other in recomputation(config)[1] if other != value]
    elif field == "train.micro_batches":
        others = [] if whole_batch else [value // 2, 2 * value]
    else:
        others = [value // 2, 2 * value, *([1, len(devices)] if field == "mesh.fsdp" else [])]
    for other in dict.fromkeys(others):
        if other == 0:
            continue
        variant = {**settings, field: other}
        if not field.startswith("mesh.") or _mesh_works(build, changed(config, variant), devices):
            yield variant


def _mesh_works(build: Callable[[Config], Experiment], config: Config, devices: Sequence[jax.Device]) -> bool:
    """Whether there is such a mesh, it cuts what it is for, and the state alone fits."""
    experiment = build(config)
    if len(devices) % (config.mesh.fsdp * config.mesh.tensor) or (
        config.mesh.tensor > 1 and not experiment.rules
    ):
        return False
    mesh = make_mesh(experiment.mesh, devices)
    state = Program(experiment, mesh).state
    chip = CHIPS.get(devices[0].device_kind)
    return not left_whole(mesh, experiment.rules, state.params) and not (
        chip and bytes_per_chip(state) > chip.memory
    )


def _step_plans(experiment: Experiment, devices: Sequence[jax.Device]) -> list[Plan]:
    return [plan_phase(experiment, phase, devices, step_only=True) for phase in experiment.phases]


def _value(config: Config, path: str) -> Any:
    for name in path.split("."):
        config = getattr(config, name)
    return config
