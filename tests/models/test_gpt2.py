"""GPT-2: what a token sees, how the model begins, how large the sizes of the paper are. Its equality with transformers'
model is a matter of tests/parity."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.errors import UserError
from ssl_jax.models.gpt2 import SIZES, Gpt2, Gpt2Config

CONFIG = Gpt2Config(vocab_size=40, positions=12, layers=2, width=16, heads=2, mlp_width=32)
LENGTH = 12


@pytest.fixture(scope="module")
def logits():
    """`(tokens, sequence, positions) -> logits [batch, length, vocab]` of a model with large random weights."""
    model = Gpt2(CONFIG)
    zeros = jnp.zeros((1, LENGTH), jnp.int32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), zeros)
    leaves, tree = jax.tree.flatten(shapes)
    chance = np.random.default_rng(0)
    params = jax.tree.unflatten(tree, [chance.normal(0, 0.5, x.shape).astype(np.float32) for x in leaves])

    @jax.jit
    def apply(tokens, segment_ids, positions):
        hidden, cache = model.apply(params, tokens, segment_ids, positions)
        assert cache is None
        return model.apply(params, hidden, method="logits")

    return lambda *inputs: np.asarray(apply(*map(jnp.asarray, inputs)))


def inputs(lengths: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A row of random tokens with documents of these lengths, and padding."""
    tokens = np.random.default_rng(seed).integers(0, CONFIG.vocab_size, (1, LENGTH))
    segment_ids, positions = np.zeros((2, 1, LENGTH), int)
    done = 0
    for number, length in enumerate(lengths, start=1):
        segment_ids[0, done : done + length], positions[0, done : done + length] = number, np.arange(length)
        done += length
    return tokens, segment_ids, positions


@pytest.mark.parametrize("changed", [0, 5, 11])
def test_a_token_changes_nothing_before_it(logits, changed: int) -> None:
    tokens, *rest = inputs([LENGTH])
    other = tokens.copy()
    other[0, changed] = (other[0, changed] + 1) % CONFIG.vocab_size
    before, after = logits(tokens, *rest), logits(other, *rest)
    np.testing.assert_array_equal(before[:, :changed], after[:, :changed])
    assert (np.abs(before - after)[:, changed:].max(-1) > 1e-4).all()


def test_packed_documents_do_not_see_each_other(logits) -> None:
    """The logits of a document are those it has alone, wherever it stands and whatever its neighbours are."""
    tokens, segment_ids, positions = inputs([4, 5, 2])
    packed = logits(tokens, segment_ids, positions)
    others = tokens.copy()
    others[0, :4] = (others[0, :4] + 3) % CONFIG.vocab_size
    others[0, 9:] = (others[0, 9:] + 7) % CONFIG.vocab_size
    changed = logits(others, segment_ids, positions)
    np.testing.assert_array_equal(packed[:, 4:9], changed[:, 4:9])
    assert np.abs(packed - changed)[:, :4].min() > 0
    alone, *rest = inputs([5])
    alone[0, :5] = tokens[0, 4:9]
    np.testing.assert_allclose(logits(alone, *rest)[:, :5], packed[:, 4:9], atol=2e-5)


def test_the_head_is_the_table_of_tokens() -> None:
    model = Gpt2(CONFIG)
    params = jax.jit(model.init)(jax.random.key(1), jnp.zeros((1, 4), jnp.int32))
    hidden = jax.random.normal(jax.random.key(2), (3, 5, CONFIG.width))
    table = params["params"]["embeddings"]["token"]["embedding"]
    found = model.apply(params, hidden, method="logits")
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, np.asarray(hidden) @ np.asarray(table).T, atol=1e-5)


def test_standard_deviations_at_the_start() -> None:
    config = Gpt2Config(vocab_size=2000, positions=500, layers=8, width=64, heads=4, mlp_width=256)
    params = jax.jit(Gpt2(config).init)(jax.random.key(0), jnp.zeros((1, 2), jnp.int32))["params"]
    wanted = {
        ("embeddings", "token", "embedding"): 0.02,
        ("embeddings", "position", "embedding"): 0.01,
        ("layers", "attention", "qkv", "kernel"): 0.02,
        ("layers", "attention", "out", "kernel"): 0.02 / 4,  # sqrt(2 * 8)
        ("layers", "mlp", "up", "kernel"): 0.02,
        ("layers", "mlp", "down", "kernel"): 0.02 / 4,
    }
    for path, deviation in wanted.items():
        values = params
        for name in path:
            values = values[name]
        np.testing.assert_allclose(np.std(values), deviation, rtol=0.02, err_msg=str(path))
        np.testing.assert_allclose(np.mean(values), 0, atol=deviation * 0.02)


@pytest.mark.parametrize(
    ("size", "parameters"),
    [("small", 124_439_808), ("medium", 354_823_168), ("large", 774_030_080), ("xl", 1_557_611_200)],
)
def test_sizes_of_the_paper(size: str, parameters: int) -> None:
    """As Hugging Face's `gpt2`, `gpt2-medium`, `gpt2-large` and `gpt2-xl` have."""
    shapes = jax.eval_shape(Gpt2(SIZES[size]).init, jax.random.key(0), jnp.zeros((1, 2), jnp.int32))
    assert sum(x.size for x in jax.tree.leaves(shapes)) == parameters


def test_longer_than_the_positions() -> None:
    model = Gpt2(dataclasses.replace(CONFIG, positions=8))
    with pytest.raises(UserError, match="sequence of 9 tokens is longer than the model's 8 positions"):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 9), jnp.int32))
