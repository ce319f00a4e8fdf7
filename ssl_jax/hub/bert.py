"""Imports and exports BERT, ALBERT and RoFormer weights in Hugging Face's layout: config.json and model.safetensors.

The contents of a file determine the returned parameters. They have the structure of `BertPretraining` and of the models
of `models.heads`: `encoder`, and the heads that the file has: `head` (masked tokens), `pair` (pair of segments),
`classifier` (of sequences, or of tokens if there is no pooler) or `span` (question answering).

RoFormer is BERT with rotary positions. In its layout only classifiers of sequences have a pooler, and there is no head
of pairs: a pretrained model is written without them.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from ssl_jax.errors import UserError
from ssl_jax.hub import roformer
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
from ssl_jax.models.bert import BertConfig, BertPretraining
from ssl_jax.models.heads import QuestionAnswerer, SequenceClassifier, TokenClassifier

_SAME_FIELDS = {  # field of the configuration: setting in config.json, in both families
    "vocab_size": "vocab_size",
    "positions": "max_position_embeddings",
    "token_types": "type_vocab_size",
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "mlp_width": "intermediate_size",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "norm_epsilon": "layer_norm_eps",
    "initializer_stddev": "initializer_range",
}
_REQUIRED = ("vocab_size", "positions", "token_types", "layers", "width", "heads", "mlp_width")
_SUPPORTED = {  # settings that the models do not have, with their only supported values
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "num_hidden_groups": 1,
    "inner_group_num": 1,
    "rotary_value": False,
}
_HEAD_DROPOUT = {"bert": "classifier_dropout", "albert": "classifier_dropout_prob"}
_QKV = ("query", "key", "value")


def _embeddings(prefix: str) -> tuple[Rule, ...]:
    return (
        table("encoder/embeddings/token", f"{prefix}embeddings.word_embeddings.weight"),
        table("encoder/embeddings/position", f"{prefix}embeddings.position_embeddings.weight"),
        table("encoder/embeddings/segment", f"{prefix}embeddings.token_type_embeddings.weight"),
        *norm("encoder/embeddings/norm", f"{prefix}embeddings.LayerNorm"),
    )


def _bert_rules(prefix: str) -> tuple[Rule, ...]:
    layer = prefix + "encoder.layer.{layer}."
    return (
        *_embeddings(prefix),
        *linear("encoder/layers/attention/qkv", layer + "attention.self.{part}", parts=_QKV),
        *linear("encoder/layers/attention/out", layer + "attention.output.dense", inputs=2),
        *norm("encoder/layers/attention_norm", layer + "attention.output.LayerNorm"),
        *linear("encoder/layers/mlp/up", layer + "intermediate.dense"),
        *linear("encoder/layers/mlp/down", layer + "output.dense"),
        *norm("encoder/layers/mlp_norm", layer + "output.LayerNorm"),
        *linear("encoder/pooler", f"{prefix}pooler.dense"),
        *linear("head/dense", "cls.predictions.transform.dense"),
        *norm("head/norm", "cls.predictions.transform.LayerNorm"),
        Rule("head/bias", "cls.predictions.bias"),
        *linear("pair", "cls.seq_relationship"),
        *linear("classifier/dense", "classifier"),
        *linear("span/dense", "qa_outputs"),
    )


def _albert_rules(prefix: str) -> tuple[Rule, ...]:
    layer = f"{prefix}encoder.albert_layer_groups.0.albert_layers.0."
    return (
        *_embeddings(prefix),
        *linear("encoder/embeddings/projection", f"{prefix}encoder.embedding_hidden_mapping_in"),
        *linear("encoder/layers/attention/qkv", layer + "attention.{part}", parts=_QKV),
        *linear("encoder/layers/attention/out", layer + "attention.dense", inputs=2),
        *norm("encoder/layers/attention_norm", layer + "attention.LayerNorm"),
        *linear("encoder/layers/mlp/up", layer + "ffn"),
        *linear("encoder/layers/mlp/down", layer + "ffn_output"),
        *norm("encoder/layers/mlp_norm", layer + "full_layer_layer_norm"),
        *linear("encoder/pooler", f"{prefix}pooler"),
        *linear("head/dense", "predictions.dense"),
        *norm("head/norm", "predictions.LayerNorm"),
        Rule("head/bias", "predictions.bias"),
        *linear("pair", "sop_classifier.classifier"),
        *linear("classifier/dense", "classifier"),
        *linear("span/dense", "qa_outputs"),
    )


def _roformer_rules(prefix: str) -> tuple[Rule, ...]:
    lacking = ("encoder/embeddings/position/", "pair/")
    return tuple(rule for rule in _bert_rules(prefix) if not rule.path.startswith(lacking))


RULES = {"bert": _bert_rules, "albert": _albert_rules, "roformer": _roformer_rules}
_CLASSES = {"bert": "Bert", "albert": "Albert", "roformer": "RoFormer"}
"""How the names of the classes of transformers begin."""


def load_bert(path: str | pathlib.Path) -> tuple[BertConfig, dict[str, Any]]:
    """Reads a folder in Hugging Face's layout.

    Returns:
      the configuration, and float32 numpy parameters: `encoder` and those of the heads that the file has.

    Raises:
      UserError: the folder is not such a model; the message names the setting, or lists the tensors that are missing,
        unknown or of another shape.
    """
    settings, tensors = read_folder(path)
    family = one_of(RULES, settings, "model_type", str(path))
    tensors = _normalize_names(tensors, f"{family}.", str(path))
    if family == "roformer":
        tensors = roformer.with_pooler(tensors)
    has_pooler = any("pooler." in name for name in tensors)
    config = _config_from(settings, family, has_pooler, str(path))
    rules = RULES[family](f"{family}." if any(n.startswith(f"{family}.") for n in tensors) else "")
    present = {rule.path.split("/")[0] for rule in rules if rule.name in tensors} | {"encoder"}
    shapes = {p: s for p, s in _shapes(config, tensors).items() if p.split("/")[0] in present}
    params = import_parameters(rules, tensors, shapes, str(path))
    if family == "roformer":
        params = roformer.with_halves(params)
    return config, unflatten_dict(params, sep="/")


def save_bert(
    path: str | pathlib.Path,
    config: BertConfig,
    params: Mapping[str, Any],
    *,
    labels: Sequence[str] = (),
    scores: bool = False,
    head_dropout: float | None = None,
) -> None:
    """Writes a folder that transformers' `from_pretrained` and `load_bert` read.

    Args:
      path: the folder, created if necessary.
      config: configuration of the model.
      params: parameters: `encoder`, and any of the heads of `BertPretraining` or of a model of `models.heads`.
      labels: names of the classes of a classifier; none for LABEL_0, LABEL_1 and so on.
      scores: whether the output of a classifier of one class is a score.
      head_dropout: dropout rate of the input of a classifier; None for that of the encoder.

    Raises:
      UserError: Hugging Face's layout does not support the model, or the folder cannot be written.
    """
    family = _family(config)
    if config.share_layers != (config.embedding_width is not None):
        raise UserError(
            f"{path}: Hugging Face's layouts have neither BERT with embedding_width nor ALBERT without it; "
            "export a model with share_layers and embedding_width both set, or neither"
        )
    if family == "roformer":
        params = _without_pair(params)
    else:
        require_position_encoding("absolute", config.position_encoding, path, "BERT and ALBERT")
    architecture = _architecture(params)
    prefix = "" if architecture == "Model" else f"{family}."
    flat = flatten_dict(dict(params), sep="/")
    if family == "roformer":
        flat = roformer.with_neighbours(flat)
    tensors = export_parameters(RULES[family](prefix), flat)
    settings = {name: getattr(config, field) for field, name in _SAME_FIELDS.items()} | {
        "model_type": family,
        "architectures": [_CLASSES[family] + architecture],
        "hidden_act": activation_name(config.activation),
        "dtype": "float32",
    }
    if family == "roformer":
        if architecture == "ForSequenceClassification":
            tensors = roformer.with_classifier(tensors)
        tensors[prefix + roformer.SINES] = roformer.sines(config.positions, config.transformer.head_dim)
        settings["embedding_size"] = config.width
    if family == "albert":
        settings |= {"embedding_size": config.embedding_width, "num_hidden_groups": 1, "inner_group_num": 1}
    if "classifier" in params:
        classes = params["classifier"]["dense"]["bias"].shape[0]
        names = labels or [f"LABEL_{i}" for i in range(classes)]
        settings["id2label"] = {str(i): name for i, name in enumerate(names)}
        settings["label2id"] = {name: i for i, name in enumerate(names)}
        if scores:
            settings["problem_type"] = "regression"
        elif labels and architecture == "ForSequenceClassification":
            settings["problem_type"] = "single_label_classification"
        if head_dropout is not None and family in _HEAD_DROPOUT:
            settings[_HEAD_DROPOUT[family]] = head_dropout
    write_folder(path, settings, tensors)


def _family(config: BertConfig) -> str:
    if config.share_layers:
        return "albert"
    return "roformer" if config.position_encoding == "rotary" else "bert"


def _without_pair(params: Mapping[str, Any]) -> dict[str, Any]:
    """What RoFormer's layout has of a model: no task on pairs, and a pooler for a classifier alone."""
    if "classifier" in params:
        return dict(params)
    encoder = {name: value for name, value in params["encoder"].items() if name != "pooler"}
    return {name: value for name, value in params.items() if name != "pair"} | {"encoder": encoder}


def _architecture(params: Mapping[str, Any]) -> str:
    if "span" in params:
        return "ForQuestionAnswering"
    if "classifier" in params:
        return "ForSequenceClassification" if "pooler" in params["encoder"] else "ForTokenClassification"
    if "head" in params:
        return "ForPreTraining" if "pair" in params else "ForMaskedLM"
    return "Model"


def _config_from(settings: Mapping[str, Any], family: str, pooler: bool, source: str) -> BertConfig:
    names, required = dict(_SAME_FIELDS), list(_REQUIRED)
    if family == "albert":
        names["embedding_width"] = "embedding_size"
        required.append("embedding_width")
    supported = dict(_SUPPORTED)
    if family == "roformer":
        supported["embedding_size"] = settings.get("hidden_size")
    fields = read_fields(BertConfig, settings, names, required, supported, source)
    activation = read_activation(settings, "hidden_act", "gelu_new" if family == "albert" else "gelu", source)
    fields |= {"activation": activation, "share_layers": family == "albert", "pooler": pooler}
    if family == "roformer":
        fields["position_encoding"] = "rotary"
    return make_config(BertConfig, source, **fields)


def _normalize_names(tensors: Mapping[str, np.ndarray], prefix: str, source: str) -> dict[str, np.ndarray]:
    """The tensors under the names of current files, without buffers and without copies of tied tensors."""
    renamed = {}
    for name, tensor in tensors.items():
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        if not name.endswith(("embeddings.position_ids", "embeddings.token_type_ids", roformer.SINES)):
            renamed[name] = tensor
    copies = {}
    for head in ("cls.predictions.", "predictions."):
        copies[f"{head}decoder.bias"] = f"{head}bias"
        copies[f"{head}decoder.weight"] = f"{prefix}embeddings.word_embeddings.weight"
    return merge_tied(renamed, copies, source)


def _shapes(config: BertConfig, tensors: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """Shapes of the parameters, by path, of the model whose head the tensors have."""
    model: nn.Module
    if "qa_outputs.weight" in tensors:
        model = QuestionAnswerer(config)
    elif "classifier.weight" in tensors:
        classes = max((1, *tensors["classifier.weight"].shape[:1]))  # another shape is refused later
        model = SequenceClassifier(config, classes) if config.pooler else TokenClassifier(config, classes)
    else:
        model = BertPretraining(config)
    token = jnp.zeros((1, 1), jnp.int32)
    return parameter_shapes(model, token, token, token)
