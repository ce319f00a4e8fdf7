import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ssl_jax.errors import UserError
from ssl_jax.models.bert import SIZES, BertConfig, BertEncoder, BertPretraining
from ssl_jax.models.heads import QuestionAnswerer, SequenceClassifier, TokenClassifier

SMALL = BertConfig(vocab_size=40, positions=16, layers=2, width=16, heads=2, mlp_width=32)
SMALL = dataclasses.replace(SMALL, initializer_stddev=0.2)
RELATIVE = dataclasses.replace(SMALL, position_encoding="relative", relative_buckets=8, relative_distance=6)
ROTARY = dataclasses.replace(SMALL, position_encoding="rotary")
RNG = np.random.default_rng(0)
TOKENS = jnp.asarray(RNG.integers(0, 40, (8, 12)), jnp.int32)
TOKEN_TYPES = jnp.asarray(RNG.integers(0, 2, (8, 12)), jnp.int32)
ONES = jnp.ones((8, 12), jnp.int32)


@functools.cache
def init(model):
    """Random parameters, drawn without compiling anything."""
    shapes = jax.eval_shape(model.init, jax.random.key(0), TOKENS, TOKEN_TYPES, ONES)
    rng = np.random.default_rng(0)

    def draw(path, x):
        centre = 1.0 if path[-1].key == "scale" else 0.0
        return jnp.asarray(centre + model.config.initializer_stddev * rng.standard_normal(x.shape), x.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


@functools.partial(jax.jit, static_argnums=0)
def apply(model, params, *arguments, **keywords):
    return model.apply(params, *arguments, **keywords)


def count(model):
    token = jnp.zeros((1, 8), jnp.int32)
    params = jax.eval_shape(model.init, jax.random.key(0), token, token, token)
    return sum(x.size for x in jax.tree.leaves(params))


def test_parameter_counts_are_the_published_ones():
    assert count(BertEncoder(SIZES["base"])) == 109_482_240  # "110M", arXiv:1810.04805
    assert count(BertEncoder(SIZES["large"])) == 335_141_888  # "340M"
    assert count(BertPretraining(SIZES["base"])) == 110_106_428
    # "4.4M", "11.3M" and "29.1M", arXiv:1908.08962
    assert [count(BertPretraining(SIZES[n])) for n in ("tiny", "mini", "small")] == [
        4_433_468,
        11_267_900,
        29_058_876,
    ]
    albert = dataclasses.replace(SIZES["base"], vocab_size=30000, embedding_width=128, share_layers=True)
    assert count(BertEncoder(albert)) == 11_683_584  # "12M", arXiv:1909.11942
    large = dataclasses.replace(SIZES["large"], vocab_size=30000, embedding_width=128, share_layers=True)
    assert count(BertEncoder(large)) == 17_683_968  # "18M"


def test_predictions_are_gathered_in_the_order_asked_for():
    model = BertPretraining(SMALL)
    params = init(model)
    where = jnp.asarray(RNG.integers(0, 12, (8, 3)))
    dense = apply(model, params, TOKENS, TOKEN_TYPES, ONES)
    gathered = apply(model, params, TOKENS, TOKEN_TYPES, ONES, predict_positions=where)
    assert dense.token_logits.shape == (8, 12, 40)
    expected = np.take_along_axis(np.asarray(dense.token_logits), np.asarray(where)[..., None], axis=1)
    np.testing.assert_allclose(gathered.token_logits, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gathered.pair_logits, dense.pair_logits, rtol=1e-5)


@pytest.mark.parametrize("config", [SMALL, RELATIVE, ROTARY], ids=["absolute", "relative", "rotary"])
def test_packed_documents_do_not_see_each_other(config):
    """Each of two documents in one row comes out as if it were alone, whatever the other one says."""
    model = BertEncoder(config)
    params = init(model)
    segment_ids = jnp.array([[1] * 5 + [2] * 6 + [0]])
    positions = jnp.array([[*range(5), *range(6), 0]])
    row, token_type_ids = TOKENS[:1], TOKEN_TYPES[:1]
    packed = apply(model, params, row, token_type_ids, segment_ids, positions).hidden
    other = apply(model, params, row.at[0, :5].add(1) % 40, token_type_ids, segment_ids, positions).hidden
    np.testing.assert_array_equal(packed[0, 5:], other[0, 5:])
    assert (jnp.abs(packed[0, :5] - other[0, :5]).max(-1) > 1e-3).all()
    alone = apply(model, params, row[:, 5:11], token_type_ids[:, 5:11], jnp.ones((1, 6), jnp.int32)).hidden
    np.testing.assert_allclose(packed[0, 5:11], alone[0], rtol=1e-4, atol=1e-5)


def test_relative_positions_take_the_place_of_learned_ones():
    """Without biases, they are a BERT whose position embeddings are zero; with them, order matters."""
    learned, relative = init(BertEncoder(SMALL)), init(BertEncoder(RELATIVE))
    params = jax.tree.map(jnp.zeros_like, relative["params"])
    params = params | {name: value for name, value in learned["params"].items() if name != "embeddings"}
    table = dict(learned["params"]["embeddings"])
    nowhere = jax.tree.map(jnp.zeros_like, table.pop("position"))
    params = params | {"embeddings": table}
    without = {"params": learned["params"] | {"embeddings": table | {"position": nowhere}}}
    expected = apply(BertEncoder(SMALL), without, TOKENS, TOKEN_TYPES, ONES).hidden
    actual = apply(BertEncoder(RELATIVE), {"params": params}, TOKENS, TOKEN_TYPES, ONES).hidden
    np.testing.assert_allclose(actual, expected, atol=1e-6)
    params = {"params": params | {"relative": relative["params"]["relative"]}}
    forward, backward = (
        apply(BertEncoder(RELATIVE), params, tokens, types, ONES).hidden
        for tokens, types in ((TOKENS, TOKEN_TYPES), (TOKENS[:, ::-1], TOKEN_TYPES[:, ::-1]))
    )
    assert jnp.abs(forward - backward[:, ::-1]).max() > 1e-2


def test_padding_is_not_seen():
    model = BertPretraining(SMALL)
    params = init(model)
    segment_ids = jnp.where(jnp.arange(12)[None] < jnp.arange(5, 13)[:, None], 1, 0)
    before = apply(model, params, TOKENS, TOKEN_TYPES, segment_ids)
    after = apply(model, params, jnp.where(segment_ids == 0, 7, TOKENS), TOKEN_TYPES, segment_ids)
    np.testing.assert_array_equal(before.pair_logits, after.pair_logits)
    seen = np.asarray(segment_ids) == 1
    np.testing.assert_array_equal(before.encoding.hidden[seen], after.encoding.hidden[seen])
    assert jnp.isfinite(before.token_logits).all()


def test_sequence_longer_than_positions_is_refused():
    tokens = jnp.zeros((1, 17), jnp.int32)
    with pytest.raises(UserError, match=r"17 tokens.*16 positions"):
        jax.eval_shape(BertEncoder(SMALL).init, jax.random.key(0), tokens, tokens, tokens)


def test_index_outside_a_table_gives_nan_and_not_another_token():
    model = BertEncoder(SMALL)
    hidden = apply(model, init(model), TOKENS.at[3, 2].set(40), TOKEN_TYPES, ONES).hidden
    assert jnp.isnan(hidden[3]).any()
    assert jnp.isfinite(hidden[:3]).all()


def test_bfloat16_stays_within_its_precision_and_parameters_in_float32():
    model = BertPretraining(SMALL)
    params = init(model)
    exact = apply(model, params, TOKENS, TOKEN_TYPES, ONES)
    half = BertPretraining(dataclasses.replace(SMALL, dtype="bfloat16"))
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(init(half)))  # the dtypes are the model's
    rounded = apply(half, params, TOKENS, TOKEN_TYPES, ONES)
    assert rounded.encoding.hidden.dtype == jnp.bfloat16
    assert rounded.token_logits.dtype == rounded.pair_logits.dtype == jnp.float32
    # 8 bits of mantissa, some ten roundings in a row, outputs of standard deviation 1.
    error = jnp.abs(rounded.encoding.hidden.astype(jnp.float32) - exact.encoding.hidden)
    assert error.max() < 0.08
    assert 1e-4 < error.mean() < 0.01


def test_initial_loss_is_that_of_guessing():
    """With the paper's initialisation the first predictions are nearly uniform over the vocabulary."""
    model = BertPretraining(dataclasses.replace(SMALL, initializer_stddev=0.02))
    params = jax.jit(model.init)(jax.random.key(0), TOKENS, TOKEN_TYPES, ONES)
    logits = apply(model, params, TOKENS, TOKEN_TYPES, ONES).token_logits
    guesses = scipy.special.log_softmax(np.asarray(logits), axis=-1)
    loss = -np.take_along_axis(guesses, np.asarray(TOKENS)[..., None], axis=-1).mean()
    assert abs(loss - np.log(40)) < 0.1


def test_dropout_gives_the_same_outputs_on_one_device_and_on_eight():
    model = BertPretraining(SMALL)
    params = init(model)

    @jax.jit
    def call(params, tokens, token_type_ids, segment_ids):
        rngs = {"dropout": jax.random.key(2)}
        return model.apply(
            params, tokens, token_type_ids, segment_ids, deterministic=False, rngs=rngs
        ).token_logits

    alone = call(params, TOKENS, TOKEN_TYPES, ONES)
    rows = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), PartitionSpec("data"))
    spread = call(params, *jax.device_put((TOKENS, TOKEN_TYPES, ONES), rows))
    np.testing.assert_allclose(spread, alone, rtol=1e-5, atol=1e-5)
    without = apply(model, params, TOKENS, TOKEN_TYPES, ONES).token_logits
    assert jnp.abs(alone - without).max() > 0.1


@pytest.mark.parametrize("share", [False, True])
def test_albert_options_train(share):
    """Gradients reach every parameter; with shared layers they are the sum over the layers."""
    config = dataclasses.replace(SMALL, embedding_width=8, share_layers=share)
    model = BertPretraining(config)
    params = init(model)

    def loss(params):
        out = model.apply(params, TOKENS, TOKEN_TYPES, ONES)
        weights = jnp.arange(40.0)[None, None]
        return (jax.nn.log_softmax(out.token_logits) * weights).sum() + (out.pair_logits[:, 0] ** 2).sum()

    gradients = jax.jit(jax.grad(loss))(params)
    zero = [jax.tree_util.keystr(p) for p, g in jax.tree_util.tree_leaves_with_path(gradients) if not g.any()]
    assert zero == []
    kernel = gradients["params"]["encoder"]["layers"]["mlp"]["up"]["kernel"]
    assert kernel.shape == ((16, 32) if share else (2, 16, 32))


@pytest.mark.parametrize(
    ("model", "shapes"),
    [
        (SequenceClassifier(SMALL, 3), [(8, 3)]),
        (TokenClassifier(SMALL, 5), [(8, 12, 5)]),
        (QuestionAnswerer(SMALL), [(8, 12), (8, 12)]),
    ],
)
def test_fine_tuning_models_share_the_encoder_by_path(model, shapes):
    params = init(model)
    out = apply(model, params, TOKENS, TOKEN_TYPES, ONES)
    assert [x.shape for x in jax.tree.leaves(out)] == shapes
    pretrained = init(BertPretraining(SMALL))["params"]["encoder"]
    encoder = params["params"]["encoder"]
    shapes = jax.tree.map(jnp.shape, encoder)
    assert shapes == {name: jax.tree.map(jnp.shape, pretrained[name]) for name in encoder}
    assert ("pooler" in encoder) == isinstance(model, SequenceClassifier)
