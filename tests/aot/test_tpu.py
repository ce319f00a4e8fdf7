"""BERT's train step, compiled for TPU slices that are not there: it fits, and communicates as the mesh says."""

import importlib.util
from dataclasses import replace

import pytest

from experiments.bert import PRESETS, build
from ssl_jax.training.planning import CHIPS, plan_phase, topology_devices
from ssl_jax.training.sharding import MeshConfig

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed: nothing compiles for TPUs"
)


@pytest.mark.parametrize("topology", ["v5e:4x4", "v5p:4x4x4"])
@pytest.mark.parametrize("preset", ["base", "large"])
def test_paper_preset_fits_and_communicates(preset, topology):
    experiment = build(PRESETS[preset])
    plan = plan_phase(experiment, experiment.phases[0], topology_devices(topology))

    assert plan.total < CHIPS[plan.kind].memory
    assert plan.collectives["all-reduce"] > 0, "gradients are summed over the chips"
    gathers = plan.collectives.get("all-gather", 0)
    assert (gathers > 0) == (experiment.mesh.fsdp > 1), "only fsdp cuts the parameters"
    assert_flops_are_those_of_the_paper(plan, PRESETS[preset])


def test_fsdp_cuts_the_state_and_tensor_the_layers():
    devices = topology_devices("v5e:4x4")
    tiny = PRESETS["base"].model
    config = replace(PRESETS["base"], model=replace(tiny, layers=2))
    states = {}
    for name, mesh in {
        "data": MeshConfig(),
        "fsdp": MeshConfig(fsdp=16),
        "tensor": MeshConfig(tensor=4),
    }.items():
        experiment = build(replace(config, mesh=mesh))
        states[name] = plan_phase(experiment, experiment.phases[0], devices).state
    assert states["fsdp"] < states["data"] / 14
    assert states["tensor"] < states["data"] * 0.8


def assert_flops_are_those_of_the_paper(plan, config):
    """Six operations per parameter of the layers and token, the head at 20 of 128 positions, and attention."""
    model, batch, length = config.model, config.train.batch_size, config.phases[0].length
    layers = model.layers * (
        4 * model.width**2 + 2 * model.width * model.mlp_width + 2 * length * model.width
    )
    head = (model.width**2 + model.width * model.vocab_size) * 20 / 128
    expected = 6 * batch * length * (layers + head) / plan.chips
    if model.remat == "none":
        assert plan.flops == pytest.approx(expected, rel=0.03)
    else:
        assert expected <= plan.flops <= 1.4 * expected
