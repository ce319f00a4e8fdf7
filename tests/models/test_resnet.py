"""Residual networks against torchvision's, and batch statistics that do not depend on the devices."""

import dataclasses
import functools
import json
import pathlib
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from safetensors.numpy import load_file

from ssl_jax.errors import UserError
from ssl_jax.hub.resnet import save_resnet
from ssl_jax.models.resnet import SIZES, Block, ConvNorm, ResNet, ResNetConfig
from ssl_jax.ops.convolution import convolve
from ssl_jax.training.optimizers import stacked_layers
from ssl_jax.training.paths import named_leaves, path_name
from ssl_jax.training.sharding import MeshConfig, batch_sharding, make_mesh, partition, shard

TINY = ResNetConfig((1, 3), width=4, stem="cifar")
IMAGES = jax.random.uniform(jax.random.key(0), (16, 9, 8, 3))


def shapes(config, channels=3):
    images = jax.ShapeDtypeStruct((2, 32, 32, channels), jnp.float32)
    return jax.eval_shape(lambda x: ResNet(config).init(jax.random.key(0), x, True), images)


@functools.partial(jax.jit, static_argnums=0)
def start(config):
    """Variables as a run starts with them."""
    return ResNet(config).init(jax.random.key(0), IMAGES, True)


@functools.cache
def init(config):
    """Random parameters and statistics, none of them where it starts, so that a forgotten one shows."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        x = rng.standard_normal(leaf.shape)
        if path_name(path).endswith(("var", "scale")):
            x = 1 + 0.3 * np.tanh(x)
        elif path_name(path).endswith("kernel"):
            x *= np.prod(leaf.shape[-4:-1]) ** -0.5
        else:
            x *= 0.3
        return jnp.asarray(x, leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes(config))


@functools.partial(jax.jit, static_argnums=(0, 3))
def outputs(config, variables, images, train=True):
    """The features, and the statistics after the call."""
    return ResNet(config).apply(variables, images, train, mutable=["batch_stats"])


@functools.partial(jax.jit, static_argnums=0)
def gradients(config, variables, images, cotangent):
    """Of `(features * cotangent).sum()` in the parameters, after the features and the new statistics."""

    def loss(params):
        features, updated = outputs(config, variables | {"params": params}, images)
        return (features * cotangent).sum(), (features, updated)

    grads, (features, updated) = jax.grad(loss, has_aux=True)(variables["params"])
    return features, updated, grads


def assert_close(a, b, rtol, atol):
    a, b = named_leaves(a), named_leaves(b)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=rtol, atol=atol, err_msg=name)


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("image", [(8, 7), (2, 1)])
def test_derivatives_of_convolve_are_those_of_jax(size, stride, image):
    x, kernel = (
        jax.random.normal(jax.random.key(i), shape)
        for i, shape in enumerate([(3, *image, 5), (size, size, 5, 6)])
    )

    def plain(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, (stride,) * 2, [(size // 2,) * 2] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    @jax.jit
    def both(x, kernel):
        ours, ours_back = jax.vjp(lambda *a: convolve(*a, stride), x, kernel)
        theirs, theirs_back = jax.vjp(plain, x, kernel)
        cotangent = jax.random.normal(jax.random.key(2), theirs.shape)
        return (ours, *ours_back(cotangent)), (theirs, *theirs_back(cotangent))

    ours, theirs = both(x, kernel)
    assert ours[0].shape == (3, -(-image[0] // stride), -(-image[1] // stride), 6)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-5)


def test_gradient_of_a_bfloat16_kernel_is_summed_in_float32():
    # 4096 ones: a sum in bfloat16 stops at 256.
    _, back = jax.vjp(convolve, jnp.ones((4, 32, 32, 1), jnp.bfloat16), jnp.ones((1, 1, 1, 1)))
    _, kernel = back(jnp.ones((4, 32, 32, 1), jnp.bfloat16))
    assert (kernel.dtype, kernel.item()) == (jnp.float32, 4096)


@pytest.mark.parametrize(
    ("name", "parameters", "features"),
    [
        ("resnet18", 11_176_512, 512),
        ("resnet34", 21_284_672, 512),
        ("resnet50", 23_508_032, 2048),
        ("resnet101", 42_500_160, 2048),
        ("resnet152", 58_143_808, 2048),
        ("resnet200", 62_624_832, 2048),
    ],
)
def test_parameters_are_as_many_as_torchvision_has_without_a_classifier(name, parameters, features):
    params = shapes(SIZES[name])["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == parameters
    assert SIZES[name].features == features
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}


def torch_name(name):
    """torchvision's name, and the index in a stack, for each parameter or statistic of ours."""
    field = {
        "kernel": "weight",
        "scale": "weight",
        "bias": "bias",
        "mean": "running_mean",
        "var": "running_var",
    }
    *parts, last = name.split("/")
    normalised = parts[-1] == "norm"
    if parts[0] == "stem":
        return f"{'bn1' if normalised else 'conv1'}.{field[last]}", False
    stage, block, layer = parts[0][-1], parts[1], parts[2]
    kind = "bn" if normalised else "conv"
    layer = f"downsample.{int(normalised)}" if layer == "shortcut" else kind + layer[-1]
    return f"layer{stage}.{'{}' if block == 'layers' else 0}.{layer}.{field[last]}", block == "layers"


def from_torch(weights, tree):
    """A tree shaped as `tree`, filled with torch's weights."""

    def fill(path, leaf):
        name, stacked = torch_name(path_name(path))
        arrays = [weights[name.format(i + 1)] for i in range(leaf.shape[0] if stacked else 1)]
        arrays = [array.transpose(2, 3, 1, 0) if array.ndim == 4 else array for array in arrays]
        return jnp.float32(np.stack(arrays) if stacked else arrays[0])

    return jax.tree_util.tree_map_with_path(fill, tree)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("resnet18", dataclasses.replace(SIZES["resnet18"], width=4)),
        ("bottleneck", ResNetConfig((1, 3, 1, 1), width=4)),
    ],
)
def test_equals_torchvision(name, config, tmp_path):
    golden = dict(np.load(pathlib.Path(__file__).parent / "golden" / f"{name}.npz", allow_pickle=False))
    weights = {key.removeprefix("weight/"): array for key, array in golden.items()}
    variables = {kind: from_torch(weights, tree) for kind, tree in shapes(config).items()}
    images = jnp.asarray(golden["images"] / np.float32(255))
    evaluated, _ = outputs(config, variables, images, False)
    np.testing.assert_allclose(evaluated, golden["eval"], rtol=1e-4, atol=1e-4)

    save_resnet(epath.Path(tmp_path), config, variables)
    exported = load_file(tmp_path / "model.safetensors")
    counts = {key: exported.pop(key) for key in [*exported] if key.endswith("num_batches_tracked")}
    assert {array.shape for array in counts.values()} == {()}
    named = {key.removeprefix("weight/") for key in golden if key.startswith("weight/")}
    assert exported.keys() == {key for key in named if not key.endswith("num_batches_tracked")}
    for key, array in exported.items():
        np.testing.assert_array_equal(array, weights[key].astype(np.float32), err_msg=key)
    settings = json.loads((tmp_path / "config.json").read_text())
    block = "Bottleneck" if config.bottleneck else "BasicBlock"
    assert (settings["block"], tuple(settings["layers"])) == (block, config.blocks)

    features, updated, grads = gradients(config, variables, images, golden["cotangent"])
    np.testing.assert_allclose(features, golden["train"], rtol=1e-4, atol=1e-4)

    compared = 0
    ours = named_leaves(updated["batch_stats"]) | named_leaves(grads)
    for leaf, array in ours.items():
        torch, stacked = torch_name(leaf)
        for i in range(array.shape[0] if stacked else 1):
            kind = "gradient" if leaf.endswith(("kernel", "scale", "bias")) else "mean"
            expected = golden.get(f"{kind}/{torch.format(i + 1)}")
            if expected is not None:
                found = np.asarray(array[i] if stacked else array)
                found = found.transpose(3, 2, 0, 1) if found.ndim == 4 else found
                scale = np.abs(expected).max()
                np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * scale, err_msg=leaf)
                compared += 1
    assert compared == sum(key.startswith(("gradient/", "mean/")) for key in golden)


def test_normalises_by_the_batch_and_keeps_running_statistics():
    """NumPy written from arXiv:1502.03167, algorithm 1, after a 1x1 convolution."""
    config = ResNetConfig(norm_momentum=0.8, norm_epsilon=0.1)
    x = np.asarray(IMAGES, np.float64)
    rng = np.random.default_rng(0)
    kernel, scale, bias, mean, var = rng.standard_normal((3, 5)), *rng.uniform(0.5, 1.5, (4, 5))
    variables = {
        "params": {"kernel": kernel[None, None], "norm": {"scale": scale, "bias": bias}},
        "batch_stats": {"norm": {"mean": mean, "var": var}},
    }
    variables = jax.tree.map(jnp.float32, variables)
    y = x @ kernel
    m, v = y.mean((0, 1, 2)), y.var((0, 1, 2))

    train = ConvNorm(config, 5, 1, train=True)
    found, updated = train.apply(variables, IMAGES, mutable=["batch_stats"])
    np.testing.assert_allclose(found, (y - m) / np.sqrt(v + 0.1) * scale + bias, rtol=1e-4, atol=1e-5)
    expected = {"norm": {"mean": 0.8 * mean + 0.2 * m, "var": 0.8 * var + 0.2 * v}}
    assert_close(updated["batch_stats"], expected, rtol=1e-5, atol=1e-6)

    found = ConvNorm(config, 5, 1, train=False).apply(variables, IMAGES)
    np.testing.assert_allclose(found, (y - mean) / np.sqrt(var + 0.1) * scale + bias, rtol=1e-4, atol=1e-5)


def test_evaluation_leaves_the_statistics_alone_and_sees_each_image_by_itself():
    variables = init(TINY)
    together, updated = outputs(TINY, variables, IMAGES, False)
    jax.tree.map(np.testing.assert_array_equal, updated["batch_stats"], variables["batch_stats"])
    alone = outputs(TINY, variables, IMAGES[3:4], False)[0]
    np.testing.assert_allclose(together[3:4], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("mesh", "bottleneck"), [(MeshConfig(data=8), True), (MeshConfig(fsdp=4), False)])
def test_eight_devices_equal_one(mesh, bottleneck):
    """The batch over all of them, and with fsdp the kernels too."""
    config = dataclasses.replace(TINY, width=64 if mesh.fsdp > 1 else 4, bottleneck=bottleneck)
    variables = init(config)
    cotangent = jax.random.normal(jax.random.key(1), (len(IMAGES), config.features))
    one = gradients(config, variables, IMAGES, cotangent)

    mesh = make_mesh(mesh)
    placed = jax.device_put(
        (variables, IMAGES, cotangent), (shard(mesh, (), variables), *[batch_sharding(mesh)] * 2)
    )
    with jax.set_mesh(mesh):
        compiled = gradients.lower(config, *placed).compile()
        eight = compiled(*placed)
    cut = [
        name for name, leaf in named_leaves(variables).items() if any(partition(mesh, (), name, leaf.shape))
    ]
    assert bool(cut) == (mesh.shape["fsdp"] > 1)
    assert "all-to-all" not in compiled.as_text(), "activations stay with their examples"
    for ours, reference in zip(eight, one, strict=True):
        for (name, a), b in zip(named_leaves(ours).items(), jax.tree.leaves(reference), strict=True):
            scale = np.abs(b).max()
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * max(scale, 0.1), err_msg=name)


def test_statistics_are_those_of_the_whole_batch():
    """What one image becomes in training depends on all the others."""
    variables = init(TINY)
    before, _ = outputs(TINY, variables, IMAGES)
    after, _ = outputs(TINY, variables, IMAGES.at[-1].multiply(3.0))
    assert (jnp.abs(before[0] - after[0]).max()) > 1e-3


@pytest.mark.parametrize("bottleneck", [True, False])
def test_scan_equals_blocks_called_one_by_one(bottleneck):
    config = dataclasses.replace(TINY, blocks=(3,), bottleneck=bottleneck)
    variables = init(config)

    def one_by_one(variables, x):
        def apply(module, x, *path, index=None):
            parts = {}
            for kind, tree in variables.items():
                for key in path:
                    tree = tree[key]
                parts[kind] = tree if index is None else jax.tree.map(lambda p: p[index], tree)
            return module.apply(parts, x, mutable=["batch_stats"])

        x, _ = apply(ConvNorm(config, 4, 3, True), x, "stem")
        (x, _), _ = apply(Block(config, 4, True), jax.nn.relu(x), "stage1", "first")
        updated = []
        for i in range(2):
            (x, _), new = apply(Block(config, 4, True), x, "stage1", "layers", index=i)
            updated.append(new["batch_stats"])
        return x.mean((1, 2)), jax.tree.map(lambda *leaves: jnp.stack(leaves), *updated)

    found, updated = outputs(config, variables, IMAGES)
    expected, statistics = jax.jit(one_by_one)(variables, IMAGES)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert_close(updated["batch_stats"]["stage1"]["layers"], statistics, rtol=1e-5, atol=1e-6)


def test_unrolled_blocks_give_what_the_loop_gives(monkeypatch):
    """On TPUs blocks are unrolled, unless they are computed again in the backward pass."""
    config = dataclasses.replace(TINY, blocks=(3,), width=5)  # which nothing else has traced
    again = dataclasses.replace(config, remat="full")
    arguments = init(config), IMAGES, jax.random.normal(jax.random.key(1), (16, config.features))

    def lowered(config, platform):
        monkeypatch.setattr("ssl_jax.ops.recompute.platform", lambda: platform)
        program = gradients.lower(config, *arguments)
        for function in (outputs, gradients):
            function.clear_cache()  # what is traced for one platform is not for the other
        return program, program.as_text().count("stablehlo.while")

    looped, loops = lowered(config, "cpu")
    unrolled, none = lowered(config, "tpu")
    _, kept = lowered(again, "tpu")
    assert (loops, none, kept) == (2, 0, 2)
    found, expected = (program.compile()(*arguments) for program in (unrolled, looped))
    assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_blocks_are_stacked_start_different_and_add_nothing():
    variables = start(TINY)
    stack = variables["params"]["stage2"]["layers"]
    assert stacked_layers(variables["params"]) == {"stage2/layers": 2}
    assert (stack["convolution2"]["kernel"][0] != stack["convolution2"]["kernel"][1]).all()
    scales = {name: leaf for name, leaf in named_leaves(variables["params"]).items() if "scale" in name}
    assert {name for name, scale in scales.items() if not np.any(scale)} == {
        "stage1/first/convolution3/norm/scale",
        "stage2/first/convolution3/norm/scale",
        "stage2/layers/convolution3/norm/scale",
    }


def test_kernels_start_with_variance_two_over_fan_out():
    kernel = shapes(dataclasses.replace(TINY, width=64))["params"]["stage2"]["layers"]["convolution2"][
        "kernel"
    ]
    assert kernel.shape == (2, 3, 3, 128, 128)
    drawn = ResNet(dataclasses.replace(TINY, width=64)).init(jax.random.key(0), IMAGES[:1], False)
    drawn = drawn["params"]["stage2"]["layers"]["convolution2"]["kernel"]
    assert drawn.std() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)


@pytest.mark.parametrize(
    ("stem", "image", "expected"), [("imagenet", 32, 8), ("cifar", 32, 32), ("small", 28, 14)]
)
def test_stems_shrink_the_image(stem, image, expected):
    """Seen from what reaches the first block."""
    config = dataclasses.replace(TINY, stem=stem)
    images = jax.ShapeDtypeStruct((2, image, image, 1), jnp.float32)
    reached = []

    def intercept(next_function, args, kwargs, context):
        if isinstance(context.module, Block):
            reached.append(args[0].shape)
        return next_function(*args, **kwargs)

    with nn.intercept_methods(intercept):
        jax.eval_shape(lambda x: ResNet(config).init(jax.random.key(0), x, True), images)
    assert reached[0] == (2, expected, expected, 4)


def test_bfloat16_computes_nearly_the_same_from_float32_parameters():
    variables = init(TINY)
    half = dataclasses.replace(TINY, dtype="bfloat16")
    cotangent = jax.random.normal(jax.random.key(1), (len(IMAGES), TINY.features)) / len(IMAGES)
    exact = gradients(TINY, variables, IMAGES, cotangent)
    found = gradients(half, variables, IMAGES, cotangent)
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype("float32")}
    assert np.any(found[0] != exact[0])
    np.testing.assert_allclose(found[0], exact[0], atol=0.05)
    norm = np.sqrt(sum(np.square(g).sum() for g in jax.tree.leaves(exact[2])))
    error = np.sqrt(
        sum(np.square(a - b).sum() for a, b in zip(*map(jax.tree.leaves, (found[2], exact[2])), strict=True))
    )
    assert error < 0.5 * norm


def test_gradients_are_finite_for_images_without_contrast():
    variables = start(TINY)
    features, _, grads = gradients(TINY, variables, jnp.zeros_like(IMAGES), jnp.ones((16, 32)))
    assert np.isfinite(features).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


def test_remat_changes_no_gradient_and_no_statistics():
    variables, cotangent = init(TINY), jax.random.normal(jax.random.key(1), (16, TINY.features))
    plain, again = (
        jax.jit(functools.partial(gradients, dataclasses.replace(TINY, remat=remat)))(
            variables, IMAGES, cotangent
        )
        for remat in ("none", "full")
    )
    assert_close(again, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("remat", ["none", "full"])
def test_program_does_not_grow_with_depth(remat):
    """What is compiled for stages of 12 blocks is, but for its constants, what is compiled for 3."""

    def size(blocks):
        config = dataclasses.replace(TINY, blocks=(blocks, blocks), remat=remat)
        program = gradients.lower(config, shapes(config), IMAGES, jnp.ones((16, 32)))
        return len(program.as_text().splitlines())

    assert size(12) == size(3)


def test_convolutions_in_loops_have_their_usual_order():
    """XLA for CPUs is slow at any other order inside of loops; see `ssl_jax.ops.convolution`."""
    program = gradients.lower(TINY, shapes(TINY), IMAGES, jnp.ones((16, 32))).as_text()
    orders = set(re.findall(r"dim_numbers = (.*?), window", program))
    assert orders == {"[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]"}


@pytest.mark.parametrize("field", [{"blocks": ()}, {"blocks": (2, 0)}, {"width": 0}])
def test_wrong_configurations_are_refused(field):
    with pytest.raises(UserError, match=next(iter(field))):
        ResNetConfig(**field)
