"""Train steps compiled for TPU slices that are not there: they fit, and communicate as the mesh says."""

import importlib.util
import re
import subprocess
import sys
from dataclasses import replace
from typing import NamedTuple

import jax
import pytest

from benchmarks import plans
from experiments import bart, byol, gpt2, minimal, t5
from experiments.bert import PRESETS, build
from ssl_jax.training.paths import named_leaves
from ssl_jax.training.planning import CHIPS, plan_phase, topology_devices
from ssl_jax.training.sharding import MeshConfig

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed: nothing compiles for TPUs"
)


class Golden(NamedTuple):
    """What a step was estimated to need when it was last looked at; a tenth more is accepted.

    Attributes:
      seconds: of a step.
      temporary: bytes of working memory per chip.
      exchanged: bytes of all collectives per chip.
    """

    seconds: float
    temporary: float
    exchanged: float

    @classmethod
    def of(cls, experiment, preset, topology):
        """Of the first phase in docs/plans.json; None if that has no such slice."""
        plan = plans.read_plans().get(plans.PodPreset(f"experiments.{experiment}", preset, topology))
        if plan is None:
            return None
        phase = plan["phases"][0]
        exchanged = sum(each["bytes"] for each in phase["collectives"])
        return cls(phase["step_seconds"]["estimate"], phase["memory"]["step"]["working"], exchanged)

    def check(self, plan):
        found = Golden(
            plan.time.estimate, plan.memory["step"].working, sum(each.bytes for each in plan.collectives)
        )
        for name, before, now in zip(self._fields, self, found, strict=True):
            assert now <= 1.1 * before, f"{name}: {now:.4g}, {before:.4g} before"


def step_of(experiment, topology):
    return plan_phase(experiment, experiment.phases[0], topology_devices(topology), step_only=True)


@pytest.mark.parametrize("topology", ["v5e:4x4", "v5p:4x4x4"])
def test_paper_preset_fits_and_communicates(topology):
    experiment = build(PRESETS["base"])
    plan = step_of(experiment, topology)

    assert plan.fits
    if golden := Golden.of("bert", "base", topology):
        golden.check(plan)
    assert plan.memory["step"].available == CHIPS[plan.kind].memory
    kinds = {each.kind for each in plan.collectives}
    assert "all-reduce" in kinds, "gradients are summed over the chips"
    shapes = jax.eval_shape(experiment.method.init, jax.random.key(0), experiment.phases[0].batch)["params"]
    parameters = sum(4 * x.size for x in jax.tree.leaves(shapes))
    assert {each.axes for each in plan.collectives} == {"data"}
    # New parameters are gathered, or the compiler adds up arrays that have zeros for the parts of the others.
    reduced = sum(each.bytes for each in plan.collectives if each.kind == "all-reduce")
    assert "all-gather" in kinds or reduced > 1.8 * parameters, (
        "updates are cut over the copies of the parameters"
    )
    # A step reads its weights and moments, and writes them: more than the state, and gradients go over the links.
    state = plan.memory["step"].state
    assert plan.time.memory > 2 * state / CHIPS[plan.kind].hbm
    assert plan.time.flops < plan.time.estimate < 30 * plan.time.flops
    # Beside each are two moments, which are cut over all chips.
    assert state < 1.1 * parameters * (1 + 2 / plan.chips)
    assert sum(each.bytes for each in plan.collectives) > 0.9 * parameters


@pytest.mark.parametrize(
    ("module", "preset"),
    [
        (gpt2, "small"),
        (bart, "base"),
        (t5, "base"),
    ],
)
def test_a_step_needs_no_more_than_its_plan_says(module, preset):
    """If it does for a reason, the plans are made anew: benchmarks.plans."""
    topology = "v5e:4x4"
    golden = Golden.of(module.__name__.removeprefix("experiments."), preset, topology)
    golden.check(step_of(module.build(module.PRESETS[preset]), topology))


def test_a_resnet_has_no_loops_and_sums_the_statistics_of_its_views_together():
    """BYOL with three blocks of two convolutions, of two views, by the network and its target."""
    digits = byol.PRESETS["digits"]
    encoder = replace(digits.encoder, blocks=(3,), dtype="bfloat16")
    experiment = byol.build(replace(digits, encoder=encoder))
    plan = step_of(experiment, "v5e:2x2")

    # 44 in loops, where neither the views nor the network and its target meet.
    assert sum(each.count for each in plan.collectives if each.kind == "all-reduce") <= 24
    Golden(0.632e-3, 14.4 * 2**20, 0.795 * 2**20).check(plan)


def test_fsdp_cuts_the_state_and_tensor_the_layers():
    tiny = PRESETS["base"].model
    config = replace(PRESETS["base"], model=replace(tiny, layers=2))
    steps = {}
    for name, mesh in {
        "data": MeshConfig(),
        "fsdp": MeshConfig(fsdp=16),
        "tensor": MeshConfig(tensor=4),
    }.items():
        experiment = build(replace(config, mesh=mesh))
        steps[name] = step_of(experiment, "v5e:4x4")
    states = {name: step.memory["step"].state for name, step in steps.items()}
    shapes = jax.eval_shape(experiment.method.init, jax.random.key(0), experiment.phases[0].batch)["params"]
    parameters = sum(4 * x.size for x in jax.tree.leaves(shapes))
    assert states["fsdp"] < 3 * parameters / 14
    # A quarter of the layers on each chip; the moments of what a chip has are cut over the four along `data`.
    layers = sum(4 * x.size for name, x in named_leaves(shapes).items() if "/layers/" in name)
    assert layers > parameters / 4
    assert states["tensor"] < 1.1 * (parameters - 3 / 4 * layers) * (1 + 2 / 4)
    assert any(each.axes == "tensor" for each in steps["tensor"].collectives)
    gathered = {
        name: {each.axes for each in step.collectives if each.kind == "all-gather"}
        for name, step in steps.items()
    }
    assert gathered["fsdp"] == {"fsdp"}, "only fsdp cuts the parameters"
    assert gathered["data"] <= {"data"}
    assert {each.axes for each in steps["fsdp"].collectives} == {"fsdp"}


def test_slices_are_told_apart_from_the_chips_of_a_slice():
    """Two slices of four chips: gradients are summed over the links of each, then over the network between them."""
    experiment = minimal.build(minimal.PRESETS["digits"])
    plan = plan_phase(experiment, experiment.phases[0], topology_devices("v5e:2x2", 2), step_only=True)
    assert (plan.chips, plan.hosts) == (8, 2)
    assert any(each.between_slices for each in plan.collectives)


def test_a_step_that_does_not_fit_is_answered_and_two_plans_at_once_work():
    """In processes of their own, since libtpu keeps others from a machine's TPU unless told otherwise."""
    command = [sys.executable, "-m", "ssl_jax.plan", "experiments.gpt2", "small", "--topology", "v5e:2x2"]
    large = ["--train.micro_batches", "1", "--model.layers", "1"]
    processes = [
        subprocess.Popen([*command, *large, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for more in (["--train.batch_size", "4096"], ["--train.batch_size", "8192"])
    ]
    for process in processes:
        out, err = process.communicate(timeout=600)
        assert process.returncode == 1
        assert "Traceback" not in err
        assert re.search(r"step .*: does NOT fit, \d+\.\d\d GiB too much\n      \d+\.\d\d GiB .*: \S+\[", out)
        assert "Try --model.remat full, --train.micro_batches 2, --mesh.fsdp 4" in out
