"""T5 weights, 1.0 and 1.1, from and to Hugging Face's layout: a folder with config.json and model.safetensors.

Two factors of T5 are in our weights (see `T5_SIZES`): its table of tokens is divided by sqrt(width), which our model
multiplies embeddings by, and its queries are multiplied by sqrt(width of a head), which attention divides them by.
Where these are no powers of two, an export differs from what was imported by rounding.
"""

import math
import pathlib
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from ssl_jax.errors import UserError
from ssl_jax.hub.safetensors import Rule, read_folder, table, to_ours, to_theirs, write_folder
from ssl_jax.hub.settings import parameter_shapes, read_fields, without_copies
from ssl_jax.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig

_FIELDS = {  # ours: theirs
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
_DEFAULTS = {
    "dropout": 0.1,
    "norm_epsilon": 1e-6,
    "relative_buckets": 32,
}  # theirs, where a file says nothing
_FIXED = {"norm": "pre", "biases": False, "scale_embeddings": True, "initializer_stddev": None}
_BLOCKS = {"relu": ("relu", False), "gated-gelu": ("gelu_tanh", True)}  # theirs: our activation, gated


def _kernel(path: str, name: str, inputs: int = 1, parts: tuple[str, ...] = ("",)) -> Rule:
    return Rule(f"{path}/kernel", f"{name}.weight", inputs, parts)


def _scale(path: str, name: str) -> Rule:
    return Rule(f"{path}/scale", f"{name}.weight")


def _side(side: str, mlp: int, gated: bool) -> tuple[Rule, ...]:
    """Of the encoder or the decoder; mlp: the number of that block among those of a layer."""
    ours, theirs = f"{side}/layers/", side + ".block.{layer}.layer."
    attention, cross = theirs + "0.SelfAttention.", theirs + "1.EncDecAttention."
    dense = theirs + f"{mlp}.DenseReluDense."
    relative = f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    hidden = {"gate": "wi_0", "up": "wi_1"} if gated else {"up": "wi"}
    return (
        table(f"{side}/relative/table", relative),
        _scale(ours + "attention_norm", theirs + "0.layer_norm"),
        _kernel(ours + "attention/qkv", attention + "{part}", parts=("q", "k", "v")),
        _kernel(ours + "attention/out", attention + "o", inputs=2),
        _scale(ours + "cross_attention_norm", theirs + "1.layer_norm"),
        _kernel(ours + "cross_attention/query", cross + "q"),
        _kernel(ours + "cross_attention/key_value", cross + "{part}", parts=("k", "v")),
        _kernel(ours + "cross_attention/out", cross + "o", inputs=2),
        _scale(ours + "mlp_norm", theirs + f"{mlp}.layer_norm"),
        *(_kernel(f"{ours}mlp/{name}", dense + wi) for name, wi in hidden.items()),
        _kernel(ours + "mlp/down", dense + "wo"),
        _scale(f"{side}/final_norm", f"{side}.final_layer_norm"),
    )


def rules(gated: bool) -> tuple[Rule, ...]:
    """Of all parameters, before T5's factors are moved into them; gated: of version 1.1."""
    tables = table("token", "shared.weight"), table("head", "lm_head.weight")
    return (*tables, *_side("encoder", 1, gated), *_side("decoder", 2, gated))


def load_t5(path: str | pathlib.Path) -> tuple[EncoderDecoderConfig, dict[str, Any]]:
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
    copies = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"]
    copies += ["lm_head.weight"] * config.tied_head
    tensors = without_copies(tensors, dict.fromkeys(copies, "shared.weight"), source)
    # Of the first releases; nothing reads it.
    tensors.pop("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight", None)
    one = jnp.zeros((1, 1), jnp.int32)
    shapes = parameter_shapes(EncoderDecoder(config), one, one, one)
    ours = to_ours(rules(config.gated), tensors, shapes, source)
    return config, unflatten_dict(_scaled(ours, config, 1), sep="/")


def save_t5(path: str | pathlib.Path, config: EncoderDecoderConfig, params: Mapping[str, Any]) -> None:
    """Writes a folder that transformers' `T5ForConditionalGeneration.from_pretrained` and `load_t5` read.

    The ids of special tokens are the tokenizer's: they are left open here.

    Args:
        path: the folder, made if needed.
        config: of the model.
        params: of `EncoderDecoder`.

    Raises:
        UserError: when Hugging Face's layout has no such model, or the folder cannot be written.
    """
    blocks = {ours: theirs for theirs, ours in _BLOCKS.items()}
    block = config.activation, config.gated
    if config.norm != "pre" or config.biases or not config.scale_embeddings or not config.relative_buckets:
        raise UserError(
            f"{path}: a model with other settings than those of T5_SIZES cannot be written as a T5"
        )
    if block not in blocks or config.attention_dropout != config.dropout:
        raise UserError(
            f"{path}: a T5 has relu or gated gelu_tanh in its MLP and one rate of dropout; this model has "
            f"activation {config.activation}, gated {config.gated}, dropout {config.dropout}, attention_dropout "
            f"{config.attention_dropout}"
        )
    ours = {path: np.asarray(array) for path, array in flatten_dict(dict(params), sep="/").items()}
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
    }
    write_folder(path, settings, to_theirs(rules(config.gated), _scaled(ours, config, -1)))


def _config_from(settings: Mapping[str, Any], source: str) -> EncoderDecoderConfig:
    if settings.get("model_type") != "t5":
        raise UserError(f"{source}: model_type is {settings.get('model_type')!r}, expected t5")
    fields = _DEFAULTS | read_fields(settings, _FIELDS, _REQUIRED, {}, source)
    block = settings.get("feed_forward_proj", "relu")
    if block not in _BLOCKS:
        raise UserError(f"{source}: feed_forward_proj is {block!r}, expected one of {', '.join(_BLOCKS)}")
    if (inner := settings.get("d_kv", 64) * fields["heads"]) != fields["width"]:
        raise UserError(
            f"{source}: num_heads times d_kv is {inner}; known is d_model, {fields['width']}, only"
        )
    fields["activation"], fields["gated"] = _BLOCKS[block]
    fields.setdefault("decoder_layers", fields["layers"])
    # transformers 5 writes of version 1.1, too, that the head is tied, and by another name whether it is scaled.
    fields["tied_head"] = settings.get("scale_decoder_outputs", settings.get("tie_word_embeddings", True))
    return EncoderDecoderConfig(**fields, **_FIXED, attention_dropout=fields["dropout"])


def _scaled(ours: dict[str, np.ndarray], config: EncoderDecoderConfig, sign: int) -> dict[str, np.ndarray]:
    """Their values at our paths with T5's factors moved into them (sign 1), or out of them (-1)."""
    head = np.float32(math.sqrt(config.width // config.heads) ** sign)
    queries = np.array([head, 1, 1], np.float32)[:, None, None]
    factors = {
        "token/embedding": np.float32(math.sqrt(config.width) ** -sign),
        "encoder/layers/attention/qkv/kernel": queries,
        "decoder/layers/attention/qkv/kernel": queries,
        "decoder/layers/cross_attention/query/kernel": head,
    }
    return ours | {path: ours[path] * factor for path, factor in factors.items()}
