"""The layout that decoding multiplies in, and what the compiled loop does with weights and cache."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.decoding import generate as module
from ssl_jax.decoding.decoder import prepare
from ssl_jax.decoding.kernel_first import kernels_first, transpose_kernels
from ssl_jax.decoding.sampling import GREEDY
from ssl_jax.models.transformer import Transformer, TransformerConfig, empty_cache
from tests.decoding.conftest import LENGTHS, NEW, TOKENS, random_params

CONFIG = TransformerConfig(layers=2, width=12, heads=3, mlp_width=20, norm="pre", causal=True)
X = jax.random.normal(jax.random.key(0), (2, 3, 12))


def outputs(model, params, cache):
    """Of the network in the layout that holds now; compiled anew in each call."""
    return jax.jit(lambda params, cache: model.apply({"params": params}, X, cache=cache)[0])(params, cache)


@pytest.mark.parametrize("options", [{}, {"biases": False, "gated": True}, {"share_layers": True}], ids=str)
def test_layers_laid_out_compute_the_same(options):
    config = dataclasses.replace(CONFIG, **options)
    model, cache = Transformer(config), empty_cache(config, 2, 5)
    params = random_params(model, X)
    expected = outputs(model, params, cache)
    transposed = {**params, "layers": transpose_kernels(params["layers"], config)}
    assert transposed["layers"][0]["attention"]["qkv"]["kernel_first"].shape == (3, 3, 4, 12)
    with kernels_first():
        found, plain = outputs(model, transposed, cache), outputs(model, params, cache)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(plain, expected)


def test_kernels_are_kept_in_the_dtype_that_is_computed_in():
    config = dataclasses.replace(CONFIG, dtype="bfloat16")
    model, cache = Transformer(config), empty_cache(config, 2, 5)
    params = random_params(model, X)
    transposed = {**params, "layers": transpose_kernels(params["layers"], config)}
    assert transposed["layers"][1]["mlp"]["up"]["kernel_first"].dtype == jnp.bfloat16
    expected = outputs(model, params, cache)
    with kernels_first():
        found = outputs(model, transposed, cache)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(found.astype(jnp.float32), expected.astype(jnp.float32), rtol=0.1, atol=0.1)


def test_the_loop_copies_neither_weights_nor_cache(gpt2):
    params = prepare(gpt2.decoder, gpt2.params)
    keys = jax.random.split(jax.random.key(0), len(TOKENS))
    how = (gpt2.decoder, GREEDY, None)
    loop = module._prefill(*how, NEW, params, TOKENS, LENGTHS, keys)
    compiled = module._decode_chunk.lower(*how, NEW, params, loop, keys, NEW).compile()
    cache = sum(x.nbytes for x in jax.tree.leaves(loop.state.cache.layers))
    assert compiled.memory_analysis().alias_size_in_bytes >= cache, "the cache is not written in place"
    arrays = jax.tree.leaves((params["layers"], loop.state.cache.layers))
    large = {",".join(map(str, x.shape)) for x in arrays if x.ndim > 1}
    copied = re.findall(r"f32\[(?:1,)*([\d,]+)\]\S* (?:copy|transpose|slice)\(", compiled.as_text())
    assert not large & set(copied)
