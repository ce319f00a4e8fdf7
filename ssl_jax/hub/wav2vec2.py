"""Imports and exports wav2vec 2.0 and HuBERT in Hugging Face's layout: config.json and model.safetensors.

A file of the encoder alone (Wav2Vec2Model, HubertModel) gives `{"encoder": ...}`, one of Wav2Vec2ForPreTraining also
the quantiser and the projections of `ssl_jax.models.wav2vec.Wav2Vec2`. transformers has no class for HuBERT's
pretraining, so its projection and its units are not exported.
"""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from etils import epath
from flax.traverse_util import flatten_dict, unflatten_dict

from ssl_jax.errors import UserError
from ssl_jax.files import write_json
from ssl_jax.hub.safetensors import (
    Rule,
    export_parameters,
    import_parameters,
    linear,
    norm,
    read_folder,
    write_folder,
)
from ssl_jax.hub.settings import (
    activation_name,
    make_config,
    one_of,
    parameter_shapes,
    read_activation,
    read_fields,
)
from ssl_jax.models.wav2vec import GumbelConfig, Wav2Vec2, WavConfig, WavEncoder

_FIELDS = {
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "mlp_width": "intermediate_size",
    "conv_norm": "feat_extract_norm",
    "conv_bias": "conv_bias",
    "positional_kernel": "num_conv_pos_embeddings",
    "positional_groups": "num_conv_pos_embedding_groups",
    "dropout": "hidden_dropout",
    "attention_dropout": "attention_dropout",
    "feature_dropout": "feat_proj_dropout",
    "norm_epsilon": "layer_norm_eps",
    "initializer_stddev": "initializer_range",
}
_REQUIRED = ("layers", "width", "heads", "mlp_width", "conv_norm")
_QUANTIZER_FIELDS = {
    "groups": "num_codevector_groups",
    "codes": "num_codevectors_per_group",
    "code_width": "codevector_dim",
    "projection_width": "proj_codevector_dim",
}
_SUPPORTED = {"add_adapter": False, "adapter_attn_dim": None, "conv_pos_batch_norm": False}
_QKV = ("q_proj", "k_proj", "v_proj")
_FAMILIES = ("wav2vec2", "hubert")
_POSITIONAL = "encoder.pos_conv_embed.conv."
_OLD_NAMES = {
    "weight_g": "parametrizations.weight.original0",
    "weight_v": "parametrizations.weight.original1",
}


class WavModel(NamedTuple):
    """A model that was read.

    Attributes:
      family: wav2vec2 or hubert.
      config: of the encoder.
      quantizer: of the quantiser; None if the file has none.
      params: float32 numpy parameters: `encoder`, and those of `Wav2Vec2` if the file has them.
    """

    family: str
    config: WavConfig
    quantizer: GumbelConfig | None
    params: dict[str, Any]


class _Kernel(Rule):
    """A convolution's kernel, `[size, inputs, outputs]` here and `[outputs, inputs, size]` there."""

    def import_parameter(self, tensors: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
        return np.ascontiguousarray(tensors[self.name].T, dtype=np.float32)

    def export_parameter(self, parameter: np.ndarray) -> dict[str, np.ndarray]:
        return {self.name: parameter.T}


class _Reshaped(Rule):
    """A parameter whose tensor has axes of length 1 as well: lengths of weight normalisation, or codebooks."""

    def import_parameter(self, tensors: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
        return np.ascontiguousarray(tensors[self.name].reshape(shape), dtype=np.float32)

    def export_parameter(self, parameter: np.ndarray) -> dict[str, np.ndarray]:
        if parameter.ndim == 1:
            return {self.name: parameter[None, None]}
        groups, codes, width = parameter.shape
        return {self.name: parameter.reshape(1, groups * codes, width)}


def _rules(prefix: str, config: WavConfig) -> tuple[Rule, ...]:
    layer, conv = prefix + "encoder.layers.{layer}.", f"{prefix}feature_extractor.conv_layers."
    rules: list[Rule] = []
    for i in range(len(config.kernels)):
        rules += [
            _Kernel(f"encoder/feature_encoder/kernel_{i}", f"{conv}{i}.conv.weight"),
            Rule(f"encoder/feature_encoder/bias_{i}", f"{conv}{i}.conv.bias"),
            *norm(f"encoder/feature_encoder/norm_{i}", f"{conv}{i}.layer_norm"),
        ]
    last = "encoder/embedding_norm" if config.norm == "post" else "encoder/final_norm"
    weight = f"{prefix}{_POSITIONAL}parametrizations.weight."
    return (
        *rules,
        *norm("encoder/feature_layer_norm", f"{prefix}feature_projection.layer_norm"),
        *linear("encoder/projection", f"{prefix}feature_projection.projection"),
        Rule("encoder/mask_embedding", f"{prefix}masked_spec_embed"),
        _Reshaped("encoder/positional/scale", f"{weight}original0"),
        _Kernel("encoder/positional/direction", f"{weight}original1"),
        Rule("encoder/positional/bias", f"{prefix}{_POSITIONAL}bias"),
        *norm(last, f"{prefix}encoder.layer_norm"),
        *linear("encoder/layers/attention/qkv", layer + "attention.{part}", parts=_QKV),
        *linear("encoder/layers/attention/out", layer + "attention.out_proj", inputs=2),
        *norm("encoder/layers/attention_norm", layer + "layer_norm"),
        *linear("encoder/layers/mlp/up", layer + "feed_forward.intermediate_dense"),
        *linear("encoder/layers/mlp/down", layer + "feed_forward.output_dense"),
        *norm("encoder/layers/mlp_norm", layer + "final_layer_norm"),
        _Reshaped("quantizer/vectors", "quantizer.codevectors"),
        *linear("quantizer/logits", "quantizer.weight_proj"),
        *linear("project_hidden", "project_hid"),
        *linear("project_codes", "project_q"),
    )


def load_wav2vec2(path: str | pathlib.Path) -> WavModel:
    """Reads a folder in Hugging Face's layout.

    Raises:
      UserError: the folder is not such a model; the message names the setting, or lists the tensors that are missing,
        unknown or of another shape.
    """
    settings, tensors = read_folder(path)
    source = str(path)
    family = one_of(_FAMILIES, settings, "model_type", source)
    tensors = {_current_name(name): tensor for name, tensor in tensors.items()}
    config, quantizer = _config_from(settings, family, source), None
    samples = jnp.zeros((1, config.receptive_field)), jnp.full(1, config.receptive_field, jnp.int32)
    if "quantizer.codevectors" in tensors:
        fields = read_fields(GumbelConfig, settings, _QUANTIZER_FIELDS, (), {}, source)
        quantizer = make_config(GumbelConfig, source, **fields)
        shapes = parameter_shapes(Wav2Vec2(config, quantizer), *samples)
    else:
        shapes = {
            f"encoder/{name}": shape for name, shape in parameter_shapes(WavEncoder(config), *samples).items()
        }
    prefix = f"{family}." if any(name.startswith(f"{family}.") for name in tensors) else ""
    # transformers leaves it out of models whose config.json has no masks; they are read as encoders.
    tensors.setdefault(f"{prefix}masked_spec_embed", np.zeros(config.width, np.float32))
    params = unflatten_dict(import_parameters(_rules(prefix, config), tensors, shapes, source), sep="/")
    return WavModel(family, config, quantizer, params)


def save_wav2vec2(
    path: str | pathlib.Path,
    family: str,
    config: WavConfig,
    params: Mapping[str, Any],
    quantizer: GumbelConfig | None = None,
) -> None:
    """Writes a folder that transformers' `from_pretrained` and `load_wav2vec2` read.

    Args:
      path: the folder, created if necessary.
      family: wav2vec2 or hubert.
      config: of the encoder.
      params: `encoder`, and those of `Wav2Vec2` if a quantiser is given.
      quantizer: of the quantiser; None for the encoder alone.

    Raises:
      UserError: the folder cannot be written, or a quantiser is given for HuBERT.
    """
    if quantizer is not None and family != "wav2vec2":
        raise UserError(f"{path}: Hugging Face's HuBERT has no quantiser; export its encoder alone.")
    params = params if quantizer is not None else {"encoder": params["encoder"]}
    prefix = "" if quantizer is None else f"{family}."
    tensors = export_parameters(_rules(prefix, config), flatten_dict(dict(params), sep="/"))
    architecture = {"wav2vec2": "Wav2Vec2", "hubert": "Hubert"}[family]
    count = len(config.kernels)
    settings = {name: getattr(config, field) for field, name in _FIELDS.items()} | {
        "model_type": family,
        "architectures": [architecture + ("Model" if quantizer is None else "ForPreTraining")],
        "conv_dim": [config.conv_width] * count,
        "conv_kernel": [*config.kernels],
        "conv_stride": [*config.strides],
        "num_feat_extract_layers": count,
        "do_stable_layer_norm": config.norm == "pre",
        "hidden_act": activation_name(config.activation),
        "feat_extract_activation": activation_name(config.conv_activation),
        "dtype": "float32",
    }
    if family == "hubert":
        settings["feat_proj_layer_norm"] = config.feature_norm
    if quantizer is not None:
        settings |= {name: getattr(quantizer, field) for field, name in _QUANTIZER_FIELDS.items()}
    write_folder(path, settings, tensors)


def save_feature_extractor(path: epath.Path, config: WavConfig, *, rate: int, normalise: bool) -> None:
    """Writes preprocessor_config.json, from which `AutoFeatureExtractor` of transformers prepares waveforms.

    Args:
      path: the folder of the model.
      config: of the encoder.
      rate: samples a second.
      normalise: whether each waveform gets mean 0 and variance 1.
    """
    settings = {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "feature_size": 1,
        "sampling_rate": rate,
        "padding_side": "right",
        "padding_value": 0.0,
        "do_normalize": normalise,
        # Normalisation over time (base) sees padding there, whatever the mask says; see the class's documentation.
        "return_attention_mask": config.conv_norm == "layer",
    }
    write_json(path / "preprocessor_config.json", settings)


def _current_name(name: str) -> str:
    """The name of a tensor in files of today: weight normalisation was renamed in PyTorch 2."""
    for old, new in _OLD_NAMES.items():
        if name.endswith(f"{_POSITIONAL}{old}"):
            return name.removesuffix(old) + new
    return name


def _config_from(settings: Mapping[str, Any], family: str, source: str) -> WavConfig:
    fields = read_fields(WavConfig, settings, _FIELDS, _REQUIRED, _SUPPORTED, source)
    lists = {"conv_dim": (512,) * 7, "conv_kernel": WavConfig.kernels, "conv_stride": WavConfig.strides}
    for name, usual in lists.items():
        value = settings.get(name, list(usual))
        if not isinstance(value, list) or not 1 <= len(value) <= 100:
            raise UserError(f"{source}: config.json has {name} {value!r:.80}; expected a list of integers")
        lists[name] = tuple(value)
    if len(set(lists["conv_dim"])) != 1:
        raise UserError(
            f"{source}: config.json has conv_dim {lists['conv_dim']}; only equal widths are supported"
        )
    stable = settings.get("do_stable_layer_norm", False)
    if not isinstance(stable, bool):
        raise UserError(
            f"{source}: config.json has do_stable_layer_norm {stable!r:.80}; expected true or false"
        )
    fields |= {
        "conv_width": lists["conv_dim"][0],
        "kernels": lists["conv_kernel"],
        "strides": lists["conv_stride"],
        "norm": "pre" if stable else "post",
        "feature_norm": bool(settings.get("feat_proj_layer_norm", True)) if family == "hubert" else True,
        "activation": read_activation(settings, "hidden_act", "gelu", source),
        "conv_activation": read_activation(settings, "feat_extract_activation", "gelu", source),
    }
    return make_config(WavConfig, source, **fields)
