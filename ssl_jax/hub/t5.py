"""Imports and exports T5 weights, versions 1.0 and 1.1, in Hugging Face's layout: config.json and model.safetensors.

Two factors are part of the weights here (see `T5_SIZES`). The token table is divided by sqrt(width), because the model
multiplies embeddings by it. The query projections are multiplied by sqrt(width of a head), because attention divides
queries by it. If these factors are not powers of two, an export differs from the imported weights by rounding.
"""

import math
import pathlib
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from ssl_jax.domains import check_field
from ssl_jax.errors import UserError
from ssl_jax.hub.safetensors import (
    Rule,
    export_parameters,
    import_parameters,
    read_folder,
    table,
    write_folder,
)
from ssl_jax.hub.settings import (
    make_config,
    merge_tied,
    one_of,
    parameter_shapes,
    read_fields,
    require_position_encoding,
)
from ssl_jax.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig

_FIELDS = {  # field of the configuration: setting in config.json
    "vocab_size": "vocab_size",
    "positions": "n_positions",
    "layers": "num_layers",
    "decoder_layers": "num_decoder_layers",
    "width": "d_model",
    "heads": "num_heads",
    "mlp_width": "d_ff",
    "dropout": "dropout_rate",
    "norm_epsilon": "layer_norm_epsilon",
    "relative_buckets": "relative_attention_num_buckets",
    "relative_distance": "relative_attention_max_distance",
}
_REQUIRED = ("vocab_size", "layers", "width", "heads", "mlp_width")
_DEFAULTS = {  # of transformers, for settings that a file does not have
    "dropout": 0.1,
    "norm_epsilon": 1e-6,
}
_FIXED = {
    "norm": "pre",
    "biases": False,
    "position_encoding": "relative",
    "scale_embeddings": True,
    "initializer_stddev": None,
}
_BLOCKS = {
    "relu": ("relu", False),
    "gated-gelu": ("gelu_tanh", True),
}  # feed_forward_proj: (activation, gated)


def _kernel(path: str, name: str, inputs: int = 1, parts: tuple[str, ...] = ("",)) -> Rule:
    return Rule(f"{path}/kernel", f"{name}.weight", inputs, parts)


def _scale(path: str, name: str) -> Rule:
    return Rule(f"{path}/scale", f"{name}.weight")


def _stack_rules(stack: str, mlp: int, gated: bool) -> tuple[Rule, ...]:
    """The rules of the encoder or the decoder.

    Args:
      stack: "encoder" or "decoder".
      mlp: index of the MLP among the blocks of a layer.
      gated: whether the MLP is gated.
    """
    layers, prefix = f"{stack}/layers/", stack + ".block.{layer}.layer."
    attention, cross = prefix + "0.SelfAttention.", prefix + "1.EncDecAttention."
    dense = prefix + f"{mlp}.DenseReluDense."
    relative = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    hidden = {"gate": "wi_0", "up": "wi_1"} if gated else {"up": "wi"}
    return (
        table(f"{stack}/relative/table", relative),
        _scale(layers + "attention_norm", prefix + "0.layer_norm"),
        _kernel(layers + "attention/qkv", attention + "{part}", parts=("q", "k", "v")),
        _kernel(layers + "attention/out", attention + "o", inputs=2),
        _scale(layers + "cross_attention_norm", prefix + "1.layer_norm"),
        _kernel(layers + "cross_attention/query", cross + "q"),
        _kernel(layers + "cross_attention/key_value", cross + "{part}", parts=("k", "v")),
        _kernel(layers + "cross_attention/out", cross + "o", inputs=2),
        _scale(layers + "mlp_norm", prefix + f"{mlp}.layer_norm"),
        *(_kernel(f"{layers}mlp/{name}", dense + wi) for name, wi in hidden.items()),
        _kernel(layers + "mlp/down", dense + "wo"),
        _scale(f"{stack}/final_norm", f"{stack}.final_layer_norm"),
    )


def rules(gated: bool) -> tuple[Rule, ...]:
    """The rules of all parameters, before T5's factors are moved into them.

    Args:
      gated: whether the MLP is gated, as in version 1.1.
    """
    tables = table("token", "shared.weight"), table("head", "lm_head.weight")
    return (*tables, *_stack_rules("encoder", 1, gated), *_stack_rules("decoder", 2, gated))


def load_t5(path: str | pathlib.Path) -> tuple[EncoderDecoderConfig, dict[str, Any]]:
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
    copies = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"]
    copies += ["lm_head.weight"] * config.tied_head
    tensors = merge_tied(tensors, dict.fromkeys(copies, "shared.weight"), source)
    # In the first releases; it is never used.
    tensors.pop("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight", None)
    one = jnp.zeros((1, 1), jnp.int32)
    shapes = parameter_shapes(EncoderDecoder(config), one, one, one)
    parameters = import_parameters(rules(config.gated), tensors, shapes, source)
    return config, unflatten_dict(_scaled(parameters, config, 1), sep="/")


def save_t5(
    path: str | pathlib.Path,
    config: EncoderDecoderConfig,
    params: Mapping[str, Any],
    tokens: Mapping[str, int] | None = None,
) -> None:
    """Writes a folder that transformers' `T5ForConditionalGeneration.from_pretrained` and `load_t5` read.

    The ids of special tokens belong to the tokenizer; unless they are given, they are left undefined.

    Args:
      path: the folder, created if necessary.
      config: configuration of the model.
      params: parameters of `EncoderDecoder`.
      tokens: ids of special tokens; see `ssl_jax.hub.tokenizer_files.token_ids`.

    Raises:
      UserError: Hugging Face's layout does not support the model, or the folder cannot be written.
    """
    blocks = {value: name for name, value in _BLOCKS.items()}
    block = config.activation, config.gated
    if config.norm != "pre" or config.biases or not config.scale_embeddings:
        raise UserError(
            f"{path}: a model with other settings than those of T5_SIZES cannot be written as a T5"
        )
    require_position_encoding("relative", config.position_encoding, path, "T5")
    if block not in blocks or config.attention_dropout != config.dropout:
        raise UserError(
            f"{path}: a T5 has relu or gated gelu_tanh in its MLP and one dropout rate; this model has "
            f"activation {config.activation}, gated {config.gated}, dropout {config.dropout}, attention_dropout "
            f"{config.attention_dropout}"
        )
    parameters = {path: np.asarray(array) for path, array in flatten_dict(dict(params), sep="/").items()}
    settings = {name: getattr(config, field) for field, name in _FIELDS.items()} | {
        "model_type": "t5",
        "architectures": ["T5ForConditionalGeneration"],
        "is_encoder_decoder": True,
        "d_kv": config.width // config.heads,
        "feed_forward_proj": blocks[block],
        "tie_word_embeddings": config.tied_head,
        "pad_token_id": None,
        "eos_token_id": None,
        "dtype": "float32",
        **(tokens or {}),
    }
    write_folder(path, settings, export_parameters(rules(config.gated), _scaled(parameters, config, -1)))


def _config_from(settings: Mapping[str, Any], source: str) -> EncoderDecoderConfig:
    one_of(["t5"], settings, "model_type", source)
    fields = _DEFAULTS | read_fields(EncoderDecoderConfig, settings, _FIELDS, _REQUIRED, {}, source)
    block = one_of(_BLOCKS, settings, "feed_forward_proj", source, "relu")
    per_head = settings.get("d_kv", 64)
    check_field(EncoderDecoderConfig, "width", per_head, f"{source}: config.json: d_kv")
    if (inner := per_head * fields["heads"]) != fields["width"]:
        raise UserError(
            f"{source}: num_heads times d_kv is {inner}; only d_model, {fields['width']}, is supported"
        )
    fields["activation"], fields["gated"] = _BLOCKS[block]
    fields.setdefault("decoder_layers", fields["layers"])
    # For version 1.1, transformers 5 also writes tie_word_embeddings true; scale_decoder_outputs is correct.
    fields["tied_head"] = settings.get("scale_decoder_outputs", settings.get("tie_word_embeddings", True))
    return make_config(EncoderDecoderConfig, source, **fields, **_FIXED, attention_dropout=fields["dropout"])


def _scaled(
    parameters: dict[str, np.ndarray], config: EncoderDecoderConfig, sign: int
) -> dict[str, np.ndarray]:
    """Moves T5's factors into the parameters (sign 1) or out of them (sign -1)."""
    head = np.float32(math.sqrt(config.width // config.heads) ** sign)
    queries = np.array([head, 1, 1], np.float32)[:, None, None]
    factors = {
        "token/embedding": np.float32(math.sqrt(config.width) ** -sign),
        "encoder/layers/attention/qkv/kernel": queries,
        "decoder/layers/attention/qkv/kernel": queries,
        "decoder/layers/cross_attention/query/kernel": head,
    }
    return parameters | {path: parameters[path] * factor for path, factor in factors.items()}
