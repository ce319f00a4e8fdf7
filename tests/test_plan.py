"""Planning on the devices at hand; tests/aot compiles for TPUs."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from experiments import bert
from ssl_jax import plan
from ssl_jax.errors import UserError
from ssl_jax.ops.convolution import convolve, convolve_transposed
from ssl_jax.training.sharding import MeshConfig


def test_product_flops_counts_every_turn_of_a_loop():
    def layers(x, weights):
        return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, weights)[0].sum()

    x, weights = jnp.ones((3, 8)), jnp.ones((5, 8, 8))
    forward = jax.make_jaxpr(layers)(x, weights).jaxpr
    backward = jax.make_jaxpr(jax.grad(layers, argnums=(0, 1)))(x, weights).jaxpr
    assert plan.product_flops(forward) == 5 * 2 * 3 * 8 * 8
    assert plan.product_flops(backward) == 3 * plan.product_flops(forward)


@pytest.mark.parametrize("transposed", [False, True])
def test_product_flops_counts_convolutions(transposed):
    """Of stride 2: the fine image is dilated on the way to or from it, and nobody multiplies with its zeros."""
    convolution = convolve_transposed if transposed else convolve
    x, kernel = jnp.ones((6, 16, 16, 3)), jnp.ones((4, 4, 5 if transposed else 3, 3 if transposed else 5))

    def total(x, kernel):
        return convolution(x, kernel, 2).sum()

    forward = plan.product_flops(jax.make_jaxpr(total)(x, kernel).jaxpr)
    backward = plan.product_flops(jax.make_jaxpr(jax.grad(total, argnums=(0, 1)))(x, kernel).jaxpr)
    coarse = 16 * 16 if transposed else 8 * 8
    assert forward == 2 * 6 * coarse * 4 * 4 * 3 * 5
    assert backward == 3 * forward


def test_count_collectives_reads_asynchronous_ones_once():
    program = """
      %ar = f32[8]{0} all-reduce(%x), replica_groups={}
      %start = (f32[8], f32[8]) all-gather-start(%y), dimensions={0}
      %done = f32[8]{0} all-gather-done(%start)
      %other = f32[8]{0} add(%ar, %done)
    """
    assert plan.count_collectives(program) == {"all-reduce": 1, "all-gather": 1}


def test_plans_minimal_on_the_devices_at_hand(capsys):
    assert plan.main(["experiments.minimal", "--mesh.fsdp", "2"]) == 0
    out = capsys.readouterr().out
    assert "1,000 steps of 64 examples" in out
    assert "8 x cpu" in out
    assert "all-reduce" in out


def test_parameters_that_the_mesh_does_not_divide_are_named(capsys):
    arguments = [
        "experiments.bert",
        "tiny",
        "--model.heads",
        "2",
        "--model.vocab_size",
        "4001",
        "--mesh.tensor",
        "4",
    ]
    assert plan.main(arguments) == 0
    out = capsys.readouterr().out
    assert "attention/qkv/kernel (2 over tensor 4)" in out
    assert "embeddings/token/embedding (4001 over tensor 4)" in out
    assert "mlp/up" not in out


def test_unknown_experiment_and_topology_are_explained():
    with pytest.raises(UserError, match=r"experiments\.brt: no such experiment"):
        plan.main(["experiments.brt"])
    with pytest.raises(UserError, match="Expected a slice such as v5e:4x4"):
        plan.topology_devices("v5e:nonsense")


def test_fsdp_gathers_weights_and_keeps_activations_with_their_examples():
    """Left alone, the compiler gathers the whole batch's activations: 3 times the memory, on every chip."""
    tiny = bert.PRESETS["tiny"]
    plans = {}
    for name, mesh in {"data": MeshConfig(), "fsdp": MeshConfig(fsdp=8)}.items():
        experiment = bert.build(dataclasses.replace(tiny, mesh=mesh))
        plans[name] = plan.plan_phase(experiment, experiment.phases[0], jax.devices())
    assert plans["fsdp"].state < plans["data"].state / 4
    assert plans["fsdp"].working < 1.2 * plans["data"].working
    assert plans["fsdp"].flops == plans["data"].flops
