import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.models.attention import causal_mask, forget_padding, padding_mask
from ssl_jax.models.layers import LayerNorm
from ssl_jax.models.transformer import Layer, Transformer, TransformerConfig, empty_cache, unstack

ENCODER = TransformerConfig(layers=3, width=16, heads=2, mlp_width=24, initializer_stddev=0.3)
DECODER = dataclasses.replace(ENCODER, norm="pre", norm_epsilon=1e-5, causal=True, cross_attention=True)
B, L, S = 2, 7, 5
X = jax.random.normal(jax.random.key(1), (B, L, 16))
CONTEXT = jax.random.normal(jax.random.key(2), (B, S, 16))
CONTEXT_MASK = padding_mask(jnp.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]))


@functools.cache
def init(config):
    """Random parameters, none of them where it starts, so that a forgotten bias or scale shows."""
    context = CONTEXT if config.cross_attention else None
    shapes = jax.eval_shape(lambda: Transformer(config).init(jax.random.key(0), X, context=context))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: jnp.asarray(0.3 * rng.standard_normal(x.shape), x.dtype), shapes)


@functools.partial(jax.jit, static_argnums=0)
def decode(config, params, x, cache=None, context=CONTEXT):
    arguments = {"context": context, "context_mask": CONTEXT_MASK} if config.cross_attention else {}
    return Transformer(config).apply(params, x, cache=cache, **arguments)


@functools.partial(jax.jit, static_argnums=0)
def layer_by_layer(config, params, x):
    """What the stack should compute, without `nn.scan`."""
    mask = causal_mask(L, L) if config.causal else None
    context = (CONTEXT, CONTEXT_MASK) if config.cross_attention else (None, None)
    for i in range(config.layers):
        layer = params["params"]["layers"]
        layer = layer if config.share_layers else jax.tree.map(lambda p, i=i: p[i], layer)
        x, _ = Layer(config, True).apply({"params": layer}, x, None, mask, None, *context)
    if config.norm == "pre":
        x = LayerNorm(config.norm_epsilon).apply({"params": params["params"]["final_norm"]}, x)
    return x


@pytest.mark.parametrize("config", [ENCODER, DECODER], ids=["post", "pre-causal-cross"])
@pytest.mark.parametrize("share", [False, True])
def test_scan_equals_layers_called_one_by_one(config, share):
    config = dataclasses.replace(config, share_layers=share)
    params = init(config)
    assert ("final_norm" in params["params"]) == (config.norm == "pre")
    expected = layer_by_layer(config, params, X)
    np.testing.assert_allclose(decode(config, params, X)[0], expected, rtol=1e-4, atol=1e-4)


def test_layers_are_stacked_and_start_different():
    kernel = jax.jit(Transformer(ENCODER).init)(jax.random.key(0), X)["params"]["layers"]["attention"]["qkv"][
        "kernel"
    ]
    assert kernel.shape == (3, 16, 3, 2, 8)
    assert (kernel[0] != kernel[1]).all()


@pytest.mark.parametrize("changed", [0, 3, L - 1])
def test_causal_outputs_depend_on_the_past_alone(changed):
    params = init(DECODER)
    before, _ = decode(DECODER, params, X)
    after, _ = decode(DECODER, params, X.at[:, changed, 0].add(1.0))
    np.testing.assert_array_equal(before[:, :changed], after[:, :changed])
    assert (jnp.abs(before[:, changed:] - after[:, changed:]).max(-1) > 1e-3).all()


@pytest.mark.parametrize("share", [False, True])
def test_cached_decoding_equals_uncached(share):
    config = dataclasses.replace(DECODER, share_layers=share)
    params = init(config)
    expected, _ = decode(config, params, X)
    step = jax.jit(lambda x, cache: decode(config, params, x, cache, None))
    out, cache = decode(config, params, X[:, :3], empty_cache(config, B, capacity=9))
    outs = [out]
    for t in range(3, L):
        out, cache = step(X[:, t : t + 1], cache)
        outs.append(out)
    np.testing.assert_allclose(jnp.concatenate(outs, axis=1), expected, rtol=1e-4, atol=1e-4)
    assert cache.length.tolist() == [L, L]
    assert step._cache_size() == 1
    by_layer = {"params": params["params"] | {"layers": unstack(params["params"]["layers"], config)}}
    again, _ = decode(config, by_layer, X, empty_cache(config, B, capacity=9))
    np.testing.assert_allclose(again, expected, rtol=1e-4, atol=1e-4)


def test_cached_decoding_of_prompts_of_different_lengths():
    params = init(DECODER)
    lengths = [2, 4]
    prompts = jnp.where(jnp.arange(4)[None, :, None] < jnp.array(lengths)[:, None, None], X[:, :4], 99.0)
    _, cache = decode(DECODER, params, prompts, empty_cache(DECODER, B, capacity=8))
    cache = forget_padding(cache, jnp.array(lengths))
    expected, _ = decode(DECODER, params, X)
    for t in range(2):
        following = jnp.stack([X[row, length + t] for row, length in enumerate(lengths)])[:, None]
        out, cache = decode(DECODER, params, following, cache, None)
        for row, length in enumerate(lengths):
            np.testing.assert_allclose(out[row, 0], expected[row, length + t], rtol=1e-4, atol=1e-4)


def test_masked_context_is_not_seen():
    params = init(DECODER)
    before, _ = decode(DECODER, params, X)
    after, _ = decode(DECODER, params, X, None, CONTEXT.at[1, 3:].add(5.0))
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("remat", ["dots", "full"])
def test_remat_changes_no_gradient(remat):
    config = dataclasses.replace(ENCODER, dropout=0.2, attention_dropout=0.2)
    params = init(config)

    def gradients(config):
        def loss(params):
            rngs = {"dropout": jax.random.key(5)}
            x, _ = Transformer(config).apply(params, X, deterministic=False, rngs=rngs)
            return (x**2 * jnp.arange(16.0)[None, None]).sum()

        return jax.jit(jax.grad(loss))(params)

    plain, again = gradients(config), gradients(dataclasses.replace(config, remat=remat))
    for a, b in zip(*map(jax.tree.leaves, (plain, again)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("share", [False, True])
def test_dropout_draws_anew_in_each_layer_and_call(share):
    """Layers that each add dropout(1): with one mask for all three, a unit would get either 0 or 3."""
    config = dataclasses.replace(ENCODER, norm="pre", share_layers=share, dropout=0.5)
    params = jax.tree.map(jnp.zeros_like, init(config))
    params["params"]["final_norm"]["scale"] += 1
    params["params"]["layers"]["mlp"]["down"]["bias"] += 1

    @jax.jit
    def call(seed):
        rngs = {"dropout": jax.random.key(seed)}
        return Transformer(config).apply(params, 0 * X, deterministic=False, rngs=rngs)[0]

    # The final normalisation keeps units apart that got different sums.
    assert max(len(np.unique(token)) for token in np.asarray(call(0)).reshape(-1, 16)) == 4
    assert not jnp.allclose(call(0), call(1))
    np.testing.assert_array_equal(call(0), call(0))


def test_unrolled_layers_give_what_the_loop_gives(monkeypatch):
    """On TPUs layers are unrolled, unless they are computed again or there is no backward pass."""
    config = dataclasses.replace(ENCODER, dropout=0.1, attention_dropout=0.1)
    params = init(config)

    def lowered(platform, deterministic=False, **changed):
        monkeypatch.setattr("ssl_jax.ops.recompute.platform", lambda: platform)
        model = Transformer(dataclasses.replace(config, **changed))

        def loss(params):
            rngs = {"dropout": jax.random.key(1)}
            return (model.apply(params, X, deterministic=deterministic, rngs=rngs)[0] ** 3).sum()

        program = jax.jit(jax.grad(loss)).lower(params)
        return program, program.as_text().count("stablehlo.while")

    looped, loops = lowered("cpu")
    unrolled, others = lowered("tpu")  # which make random keys
    _, kept = lowered("tpu", remat="full")
    _, evaluated = lowered("tpu", deterministic=True)
    assert (loops - others, kept - others, evaluated) == (2, 2, 2)
    found, expected = (program.compile()(params) for program in (unrolled, looped))
    for new, old in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("remat", ["none", "full"])
def test_program_does_not_grow_with_depth(remat):
    """What is compiled for 24 layers is, but for its constants, what is compiled for 4."""

    def size(layers):
        config = dataclasses.replace(ENCODER, layers=layers, remat=remat)
        params = jax.eval_shape(lambda: Transformer(config).init(jax.random.key(0), X))

        def loss(params):
            rngs = {"dropout": jax.random.key(0)}
            return Transformer(config).apply(params, X, deterministic=False, rngs=rngs)[0].sum()

        return len(jax.jit(jax.grad(loss)).lower(params).as_text().splitlines())

    assert size(24) == size(4)
