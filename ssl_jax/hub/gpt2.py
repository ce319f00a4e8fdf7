"""GPT-2 weights from and to Hugging Face's layout: a folder with config.json and model.safetensors.

Read are `GPT2LMHeadModel` and `GPT2Model`, which is the same without the prefix `transformer.`; the output layer
is the table of tokens in both. Their dropout rates are three, ours two: `resid_pdrop` is taken, not `embd_pdrop`.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
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
from ssl_jax.models.gpt2 import Gpt2, Gpt2Config

_FIELDS = {  # ours: theirs
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
_ONLY = {  # what a file may ask for and our model does not have, with the one value that it has
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
        UserError: when the folder is not such a model, naming the setting, or listing the tensors that are
        missing, unknown or mis-shaped.
    """
    settings, tensors = read_folder(path)
    source = str(path)
    if settings.get("model_type") != "gpt2":
        raise UserError(f"{source}: model_type is {settings.get('model_type')!r}, expected gpt2")
    fields = read_fields(settings, _FIELDS, _REQUIRED, _ONLY, source)
    fields["mlp_width"] = settings.get("n_inner") or 4 * fields["width"]
    fields["activation"] = read_activation(settings, "activation_function", "gelu_new", source)
    config = Gpt2Config(**fields)

    # Older files hold the causal mask of each layer; some, as the first released one, are without the prefix.
    buffers = (".attn.bias", ".attn.masked_bias")
    tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith(buffers)}
    if not any(name.startswith(_PREFIX) for name in tensors):
        tensors = {name if name == "lm_head.weight" else _PREFIX + name: x for name, x in tensors.items()}
    tensors = without_copies(tensors, {"lm_head.weight": f"{_PREFIX}wte.weight"}, source)
    shapes = parameter_shapes(Gpt2(config), jnp.zeros((1, 1), jnp.int32))
    return config, unflatten_dict(to_ours(RULES, tensors, shapes, source), sep="/")


def save_gpt2(path: str | pathlib.Path, config: Gpt2Config, params: Mapping[str, Any]) -> None:
    """Writes a folder that transformers' `GPT2LMHeadModel.from_pretrained` and `load_gpt2` read.

    The ids of special tokens are the tokenizer's: they are left open here.

    Args:
        path: the folder, made if needed.
        config: of the model.
        params: of `Gpt2`.

    Raises:
        UserError: when the folder cannot be written.
    """
    settings = {name: getattr(config, field) for field, name in _FIELDS.items()} | {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "n_inner": config.mlp_width,
        "activation_function": their_activation(config.activation),
        "embd_pdrop": config.dropout,
        "bos_token_id": None,
        "eos_token_id": None,
        "dtype": "float32",
    }
    write_folder(path, settings, to_theirs(RULES, flatten_dict(dict(params), sep="/")))
