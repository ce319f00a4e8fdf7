"""What a compiled step needs, counted on the devices at hand; tests/aot compiles for TPUs."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from experiments import bert
from ssl_jax.errors import UserError
from ssl_jax.ops.convolution import convolve, convolve_transposed
from ssl_jax.training import planning
from ssl_jax.training.sharding import MeshConfig


def test_product_flops_counts_every_iteration_of_a_loop():
    def layers(x, weights):
        return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, weights)[0].sum()

    x, weights = jnp.ones((3, 8)), jnp.ones((5, 8, 8))
    forward = jax.make_jaxpr(layers)(x, weights).jaxpr
    backward = jax.make_jaxpr(jax.grad(layers, argnums=(0, 1)))(x, weights).jaxpr
    assert planning.product_flops(forward) == 5 * 2 * 3 * 8 * 8
    assert planning.product_flops(backward) == 3 * planning.product_flops(forward)


@pytest.mark.parametrize("transposed", [False, True])
def test_product_flops_counts_convolutions(transposed):
    """Of stride 2: the fine image is dilated on the way to or from it, and products with its zeros do not count."""
    convolution = convolve_transposed if transposed else convolve
    x, kernel = jnp.ones((6, 16, 16, 3)), jnp.ones((4, 4, 5 if transposed else 3, 3 if transposed else 5))

    def total(x, kernel):
        return convolution(x, kernel, 2).sum()

    forward = planning.product_flops(jax.make_jaxpr(total)(x, kernel).jaxpr)
    backward = planning.product_flops(jax.make_jaxpr(jax.grad(total, argnums=(0, 1)))(x, kernel).jaxpr)
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
    assert planning.count_collectives(program) == {"all-reduce": 1, "all-gather": 1}


def test_an_unknown_topology_is_explained():
    with pytest.raises(UserError, match="Expected a slice such as v5e:4x4"):
        planning.topology_devices("v5e:nonsense")


def test_fsdp_gathers_weights_and_keeps_activations_with_their_examples():
    """Left alone, the compiler gathers the whole batch's activations: 3 times the memory, on every chip."""
    tiny = bert.PRESETS["tiny"]
    plans = {}
    for name, mesh in {"data": MeshConfig(), "fsdp": MeshConfig(fsdp=8)}.items():
        experiment = bert.build(dataclasses.replace(tiny, mesh=mesh))
        plans[name] = planning.plan_phase(experiment, experiment.phases[0], jax.devices())
    assert plans["fsdp"].state < plans["data"].state / 4
    assert plans["fsdp"].working < 1.2 * plans["data"].working
    assert plans["fsdp"].flops == plans["data"].flops
