"""The operations of a program compiled for TPUs, instruction by instruction, are those of the traced one, done once."""

import importlib.util
import math
import re
from dataclasses import replace

import pytest

from experiments import gpt2
from experiments.bert import PRESETS, build
from ssl_jax.training.compiling import Program
from ssl_jax.training.planning import topology_devices
from ssl_jax.training.planning.flops import product_flops
from ssl_jax.training.planning.hlo import parse_program
from ssl_jax.training.sharding import MeshConfig, make_mesh

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed: nothing compiles for TPUs"
)


def sizes(shape):
    return [int(n) for n in re.search(r"\[([\d,]*)\]", shape)[1].split(",") if n]


def convolution(computation, instruction):
    """Operations of one: a product of matrices is a convolution, too, possibly with some of its axes as pixels."""
    left, right = (sizes(computation[name].result) for name in instruction.operands)
    result = sizes(instruction.result)
    ways = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", instruction.rest).groups()
    window = re.search(r"window=\{([^}]*)\}", instruction.rest)
    window = dict(re.findall(r"(\w+)=(\S+)", window[1])) if window else {}
    operations = 2 * result[ways[2].index("b")] * result[ways[2].index("f")] * right[ways[1].index("i")]
    pixels = sorted(label for label in ways[0] if label.isdigit())

    def per_axis(name, default):
        return window[name].split("x") if name in window else [default] * len(pixels)

    settings = zip(
        *(per_axis(name, "1") for name in ("stride", "lhs_dilate", "rhs_dilate")),
        per_axis("pad", "0_0"),
        pixels,
        strict=True,
    )
    for stride, apart, taps_apart, padding, label in settings:
        stride, apart, taps_apart, before = (
            int(stride),
            int(apart),
            int(taps_apart),
            int(padding.split("_")[0]),
        )
        inputs, taps, outputs = (
            side[names.index(label)] for side, names in zip((left, right, result), ways, strict=True)
        )
        places = (
            output * stride - before + tap * taps_apart for output in range(outputs) for tap in range(taps)
        )
        operations *= sum(place % apart == 0 and 0 <= place // apart < inputs for place in places)
    return operations


def products(program, computation, instruction):
    """(its computation, product) of all that one instruction computes."""
    if instruction.opcode == "convolution":
        yield computation, instruction
    inside = program.fused(instruction) if instruction.opcode == "fusion" else {}
    for each in inside.values():
        yield from products(program, inside, each)


@pytest.mark.parametrize("rings", [False, True])
def test_loops_are_counted_as_often_as_they_run(rings):
    """Loops over layers are in the one over micro-batches. Loops that compute a product in a ring are in these.

    Rings are switched off. They are counted all the same: an iteration that is left out makes a program look fast.
    """
    preset, mesh = PRESETS["base"], MeshConfig(fsdp=16)
    model = replace(preset.model, layers=2, remat="full")
    train = replace(preset.train, micro_batches=2)
    experiment = build(replace(preset, model=model, train=train, mesh=mesh))
    devices = topology_devices("v5e:4x4")
    traced = Program(experiment, make_mesh(mesh, devices)).trace_train_step(experiment.phases[0])
    option = {"xla_jf_spmd_threshold_for_windowed_einsum_mib": 0} if rings else {}
    program = parse_program(traced.lower().compile(compiler_options=option).as_text())

    loops = [instruction for _, instruction in program.scheduled() if instruction.opcode == "while"]
    depth = max(loop.times for loop in loops)
    assert depth == (2 * model.layers if rings else 2)
    counted = sum(
        instruction.times * convolution(*product)
        for computation, instruction in program.scheduled()
        for product in products(program, computation, instruction)
    )
    expected = product_flops(traced.jaxpr.jaxpr) / len(devices)
    assert math.isclose(counted, expected, rel_tol=1e-3)


def test_each_product_is_an_instruction_of_its_own():
    """By itself, the compiler joins the two products of an MLP that is computed again, and repeats the first one."""
    preset = gpt2.PRESETS["medium"]
    model = replace(preset.model, vocab_size=1024, layers=2, remat="full")
    train = replace(preset.train, batch_size=64, micro_batches=1)
    experiment = gpt2.build(replace(preset, length=256, model=model, train=train))
    mesh = make_mesh(MeshConfig(), topology_devices("v5e:2x2"))
    traced = Program(experiment, mesh).trace_train_step(experiment.phases[0])
    program = parse_program(traced.lower().compile().as_text())
    assert {len(list(products(program, *scheduled))) for scheduled in program.scheduled()} == {0, 1}
