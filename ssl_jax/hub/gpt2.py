"""Imports and exports GPT-2 weights in Hugging Face's layout: a folder with config.json and model.safetensors.

The supported architectures are `GPT2LMHeadModel` and `GPT2Model`, which has no prefix `transformer.`. The output layer
is the token table in both. Of their three dropout rates, `resid_pdrop` and `attn_pdrop` are read, `embd_pdrop` is not.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

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
from ssl_jax.models.gpt2 import Gpt2, Gpt2Config

_FIELDS = {  # field of the configuration: setting in config.json
    "vocab_size": "vocab_size",
    "positions": "n_positions",
    "layers": "n_layer",
    "width": "n_embd",
    "heads": "n_head",
    "dropout": "resid_pdrop",
    "attention_dropout": "attn_pdrop",
    "norm_epsilon": "layer_norm_epsilon",
    "initializer_stddev": "initializer_range",
}
_REQUIRED = ("vocab_size", "positions", "layers", "width", "heads")
_SUPPORTED = {  # settings that the model does not have, with their only supported values
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}
_PREFIX, _LAYER = "transformer.", "transformer.h.{layer}."
RULES: tuple[Rule, ...] = (
    table("embeddings/token", f"{_PREFIX}wte.weight"),
    table("embeddings/position", f"{_PREFIX}wpe.weight"),
    *norm("layers/attention_norm", _LAYER + "ln_1"),
    *linear("layers/attention/qkv", _LAYER + "attn.c_attn", transposed=False),
    *linear("layers/attention/out", _LAYER + "attn.c_proj", inputs=2, transposed=False),
    *norm("layers/mlp_norm", _LAYER + "ln_2"),
    *linear("layers/mlp/up", _LAYER + "mlp.c_fc", transposed=False),
    *linear("layers/mlp/down", _LAYER + "mlp.c_proj", transposed=False),
    *norm("final_norm", f"{_PREFIX}ln_f"),
)


def load_gpt2(path: str | pathlib.Path) -> tuple[Gpt2Config, dict[str, Any]]:
    """Reads a folder in Hugging Face's layout.

    Returns:
      the configuration, and float32 numpy parameters of `Gpt2`.

    Raises:
      UserError: the folder is not such a model; the message names the setting, or lists the tensors that are missing,
        unknown or of another shape.
    """
    settings, tensors = read_folder(path)
    source = str(path)
    one_of(["gpt2"], settings, "model_type", source)
    names = _FIELDS if settings.get("n_inner") is None else _FIELDS | {"mlp_width": "n_inner"}
    fields = read_fields(Gpt2Config, settings, names, _REQUIRED, _SUPPORTED, source)
    fields.setdefault("mlp_width", 4 * fields["width"])
    fields["activation"] = read_activation(settings, "activation_function", "gelu_new", source)
    config = make_config(Gpt2Config, source, **fields)

    # Older files have the causal mask of each layer; some, such as the first released one, have no prefix.
    buffers = (".attn.bias", ".attn.masked_bias")
    tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith(buffers)}
    if not any(name.startswith(_PREFIX) for name in tensors):
        tensors = {name if name == "lm_head.weight" else _PREFIX + name: x for name, x in tensors.items()}
    tensors = merge_tied(tensors, {"lm_head.weight": f"{_PREFIX}wte.weight"}, source)
    shapes = parameter_shapes(Gpt2(config), jnp.zeros((1, 1), jnp.int32))
    return config, unflatten_dict(import_parameters(RULES, tensors, shapes, source), sep="/")


def save_gpt2(
    path: str | pathlib.Path,
    config: Gpt2Config,
    params: Mapping[str, Any],
    tokens: Mapping[str, int] | None = None,
) -> None:
    """Writes a folder that transformers' `GPT2LMHeadModel.from_pretrained` and `load_gpt2` read.

    The ids of special tokens belong to the tokenizer; unless they are given, they are left undefined.

    Args:
      path: the folder, created if necessary.
      config: configuration of the model.
      params: parameters of `Gpt2`.
      tokens: ids of special tokens; see `ssl_jax.hub.tokenizer_files.token_ids`.

    Raises:
      UserError: Hugging Face's layout does not support the model, or the folder cannot be written.
    """
    require_position_encoding("absolute", config.position_encoding, path, "GPT-2")
    settings = {name: getattr(config, field) for field, name in _FIELDS.items()} | {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "n_inner": config.mlp_width,
        "activation_function": activation_name(config.activation),
        "embd_pdrop": config.dropout,
        "bos_token_id": None,
        "eos_token_id": None,
        "dtype": "float32",
        **(tokens or {}),
    }
    write_folder(path, settings, export_parameters(RULES, flatten_dict(dict(params), sep="/")))
