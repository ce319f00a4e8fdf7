"""Imports and exports BART and mBART weights in Hugging Face's layout: a folder with config.json and model.safetensors.

The supported architectures are `BartForConditionalGeneration`, `BartModel`, and those of mBART. `BartModel` has no
prefix `model.` and no bias of the vocabulary, which is then zero. The position tables of the files begin with two rows
that are never read; the parameters of ssl_jax do not have them. Dropout rates inside the MLP and of whole layers, which
only training uses, are not supported and are ignored.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from ssl_jax.errors import UserError
from ssl_jax.hub.safetensors import (
    Rule,
    export_parameters,
    import_parameters,
    linear,
    norm,
    read_folder,
    table,
    write_folder,
)
from ssl_jax.hub.settings import (
    activation_name,
    make_config,
    merge_tied,
    one_of,
    parameter_shapes,
    read_activation,
    read_fields,
    require_position_encoding,
)
from ssl_jax.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig

_FIELDS = {  # field of the configuration: setting in config.json
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
_NORM_EPSILON = 1e-5  # fixed in transformers, not a setting
_NORMS = {"bart": "post", "mbart": "pre"}
_OFFSET = 2
_POSITIONS = ("encoder/position/embedding", "decoder/position/embedding")
_TOKENS = "model.shared.weight"


def _stack_rules(stack: str) -> tuple[Rule, ...]:
    """The rules of the encoder or the decoder."""
    prefix = f"model.{stack}."
    layer = prefix + "layers.{layer}."
    return (
        table(f"{stack}/position", f"{prefix}embed_positions.weight"),
        *norm(f"{stack}/embedding_norm", f"{prefix}layernorm_embedding"),
        *linear(f"{stack}/layers/attention/qkv", layer + "self_attn.{part}_proj", parts=("q", "k", "v")),
        *linear(f"{stack}/layers/attention/out", layer + "self_attn.out_proj", inputs=2),
        *norm(f"{stack}/layers/attention_norm", layer + "self_attn_layer_norm"),
        *linear(f"{stack}/layers/cross_attention/query", layer + "encoder_attn.q_proj"),
        *linear(
            f"{stack}/layers/cross_attention/key_value", layer + "encoder_attn.{part}_proj", parts=("k", "v")
        ),
        *linear(f"{stack}/layers/cross_attention/out", layer + "encoder_attn.out_proj", inputs=2),
        *norm(f"{stack}/layers/cross_attention_norm", layer + "encoder_attn_layer_norm"),
        *linear(f"{stack}/layers/mlp/up", layer + "fc1"),
        *linear(f"{stack}/layers/mlp/down", layer + "fc2"),
        *norm(f"{stack}/layers/mlp_norm", layer + "final_layer_norm"),
        *norm(f"{stack}/final_norm", f"{prefix}layer_norm"),  # only mBART
    )


RULES: tuple[Rule, ...] = (
    table("token", _TOKENS),
    *_stack_rules("encoder"),
    *_stack_rules("decoder"),
    Rule("bias", "final_logits_bias", 1, transposed=False),  # the tensor has a leading axis of length 1
)


def load_bart(path: str | pathlib.Path) -> tuple[EncoderDecoderConfig, dict[str, Any]]:
    """Reads a folder in Hugging Face's layout.

    Returns:
      the configuration, and float32 numpy parameters of `EncoderDecoder`.

    Raises:
      UserError: the folder is not such a model; the message names the setting, or lists the tensors that are missing,
        unknown or of another shape.
    """
    settings, tensors = read_folder(path)
    source = str(path)
    config = _config_from(settings, source)
    if not any(name.startswith("model.") for name in tensors):
        tensors = {f"model.{name}": tensor for name, tensor in tensors.items()}
        tensors["final_logits_bias"] = np.zeros((1, config.vocab_size), np.float32)
    copies = ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight")
    tensors = merge_tied(tensors, dict.fromkeys(copies, _TOKENS), source)

    one = jnp.zeros((1, 1), jnp.int32)
    shapes = parameter_shapes(EncoderDecoder(config), one, one, one)
    for name in _POSITIONS:
        shapes[name] = (config.positions + _OFFSET, config.width)
    shapes["bias"] = (1, config.vocab_size)
    parameters = import_parameters(RULES, tensors, shapes, source)
    for name in _POSITIONS:
        parameters[name] = parameters[name][_OFFSET:]
    parameters["bias"] = parameters["bias"][0]
    return config, unflatten_dict(parameters, sep="/")


def save_bart(
    path: str | pathlib.Path,
    config: EncoderDecoderConfig,
    params: Mapping[str, Any],
    tokens: Mapping[str, int] | None = None,
) -> None:
    """Writes a folder that transformers' `from_pretrained` and `load_bart` read.

    The ids of special tokens belong to the tokenizer; unless they are given, they are left undefined.

    Args:
      path: the folder, created if necessary.
      config: configuration of the model; `norm` determines whether it is BART or mBART.
      params: parameters of `EncoderDecoder`.
      tokens: ids of special tokens; see `ssl_jax.hub.tokenizer_files.token_ids`.

    Raises:
      UserError: Hugging Face's layout does not support the model, or the folder cannot be written.
    """
    if not (config.biases and config.tied_head) or config.gated:
        raise UserError(f"{path}: a model with settings of T5 cannot be written as a BART")
    require_position_encoding("absolute", config.position_encoding, path, "BART and mBART")
    if config.norm_epsilon != _NORM_EPSILON:
        raise UserError(
            f"{path}: norm_epsilon is {config.norm_epsilon}; transformers' BART supports only {_NORM_EPSILON}"
        )
    family = next(family for family, norm in _NORMS.items() if norm == config.norm)
    architecture = {"bart": "Bart", "mbart": "MBart"}[family]
    parameters = {path: np.asarray(array) for path, array in flatten_dict(dict(params), sep="/").items()}
    for name in _POSITIONS:
        parameters[name] = np.pad(parameters[name], ((_OFFSET, 0), (0, 0)))
    parameters["bias"] = parameters["bias"][None]
    settings = {name: getattr(config, field) for field, name in _FIELDS.items()}
    settings |= {name: settings[same] for name, same in _SAME_IN_DECODER.items()} | {
        "model_type": family,
        "architectures": [f"{architecture}ForConditionalGeneration"],
        "is_encoder_decoder": True,
        "activation_function": activation_name(config.activation),
        "dtype": "float32",
    }
    for name in ("pad", "bos", "eos", "decoder_start", "forced_eos"):
        settings[f"{name}_token_id"] = None
    write_folder(path, settings | dict(tokens or {}), export_parameters(RULES, parameters))


def _config_from(settings: Mapping[str, Any], source: str) -> EncoderDecoderConfig:
    family = one_of(_NORMS, settings, "model_type", source)
    supported = {  # settings that the model does not have, with their only supported values
        "normalize_before": _NORMS[family] == "pre",
        "add_final_layer_norm": _NORMS[family] == "pre",
        "normalize_embedding": True,
        "static_position_embeddings": False,
        "add_bias_logits": False,
        "tie_word_embeddings": True,
    }
    supported |= {name: settings[same] for name, same in _SAME_IN_DECODER.items() if same in settings}
    fields = read_fields(EncoderDecoderConfig, settings, _FIELDS, _REQUIRED, supported, source)
    activation = read_activation(settings, "activation_function", "gelu", source)
    fields |= {"activation": activation, "norm": _NORMS[family], "norm_epsilon": _NORM_EPSILON}
    return make_config(EncoderDecoderConfig, source, **fields)
