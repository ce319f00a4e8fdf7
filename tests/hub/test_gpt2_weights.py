import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.errors import UserError
from ssl_jax.hub.gpt2 import load_gpt2, save_gpt2
from ssl_jax.models.gpt2 import Gpt2, Gpt2Config
from tests.hub.folders import FILES, assert_same_model, random_params, rewrite, tensors_of

CONFIG = Gpt2Config(vocab_size=30, positions=9, layers=3, width=8, heads=2, mlp_width=12, activation="gelu")
PARAMS = random_params(Gpt2(CONFIG), jnp.zeros((1, 1), jnp.int32))


@pytest.fixture
def saved(tmp_path):
    """A folder with a GPT2LMHeadModel, and its tensors."""
    save_gpt2(tmp_path, CONFIG, PARAMS)
    return tmp_path, tensors_of(tmp_path)


def test_export_then_import_is_bit_identical(saved):
    folder, _ = saved
    again = load_gpt2(folder)
    assert_same_model(again, (CONFIG, PARAMS))
    save_gpt2(folder / "b", *again)
    for file in FILES:
        assert (folder / file).read_bytes() == (folder / "b" / file).read_bytes()


def test_fused_projection_is_split_and_not_transposed(saved):
    """Against an index-by-index statement of the two layouts: theirs is a matrix of inputs by outputs."""
    _, tensors = saved
    attention = PARAMS["layers"]["attention"]
    for layer in range(3):
        kernel = tensors[f"transformer.h.{layer}.attn.c_attn.weight"]
        bias = tensors[f"transformer.h.{layer}.attn.c_attn.bias"]
        out = tensors[f"transformer.h.{layer}.attn.c_proj.weight"]
        for i, part, head, unit in np.ndindex(8, 3, 2, 4):
            column = part * 8 + head * 4 + unit
            assert kernel[i, column] == attention["qkv"]["kernel"][layer, i, part, head, unit]
            assert bias[column] == attention["qkv"]["bias"][layer, part, head, unit]
            assert out[head * 4 + unit, i] == attention["out"]["kernel"][layer, head, unit, i]
        up = tensors[f"transformer.h.{layer}.mlp.c_fc.weight"]
        np.testing.assert_array_equal(up, PARAMS["layers"]["mlp"]["up"]["kernel"][layer])
    np.testing.assert_array_equal(
        tensors["transformer.wte.weight"], PARAMS["embeddings"]["token"]["embedding"]
    )


def test_older_files_are_accepted(tmp_path):
    """As the first released one: without prefix and width of the MLP, with masks and a copy of the tied table."""
    config = dataclasses.replace(CONFIG, mlp_width=32, activation="gelu_tanh")
    params = random_params(Gpt2(config), jnp.zeros((1, 1), jnp.int32))
    save_gpt2(tmp_path, config, params)
    tensors = tensors_of(tmp_path)
    old = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    for layer in range(3):
        old[f"h.{layer}.attn.bias"] = np.tri(9, dtype=np.float32)[None, None]
        old[f"h.{layer}.attn.masked_bias"] = np.array(-1e4, np.float32)
    old["lm_head.weight"] = old["wte.weight"].copy()
    rewrite(tmp_path, old, n_inner=None, activation_function=None)
    assert_same_model(load_gpt2(tmp_path), (config, params))


def test_every_wrong_tensor_is_named(saved):
    folder, tensors = saved
    del tensors["transformer.h.1.attn.c_attn.weight"]
    tensors["transformer.h.3.ln_1.bias"] = np.zeros(8, np.float32)
    tensors["transformer.wpe.weight"] = np.zeros((10, 8), np.float32)
    rewrite(folder, tensors)
    with pytest.raises(UserError) as error:
        load_gpt2(folder)
    message = str(error.value)
    assert "missing: transformer.h.1.attn.c_attn.weight" in message
    assert "not used: transformer.h.3.ln_1.bias" in message
    assert "shape: transformer.wpe.weight is [10, 8], not [9, 8]" in message


def test_untied_output_layer_is_refused(saved):
    folder, tensors = saved
    rewrite(folder, tensors | {"lm_head.weight": np.zeros((30, 8), np.float32)})
    with pytest.raises(UserError, match=r"lm_head\.weight differs from transformer\.wte\.weight"):
        load_gpt2(folder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model_type": "gpt_neo"}, "model_type is 'gpt_neo', expected gpt2"),
        ({"activation_function": "swish"}, "activation_function is 'swish'"),
        (
            {"scale_attn_by_inverse_layer_idx": True},
            "scale_attn_by_inverse_layer_idx True; only False is supported",
        ),
        ({"scale_attn_weights": False}, "scale_attn_weights"),
        ({"add_cross_attention": True}, "add_cross_attention"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings"),
        ({"n_head": None}, "lacks n_head"),
        ({"n_head": 3}, "width 8 cannot have 3 heads"),
    ],
)
def test_settings_that_our_model_does_not_have_are_refused_by_name(saved, settings, message):
    folder, tensors = saved
    rewrite(folder, tensors, **settings)
    with pytest.raises(UserError, match=message):
        load_gpt2(folder)


@pytest.mark.parametrize("encoding", ["relative", "rotary"])
def test_positions_that_transformers_do_not_have_are_not_exported(encoding, tmp_path):
    config = dataclasses.replace(CONFIG, position_encoding=encoding)
    with pytest.raises(UserError, match=rf"trained with --model\.position_encoding {encoding}; .* absolute"):
        save_gpt2(tmp_path, config, PARAMS)
