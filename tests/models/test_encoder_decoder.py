import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.errors import UserError
from ssl_jax.models.attention import forget_padding
from ssl_jax.models.encoder_decoder import SIZES, T5_SIZES, EncoderDecoder, EncoderDecoderConfig
from ssl_jax.models.transformer import empty_cache

BART = EncoderDecoderConfig(
    vocab_size=40, positions=12, layers=1, decoder_layers=2, width=16, heads=2, mlp_width=24
)
T5 = dataclasses.replace(
    T5_SIZES["base-1.1"],
    **{name: getattr(BART, name) for name in ("vocab_size", "positions", "layers", "decoder_layers")},
    **{name: getattr(BART, name) for name in ("width", "heads", "mlp_width")},
    position_encoding="relative",
    relative_buckets=8,
    relative_distance=6,
)
ROTARY = dataclasses.replace(BART, position_encoding="rotary")
CONFIGS = pytest.mark.parametrize("config", [BART, T5], ids=["bart", "t5"])
RNG = np.random.default_rng(0)
SOURCE = jnp.asarray(RNG.integers(0, 40, (3, 9)), jnp.int32)
PRESENT = jnp.arange(9)[None] < jnp.array([[9], [6], [4]])
TARGET = jnp.asarray(RNG.integers(0, 40, (3, 7)), jnp.int32)


@functools.cache
def init(config):
    """Random parameters, none of them where it starts, so that a forgotten bias or scale shows."""
    shapes = jax.eval_shape(EncoderDecoder(config).init, jax.random.key(0), SOURCE, PRESENT, TARGET)
    rng = np.random.default_rng(0)

    def draw(path, x):
        centre = 1.0 if path[-1].key == "scale" else 0.0
        return jnp.asarray(centre + 0.3 * rng.standard_normal(x.shape), x.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


@functools.partial(jax.jit, static_argnums=0, static_argnames="method")
def apply(config, params, *arguments, method=None, **keywords):
    return EncoderDecoder(config).apply(params, *arguments, method=method, **keywords)


def count(config):
    token = jnp.zeros((1, 8), jnp.int32)
    params = jax.eval_shape(EncoderDecoder(config).init, jax.random.key(0), token, token, token)
    return sum(x.size for x in jax.tree.leaves(params))


def test_parameter_counts_are_those_of_the_released_models():
    # 139,420,416 and 406,291,456 of transformers, whose tables of positions have two rows more and whose bias of the
    # vocabulary is not counted.
    assert count(SIZES["base"]) == 139_420_416 - 4 * 768 + 50_265
    assert count(SIZES["large"]) == 406_291_456 - 4 * 1024 + 50_265
    assert count(T5_SIZES["small"]) == 60_506_624
    assert count(T5_SIZES["base"]) == 222_903_552
    assert count(T5_SIZES["large"]) == 737_668_096
    assert count(T5_SIZES["base-1.1"]) == 247_577_856
    assert count(T5_SIZES["large-1.1"]) == 783_150_080


@CONFIGS
def test_a_token_changes_no_prediction_before_it(config):
    params = init(config)
    before = apply(config, params, SOURCE, PRESENT, TARGET)
    for changed in (0, 3, 6):
        after = apply(config, params, SOURCE, PRESENT, TARGET.at[:, changed].add(1) % 40)
        np.testing.assert_array_equal(before[:, :changed], after[:, :changed])
        assert (jnp.abs(before[:, changed:] - after[:, changed:]).max(-1) > 1e-4).all()


@CONFIGS
def test_padding_of_the_source_is_not_seen(config):
    params = init(config)
    before = apply(config, params, SOURCE, PRESENT, TARGET)
    after = apply(config, params, jnp.where(PRESENT, SOURCE, 7), PRESENT, TARGET)
    np.testing.assert_array_equal(before, after)
    cut = apply(config, params, SOURCE[1:2, :6], PRESENT[1:2, :6], TARGET[1:2])
    np.testing.assert_allclose(before[1:2], cut, rtol=1e-4, atol=1e-5)


def test_the_decoder_does_not_look_at_masked_slots_which_the_encoder_sees():
    params = init(BART)
    visible = PRESENT & (jnp.arange(9)[None] % 3 > 0)
    context = apply(BART, params, SOURCE, PRESENT, method="encode")
    other = jnp.where(visible[:, :, None], context, 99.0)
    hidden, _ = apply(BART, params, TARGET, context, visible, method="decode")
    hidden_of_other, _ = apply(BART, params, TARGET, other, visible, method="decode")
    np.testing.assert_array_equal(hidden, hidden_of_other)

    logits = apply(BART, params, SOURCE, PRESENT, TARGET, context_present=visible)
    np.testing.assert_allclose(logits, apply(BART, params, hidden, method="logits"), rtol=1e-5, atol=1e-5)
    # What stands in a masked slot still comes through the encoder, by the states of the other slots.
    changed = apply(BART, params, SOURCE.at[:, 0].add(1) % 40, PRESENT, TARGET, context_present=visible)
    assert (jnp.abs(logits - changed).max((1, 2)) > 1e-4).all()


def test_explicit_positions_take_the_rows_of_the_table():
    """Positions that start at 3 are positions from 0 on in a table without its first three rows."""
    params = init(BART)
    positions = jnp.broadcast_to(3 + jnp.arange(7)[None], TARGET.shape)
    ours = apply(BART, params, SOURCE, PRESENT, TARGET, positions)
    shifted = jax.tree.map(lambda x: x, params)
    table = params["params"]["decoder"]["position"]["embedding"]
    shifted["params"]["decoder"]["position"]["embedding"] = jnp.roll(table, -3, axis=0)
    expected = apply(BART, shifted, SOURCE, PRESENT, TARGET)
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)
    assert jnp.abs(ours - apply(BART, params, SOURCE, PRESENT, TARGET)).max() > 1e-2


@pytest.mark.parametrize("config", [T5, ROTARY], ids=["relative", "rotary"])
def test_places_are_the_same_anywhere_in_the_row(config):
    """A source behind padding is read as without it: there is no position but the distance."""
    params = init(config)
    behind = jnp.concatenate([SOURCE[:, :2], SOURCE], axis=1)
    present = jnp.concatenate([jnp.zeros((3, 2), bool), PRESENT], axis=1)
    expected = apply(config, params, SOURCE, PRESENT, TARGET)
    found = apply(config, params, behind, present, TARGET)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    swapped = apply(config, params, SOURCE.at[:, :2].set(SOURCE[:, 1::-1]), PRESENT, TARGET)
    assert jnp.abs(swapped - expected).max() > 1e-3  # and the order counts


@CONFIGS
def test_cached_decoding_of_prompts_of_different_lengths_equals_uncached(config):
    params = init(config)
    context = apply(config, params, SOURCE, PRESENT, method="encode")
    expected, _ = apply(config, params, TARGET, context, PRESENT, method="decode")
    lengths = jnp.array([2, 4, 1])
    prompts = jnp.where(jnp.arange(4)[None] < lengths[:, None], TARGET[:, :4], 39)
    cache = empty_cache(config.decoder, 3, capacity=8)
    hidden, cache = apply(config, params, prompts, context, PRESENT, cache=cache, method="decode")
    cache = forget_padding(cache, lengths)
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(hidden[row, :length], expected[row, :length], rtol=1e-4, atol=1e-4)
    for step in range(3):
        at = lengths + step
        tokens = jnp.take_along_axis(TARGET, at[:, None], axis=1)
        hidden, cache = apply(config, params, tokens, None, PRESENT, cache=cache, method="decode")
        reference = jnp.take_along_axis(expected, at[:, None, None], axis=1)
        np.testing.assert_allclose(hidden, reference, rtol=1e-4, atol=1e-4)


@CONFIGS
def test_gradients_reach_every_parameter(config):
    def loss(params):
        logits = EncoderDecoder(config).apply(params, SOURCE, PRESENT, TARGET)
        return (jax.nn.log_softmax(logits) * jnp.arange(40.0)[None, None]).sum()

    gradients = jax.jit(jax.grad(loss))(init(config))
    zero = [jax.tree_util.keystr(p) for p, g in jax.tree_util.tree_leaves_with_path(gradients) if not g.any()]
    assert zero == []


def test_t5_starts_with_the_deviations_of_its_release():
    """Those of its Mesh TensorFlow code, after the factors that our weights hold are taken out."""
    width, heads, mlp_width = 256, 4, 640
    config = dataclasses.replace(
        T5_SIZES["base-1.1"], vocab_size=500, layers=1, decoder_layers=1, width=width, heads=heads
    )
    config = dataclasses.replace(config, mlp_width=mlp_width)
    init = jax.jit(EncoderDecoder(config).init)
    params = init(jax.random.key(0), SOURCE, PRESENT, TARGET)["params"]
    layer = params["decoder"]["layers"]
    queries, keys, values = jnp.moveaxis(layer["attention"]["qkv"]["kernel"], 2, 0)
    deviations = [
        (params["token"]["embedding"] * width**0.5, 1),
        (queries / (width / heads) ** 0.5, (width * width / heads) ** -0.5),
        (keys, width**-0.5),
        (values, width**-0.5),
        (layer["attention"]["out"]["kernel"], width**-0.5),
        (layer["mlp"]["up"]["kernel"], width**-0.5),
        (layer["mlp"]["gate"]["kernel"], width**-0.5),
        (layer["mlp"]["down"]["kernel"], mlp_width**-0.5),
    ]
    for weights, expected in deviations:
        np.testing.assert_allclose(weights.std(), expected, rtol=0.02)


@pytest.mark.parametrize("length", [(13, 7), (9, 13)])
def test_sequences_longer_than_positions_are_refused(length):
    source, target = (jnp.zeros((1, n), jnp.int32) for n in length)
    with pytest.raises(UserError, match=r"13 tokens.*12 positions"):
        jax.eval_shape(EncoderDecoder(BART).init, jax.random.key(0), source, source, target)


@CONFIGS
def test_bfloat16_stays_within_its_precision(config):
    exact = apply(config, init(config), SOURCE, PRESENT, TARGET)
    rounded = apply(dataclasses.replace(config, dtype="bfloat16"), init(config), SOURCE, PRESENT, TARGET)
    assert rounded.dtype == jnp.float32
    assert 1e-4 < jnp.abs(rounded - exact).mean() < 0.02 * jnp.abs(exact).max()
