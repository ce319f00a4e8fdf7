"""What a compiled step needs, counted on the devices at hand; tests/aot compiles for TPUs."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import pytest

from experiments import bert, gpt2, simclr
from ssl_jax.errors import UserError
from ssl_jax.models import transformer
from ssl_jax.ops.convolution import convolve, convolve_transposed
from ssl_jax.training import planning
from ssl_jax.training.compiling import Program
from ssl_jax.training.planning import programs, search
from ssl_jax.training.sharding import MeshConfig, make_mesh


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
    backward = planning.product_flops(
        jax.make_jaxpr(jax.value_and_grad(total, argnums=(0, 1)))(x, kernel).jaxpr
    )
    coarse = 16 * 16 if transposed else 8 * 8
    assert forward == 2 * 6 * coarse * 4 * 4 * 3 * 5
    assert backward == 3 * forward


def traced(module, config):
    experiment = module.build(config)
    program = Program(experiment, make_mesh(experiment.mesh))
    return program.trace_train_step(experiment.phases[0]).jaxpr.jaxpr


@pytest.mark.parametrize("kernels", [False, True])
@pytest.mark.parametrize("micro_batches", [1, 2, 8])
def test_model_flops_are_those_of_the_formula_without_what_is_computed_again(
    monkeypatch, micro_batches, kernels
):
    """6 operations per weight of a product and token, and 12 x layers x length x width per token for attention."""
    monkeypatch.setattr(transformer, "kernel_takes", lambda *sizes: kernels)
    config = gpt2.PRESETS["small"]
    model = dataclasses.replace(config.model, remat="dots")
    train = dataclasses.replace(config.train, micro_batches=micro_batches)
    step = traced(gpt2, dataclasses.replace(config, model=model, train=train))
    weights = 12 * model.layers * model.width**2 + model.width * model.vocab_size
    per_token = 6 * weights + 12 * model.layers * config.length * model.width
    recomputed = planning.recomputed_flops(step)
    expected = config.train.batch_size * config.length * per_token
    assert planning.product_flops(step) - recomputed == pytest.approx(expected, rel=0.02)
    # The logits of attention are computed again, by a kernel or by a layer that keeps the outputs of its products.
    logits = config.train.batch_size * config.length * 2 * model.layers * config.length * model.width
    assert recomputed == pytest.approx(logits)
    # Forward and backward, the latter with the logits again; three of the four blocks of each row's logits are done.
    attention = config.train.batch_size * config.length * 14 * model.layers * config.length * model.width
    seconds = planning.kernel_seconds(step, peak=1.0)
    assert seconds == pytest.approx(kernels * attention * 0.75 / 0.25)


@pytest.mark.parametrize("micro_batches", [1, 8])
def test_nothing_is_computed_again_without_remat(micro_batches):
    config, model = bert.PRESETS["base"], bert.PRESETS["base"].model
    step = traced(
        bert,
        dataclasses.replace(config, train=dataclasses.replace(config.train, micro_batches=micro_batches)),
    )
    length = config.phases[0].length
    layers = model.layers * (
        4 * model.width**2 + 2 * model.width * model.mlp_width + 2 * length * model.width
    )
    head = (model.width**2 + model.width * model.vocab_size) * 20 / 128  # at 20 of 128 positions
    expected = 6 * config.train.batch_size * length * (layers + head)
    assert planning.product_flops(step) == pytest.approx(expected, rel=0.02)
    assert planning.recomputed_flops(step) == 0


def test_an_unknown_topology_is_explained():
    with pytest.raises(UserError, match="Expected a slice such as v5e:4x4"):
        planning.topology_devices("v5e:nonsense")


def test_only_the_axis_data_crosses_slices():
    devices = [types.SimpleNamespace(slice_index=number // 4) for number in range(8)]
    with pytest.raises(UserError, match=r"mesh\.data 1: must be a multiple of the 2 slices"):
        make_mesh(MeshConfig(fsdp=8), devices)


def test_fsdp_gathers_weights_and_keeps_activations_with_their_examples():
    """Left alone, the compiler gathers the whole batch's activations: 3 times the memory, on every chip."""
    tiny = bert.PRESETS["tiny"]
    plans = {}
    for name, mesh in {"data": MeshConfig(), "fsdp": MeshConfig(fsdp=8)}.items():
        experiment = bert.build(dataclasses.replace(tiny, mesh=mesh))
        plans[name] = planning.plan_phase(experiment, experiment.phases[0], jax.devices(), step_only=True)
    data, fsdp = (plans[name].memory["step"] for name in ("data", "fsdp"))
    shapes = jax.eval_shape(experiment.method.init, jax.random.key(0), experiment.phases[0].batch)["params"]
    whole = 3 * sum(4 * x.size for x in jax.tree.leaves(shapes))  # parameters and two moments
    assert fsdp.state < whole / 4
    assert whole / 3 < data.state < whole / 2  # the moments are cut over the copies of the parameters
    assert fsdp.working < 1.2 * data.working
    assert plans["fsdp"].flops == plans["data"].flops
    assert any(each.axes == "fsdp" and each.kind == "all-gather" for each in plans["fsdp"].collectives)
    assert {each.axes for each in plans["data"].collectives} == {"data"}


TERSE = (
    "Ran out of memory on HBM, the total memory required for HLO temporaries (36.15G) exceeds available HBM "
    "(15.75G)."
)
REFUSALS = {
    TERSE: (36.15, ()),
    """Ran out of memory in memory space hbm. Used 18.50G of 15.75G hbm. Exceeded hbm capacity by 2.75G.

  Largest program allocations in hbm:

  1. Size: 6.00G
     Operator: op_name="jit(step)/dot_general" source_file="a.py" source_line=3
     Shape: f32[1024,1536,1024]{2,1,0:T(8,128)}
     Unpadded size: 6.00G
     ==========================
  2. Size: 512.0M
     Shape: bf16[8,8]{1,0}
""": (17.5, (("f32[1024,1536,1024]", 6.0, "jit(step)/dot_general"), ("bf16[8,8]", 0.5, ""))),
}


@pytest.mark.parametrize("message", REFUSALS)
def test_a_program_that_does_not_fit_is_a_plan_with_its_largest_arrays(message):
    """By the compiler's own words, or if it names no arrays, by the traced program; arguments take 1 GiB here."""
    working, arrays = REFUSALS[message]
    state = jax.ShapeDtypeStruct(
        (2**28,), jnp.float32, sharding=jax.sharding.SingleDeviceSharding(jax.devices()[0])
    )

    def lower():
        raise jax.errors.JaxRuntimeError(f"RESOURCE_EXHAUSTED: {message}")

    step = jax.make_jaxpr(lambda x: (x @ x.T).sum())(jnp.ones((300, 2))).jaxpr
    compiled = programs.compile_program(lower, state=state, batch={}, available=15.75 * 2**30, jaxpr=step)
    memory = compiled.memory
    assert (compiled.program, memory.fits) == (None, False)
    assert memory.state == 2**30
    assert memory.working / 2**30 == pytest.approx(working)
    found = tuple((array.shape, array.bytes / 2**30, array.operation) for array in memory.largest)
    if arrays:
        assert found == arrays
    else:
        assert str(memory.largest[0]) == "0.00 GiB over all chips: float32[300, 300] of dot_general"


def test_search_ends_at_the_shortest_estimate_that_fits(monkeypatch):
    """Of made-up plans: a step is faster without remat and with few parts, and fits with 2 parts without remat."""
    config = gpt2.PRESETS["medium"]

    def plans(experiment, devices):
        remat, parts = current["model.remat"], experiment.train.micro_batches
        memory = {"none": 20, "dots": 12, "full": 8}[remat] / parts * 2**30
        seconds = (
            {"none": 1.0, "dots": 1.2, "full": 1.3}[remat] + 0.01 * parts + 0.1 * (experiment.mesh.fsdp > 1)
        )
        time = planning.StepTime(0.0, 0.0, seconds, 0.0, 0.0, 0.0)
        memory = {"step": planning.Memory(0, 0, int(memory), 10 * 2**30)}
        return [planning.Plan(experiment.phases[0], "TPU v4", 8, 1, {}, memory, 1.0, 0.0, (), (), time, 0.0)]

    current = {}
    monkeypatch.setattr(search, "_step_plans", plans)
    lines = []

    def progress(line):
        lines.append(line)
        words = line.split(": ", 1)[1].split()
        current.update(zip([word[2:] for word in words[::2]], words[1::2], strict=True))

    tries = search.search(gpt2.build, config, jax.devices(), whole_batch=False, progress=progress)
    assert search.flags(tries[0].settings) == (
        "--model.remat none --train.micro_batches 2 --mesh.fsdp 1 --mesh.tensor 1"
    )
    assert len(tries) == len(lines) <= search.TRIES
    assert [each.fits for each in tries] == sorted((each.fits for each in tries), reverse=True)
    assert search.changed(config, tries[0].settings).model.remat == "none"


def test_search_leaves_the_batch_of_a_contrastive_loss_whole(monkeypatch):
    config = simclr.PRESETS["imagenet"]
    made = search._variants(
        simclr.build, config, search._start(config, jax.devices()), "train.micro_batches", [], True
    )
    assert list(made) == []
