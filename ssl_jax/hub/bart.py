"""BART and mBART weights from and to Hugging Face's layout: a folder with config.json and model.safetensors.

Read are `BartForConditionalGeneration` and `BartModel`, which is the same without the prefix `model.` and without
a bias of the vocabulary, for which zeros stand then; likewise of mBART. Their tables of positions begin with two
rows that nothing looks up, ours do not. Rates of dropout inside the MLP and of whole layers, which only training
uses, have no counterpart here and are ignored.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from ssl_jax.errors import UserError
from ssl_jax.hub.safetensors import Rule, linear, norm, read_folder, table, to_ours, to_theirs, write_folder
from ssl_jax.hub.settings import (
    parameter_shapes,
    read_activation,
    read_fields,
    their_activation,
    without_copies,
)
from ssl_jax.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig

_FIELDS = {  # ours: theirs
    "vocab_size": "vocab_size",
    "positions": "max_position_embeddings",
    "layers": "encoder_layers",
    "decoder_layers": "decoder_layers",
    "width": "d_model",
    "heads": "encoder_attention_heads",
    "mlp_width": "encoder_ffn_dim",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "scale_embeddings": "scale_embedding",
    "initializer_stddev": "init_std",
}
_REQUIRED = ("vocab_size", "positions", "layers", "decoder_layers", "width", "heads", "mlp_width")
_SAME_IN_DECODER = {
    "decoder_attention_heads": "encoder_attention_heads",
    "decoder_ffn_dim": "encoder_ffn_dim",
}
_NORM_EPSILON = 1e-5  # in no configuration
_NORMS = {"bart": "post", "mbart": "pre"}
_OFFSET = 2
_POSITIONS = ("encoder/position/embedding", "decoder/position/embedding")
_TOKENS = "model.shared.weight"


def _side(ours: str) -> tuple[Rule, ...]:
    theirs = f"model.{ours}."
    layer = theirs + "layers.{layer}."
    return (
        table(f"{ours}/position", f"{theirs}embed_positions.weight"),
        *norm(f"{ours}/embedding_norm", f"{theirs}layernorm_embedding"),
        *linear(f"{ours}/layers/attention/qkv", layer + "self_attn.{part}_proj", parts=("q", "k", "v")),
        *linear(f"{ours}/layers/attention/out", layer + "self_attn.out_proj", inputs=2),
        *norm(f"{ours}/layers/attention_norm", layer + "self_attn_layer_norm"),
        *linear(f"{ours}/layers/cross_attention/query", layer + "encoder_attn.q_proj"),
        *linear(
            f"{ours}/layers/cross_attention/key_value", layer + "encoder_attn.{part}_proj", parts=("k", "v")
        ),
        *linear(f"{ours}/layers/cross_attention/out", layer + "encoder_attn.out_proj", inputs=2),
        *norm(f"{ours}/layers/cross_attention_norm", layer + "encoder_attn_layer_norm"),
        *linear(f"{ours}/layers/mlp/up", layer + "fc1"),
        *linear(f"{ours}/layers/mlp/down", layer + "fc2"),
        *norm(f"{ours}/layers/mlp_norm", layer + "final_layer_norm"),
        *norm(f"{ours}/final_norm", f"{theirs}layer_norm"),  # of mBART
    )


RULES: tuple[Rule, ...] = (
    table("token", _TOKENS),
    *_side("encoder"),
    *_side("decoder"),
    Rule("bias", "final_logits_bias", 1, transposed=False),  # theirs has an axis of length 1 before it
)


def load_bart(path: str | pathlib.Path) -> tuple[EncoderDecoderConfig, dict[str, Any]]:
    """Reads a folder in Hugging Face's layout.

    Returns:
        the configuration, and float32 numpy parameters of `EncoderDecoder`.

    Raises:
        UserError: when the folder is not such a model, naming the setting, or listing the tensors that are
        missing, unknown or mis-shaped.
    """
    settings, tensors = read_folder(path)
    source = str(path)
    config = _config_from(settings, source)
    if not any(name.startswith("model.") for name in tensors):
        tensors = {f"model.{name}": tensor for name, tensor in tensors.items()}
        tensors["final_logits_bias"] = np.zeros((1, config.vocab_size), np.float32)
    copies = ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight")
    tensors = without_copies(tensors, dict.fromkeys(copies, _TOKENS), source)

    one = jnp.zeros((1, 1), jnp.int32)
    shapes = parameter_shapes(EncoderDecoder(config), one, one, one)
    for name in _POSITIONS:
        shapes[name] = (config.positions + _OFFSET, config.width)
    shapes["bias"] = (1, config.vocab_size)
    ours = to_ours(RULES, tensors, shapes, source)
    for name in _POSITIONS:
        ours[name] = ours[name][_OFFSET:]
    ours["bias"] = ours["bias"][0]
    return config, unflatten_dict(ours, sep="/")


def save_bart(path: str | pathlib.Path, config: EncoderDecoderConfig, params: Mapping[str, Any]) -> None:
    """Writes a folder that transformers' `from_pretrained` and `load_bart` read.

    The ids of special tokens are the tokenizer's: they are left open here.

    Args:
        path: the folder, made if needed.
        config: of the model; `norm` decides between BART and mBART.
        params: of `EncoderDecoder`.

    Raises:
        UserError: when Hugging Face's layout has no such model, or the folder cannot be written.
    """
    if config.relative_buckets or not (config.biases and config.tied_head) or config.gated:
        raise UserError(f"{path}: a model with settings of T5 cannot be written as a BART")
    if config.norm_epsilon != _NORM_EPSILON:
        raise UserError(
            f"{path}: norm_epsilon is {config.norm_epsilon}, and transformers' BART knows {_NORM_EPSILON} only"
        )
    family = next(family for family, norm in _NORMS.items() if norm == config.norm)
    theirs = {"bart": "Bart", "mbart": "MBart"}[family]
    ours = {path: np.asarray(array) for path, array in flatten_dict(dict(params), sep="/").items()}
    for name in _POSITIONS:
        ours[name] = np.pad(ours[name], ((_OFFSET, 0), (0, 0)))
    ours["bias"] = ours["bias"][None]
    settings = {name: getattr(config, field) for field, name in _FIELDS.items()}
    settings |= {name: settings[same] for name, same in _SAME_IN_DECODER.items()} | {
        "model_type": family,
        "architectures": [f"{theirs}ForConditionalGeneration"],
        "is_encoder_decoder": True,
        "activation_function": their_activation(config.activation),
        "dtype": "float32",
    }
    for name in ("pad", "bos", "eos", "decoder_start", "forced_eos"):
        settings[f"{name}_token_id"] = None
    write_folder(path, settings, to_theirs(RULES, ours))


def _config_from(settings: Mapping[str, Any], source: str) -> EncoderDecoderConfig:
    family = settings.get("model_type")
    if family not in _NORMS:
        raise UserError(f"{source}: model_type is {family!r}, expected one of {', '.join(_NORMS)}")
    only = {  # what a file may ask for and our model does not have, with the one value that it has
        "normalize_before": _NORMS[family] == "pre",
        "add_final_layer_norm": _NORMS[family] == "pre",
        "normalize_embedding": True,
        "static_position_embeddings": False,
        "add_bias_logits": False,
        "tie_word_embeddings": True,
    }
    only |= {name: settings[same] for name, same in _SAME_IN_DECODER.items() if same in settings}
    fields = read_fields(settings, _FIELDS, _REQUIRED, only, source)
    activation = read_activation(settings, "activation_function", "gelu", source)
    return EncoderDecoderConfig(
        **fields, activation=activation, norm=_NORMS[family], norm_epsilon=_NORM_EPSILON
    )
