import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.errors import UserError
from ssl_jax.hub.bart import load_bart, save_bart
from ssl_jax.hub.t5 import load_t5, save_t5
from ssl_jax.models.encoder_decoder import T5_SIZES, EncoderDecoder, EncoderDecoderConfig
from tests.hub.folders import FILES, assert_same_model, random_params, rewrite, tensors_of

BART = EncoderDecoderConfig(
    vocab_size=30, positions=9, layers=2, decoder_layers=3, width=8, heads=2, mlp_width=12
)
MBART = dataclasses.replace(BART, norm="pre", scale_embeddings=True, activation="relu")
SHAPE = {
    field: getattr(BART, field) for field in ("vocab_size", "layers", "decoder_layers", "heads", "mlp_width")
}
# Factors that are powers of two, so that scaling rounds nothing.
T5 = dataclasses.replace(T5_SIZES["base"], **SHAPE, width=16, relative_buckets=8)
T5 = dataclasses.replace(T5, heads=4)
T5_1_1 = dataclasses.replace(T5, activation="gelu_tanh", gated=True, tied_head=False)
ONE = jnp.zeros((1, 1), jnp.int32)


def params_of(config):
    return random_params(EncoderDecoder(config), ONE, ONE, ONE)


@pytest.fixture
def bart(tmp_path):
    """A folder with a BartForConditionalGeneration, its tensors, and our parameters."""
    params = params_of(BART)
    save_bart(tmp_path, BART, params)
    return tmp_path, tensors_of(tmp_path), params


@pytest.fixture
def t5(tmp_path):
    """A folder with a T5 1.1, its tensors, and our parameters."""
    params = params_of(T5_1_1)
    save_t5(tmp_path, T5_1_1, params)
    return tmp_path, tensors_of(tmp_path), params


@pytest.mark.parametrize(
    ("config", "load", "save", "architecture"),
    [
        (BART, load_bart, save_bart, "BartForConditionalGeneration"),
        (MBART, load_bart, save_bart, "MBartForConditionalGeneration"),
        (T5, load_t5, save_t5, "T5ForConditionalGeneration"),
        (T5_1_1, load_t5, save_t5, "T5ForConditionalGeneration"),
    ],
    ids=["bart", "mbart", "t5", "t5-1.1"],
)
def test_export_then_import_is_bit_identical(config, load, save, architecture, tmp_path):
    params = params_of(config)
    save(tmp_path / "a", config, params)
    again = load(tmp_path / "a")
    assert_same_model(again, (config, params))
    save(tmp_path / "b", *again)
    for file in FILES:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert json.loads((tmp_path / "a" / "config.json").read_text())["architectures"] == [architecture]


def test_layout_of_cross_attention_and_offset_of_positions(bart):
    """Against an index-by-index statement of the two layouts."""
    _, tensors, params = bart
    cross = params["decoder"]["layers"]["cross_attention"]
    for layer in range(3):
        for part, name in enumerate("kv"):
            kernel = tensors[f"model.decoder.layers.{layer}.encoder_attn.{name}_proj.weight"]
            for i, head, unit in np.ndindex(8, 2, 4):
                ours = cross["key_value"]["kernel"][layer, i, part, head, unit]
                assert kernel[head * 4 + unit, i] == ours
    table = tensors["model.encoder.embed_positions.weight"]
    assert table.shape == (11, 8)
    np.testing.assert_array_equal(table[2:], params["encoder"]["position"]["embedding"])


def test_files_without_a_head_get_a_bias_of_zeros(bart):
    """As BartModel is saved, which BART-base was released as, with further copies of the tied table."""
    folder, tensors, params = bart
    headless = {name.removeprefix("model."): x for name, x in tensors.items() if name != "final_logits_bias"}
    headless["encoder.embed_tokens.weight"] = headless["shared.weight"].copy()
    headless["decoder.embed_tokens.weight"] = headless.pop("shared.weight")
    rewrite(folder, headless)
    assert_same_model(load_bart(folder), (BART, params | {"bias": np.zeros(30, np.float32)}))


def test_every_wrong_tensor_is_named(bart):
    folder, tensors, _ = bart
    del tensors["model.decoder.layers.2.encoder_attn.v_proj.bias"]
    tensors["model.encoder.layers.2.fc1.bias"] = np.zeros(12, np.float32)
    tensors["model.decoder.embed_positions.weight"] = np.zeros((9, 8), np.float32)
    rewrite(folder, tensors)
    with pytest.raises(UserError) as error:
        load_bart(folder)
    message = str(error.value)
    assert "missing: model.decoder.layers.2.encoder_attn.v_proj.bias" in message
    assert "not used: model.encoder.layers.2.fc1.bias" in message
    assert "shape: model.decoder.embed_positions.weight is [9, 8], not [11, 8]" in message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model_type": "pegasus"}, "model_type is 'pegasus', expected one of bart, mbart"),
        ({"activation_function": "swish"}, "activation_function is 'swish'"),
        ({"decoder_attention_heads": 4}, "decoder_attention_heads 4; only 2 is supported"),
        ({"decoder_ffn_dim": 16}, "decoder_ffn_dim 16; only 12 is supported"),
        ({"normalize_before": True}, "normalize_before"),
        ({"normalize_embedding": False}, "normalize_embedding"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings"),
        ({"d_model": None}, "lacks d_model"),
    ],
)
def test_settings_that_our_bart_does_not_have_are_refused_by_name(bart, settings, message):
    folder, tensors, _ = bart
    rewrite(folder, tensors, **settings)
    with pytest.raises(UserError, match=message):
        load_bart(folder)


def test_factors_of_t5_are_moved_into_our_weights(t5):
    _, tensors, params = t5
    np.testing.assert_array_equal(tensors["shared.weight"], 4 * params["token"]["embedding"])
    np.testing.assert_array_equal(tensors["lm_head.weight"], params["head"]["embedding"])
    for block, attention, ours in (
        ("0", "SelfAttention", "attention"),
        ("1", "EncDecAttention", "cross_attention"),
    ):
        weights = {
            part: tensors[f"decoder.block.0.layer.{block}.{attention}.{part}.weight"] for part in "qkv"
        }
        mine = params["decoder"]["layers"][ours]
        if ours == "attention":
            queries, keys, values = (mine["qkv"]["kernel"][0, :, part].reshape(16, 16) for part in range(3))
        else:
            queries = mine["query"]["kernel"][0].reshape(16, 16)
            keys, values = (mine["key_value"]["kernel"][0, :, part].reshape(16, 16) for part in range(2))
        np.testing.assert_array_equal(weights["q"], queries.T / 2)
        np.testing.assert_array_equal(weights["k"], keys.T)
        np.testing.assert_array_equal(weights["v"], values.T)


def test_t5_as_today_s_and_as_the_first_transformers_wrote_it(t5):
    """Today's says of version 1.1, too, that the head is tied; the first had a table that nothing reads."""
    folder, tensors, params = t5
    tensors["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"] = np.zeros(
        (8, 4), np.float32
    )
    tensors["encoder.embed_tokens.weight"] = tensors["shared.weight"].copy()
    rewrite(folder, tensors, tie_word_embeddings=True, scale_decoder_outputs=False)
    assert_same_model(load_t5(folder), (T5_1_1, params))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model_type": "mt5"}, "model_type is 'mt5', expected t5"),
        (
            {"feed_forward_proj": "gated-silu"},
            "feed_forward_proj is 'gated-silu', expected one of relu, gated-gelu",
        ),
        ({"d_kv": 8}, "num_heads times d_kv is 32; only d_model, 16, is supported"),
        ({"num_layers": None}, "lacks num_layers"),
    ],
)
def test_settings_that_our_t5_does_not_have_are_refused_by_name(t5, settings, message):
    folder, tensors, _ = t5
    rewrite(folder, tensors, **settings)
    with pytest.raises(UserError, match=message):
        load_t5(folder)


@pytest.mark.parametrize(
    ("save", "config", "message"),
    [
        (save_bart, dataclasses.replace(BART, norm_epsilon=1e-6), "norm_epsilon is 1e-06"),
        (save_bart, T5, "cannot be written as a BART"),
        (save_bart, dataclasses.replace(BART, position_encoding="relative"), "position_encoding relative;"),
        (
            save_bart,
            dataclasses.replace(BART, position_encoding="rotary"),
            "position_encoding rotary; .* absolute",
        ),
        (
            save_t5,
            dataclasses.replace(T5, position_encoding="rotary"),
            "position_encoding rotary; .* relative",
        ),
        (save_t5, BART, "cannot be written as a T5"),
        (save_t5, dataclasses.replace(T5, activation="gelu"), "activation gelu, gated False"),
        (save_t5, dataclasses.replace(T5, attention_dropout=0.0), "one dropout rate"),
    ],
)
def test_models_without_a_hugging_face_layout_are_not_exported(save, config, message, tmp_path):
    params = jax.tree.map(np.zeros_like, params_of(config))
    with pytest.raises(UserError, match=message):
        save(tmp_path, config, params)
