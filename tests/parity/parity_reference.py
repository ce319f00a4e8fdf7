"""What Hugging Face transformers computes, on PyTorch: needs requirements-parity.txt."""

import pathlib
from typing import NamedTuple

import numpy as np
import torch
import transformers

_CROSS_ENTROPY = torch.nn.functional.cross_entropy


class Case(NamedTuple):
    """A model of random weights: its class, the fields of its configuration, and the shape of its input.

    target: tokens that the decoder of an encoder-decoder reads, always more or fewer than the encoder does.
    """

    architecture: str
    fields: dict
    batch: int
    length: int
    target: int = 0


def _bert(vocab, positions, token_types, layers, width, heads, mlp, activation, **others):
    return {
        "vocab_size": vocab,
        "max_position_embeddings": positions,
        "type_vocab_size": token_types,
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "intermediate_size": mlp,
        "hidden_act": activation,
        **others,
    }


def _gpt2(vocab, positions, layers, width, heads, mlp, activation, **others):
    return {
        "vocab_size": vocab,
        "n_positions": positions,
        "n_layer": layers,
        "n_embd": width,
        "n_head": heads,
        "n_inner": mlp,
        "activation_function": activation,
        "bos_token_id": None,
        "eos_token_id": None,
        **others,
    }


def _bart(vocab, positions, layers, decoder_layers, width, heads, mlp, activation, **others):
    return {
        "vocab_size": vocab,
        "max_position_embeddings": positions,
        "encoder_layers": layers,
        "decoder_layers": decoder_layers,
        "d_model": width,
        "encoder_attention_heads": heads,
        "decoder_attention_heads": heads,
        "encoder_ffn_dim": mlp,
        "decoder_ffn_dim": mlp,
        "activation_function": activation,
        **others,
    }


def _t5(vocab, layers, decoder_layers, width, heads, mlp, block, **others):
    return {
        "vocab_size": vocab,
        "num_layers": layers,
        "num_decoder_layers": decoder_layers,
        "d_model": width,
        "d_kv": width // heads,
        "num_heads": heads,
        "d_ff": mlp,
        "feed_forward_proj": block,
        # So few and so near that all of them are met.
        "relative_attention_num_buckets": 8,
        "relative_attention_max_distance": 11,
        **others,
    }


_ODD = _bert(53, 17, 2, 2, 24, 3, 40, "gelu")
_TANH = _bert(71, 13, 5, 3, 20, 5, 28, "gelu_new", layer_norm_eps=1e-6)
_ALBERT = _bert(61, 19, 2, 3, 24, 4, 36, "gelu_new", embedding_size=10)
CASES = {  # each seeded by its place: new ones come last
    "pretraining": Case("BertForPreTraining", _ODD, 3, 11),
    "pretraining-tanh": Case("BertForPreTraining", _TANH, 2, 13),
    "encoder": Case("BertModel", _ODD, 3, 11),
    "masked-lm": Case("BertForMaskedLM", _TANH, 2, 7),
    "sequence": Case("BertForSequenceClassification", {**_ODD, "num_labels": 5}, 4, 9),
    "token": Case("BertForTokenClassification", {**_TANH, "num_labels": 3}, 2, 12),
    "question": Case("BertForQuestionAnswering", _ODD, 2, 17),
    "albert-pretraining": Case("AlbertForPreTraining", _ALBERT, 3, 19),
    "albert-sequence": Case("AlbertForSequenceClassification", {**_ALBERT, "num_labels": 2}, 2, 8),
    "albert-erf": Case("AlbertForMaskedLM", {**_ALBERT, "hidden_act": "gelu"}, 2, 8),
    "gpt2": Case("GPT2LMHeadModel", _gpt2(53, 17, 3, 12, 3, 20, "gelu_new"), 3, 11),
    "gpt2-erf": Case(
        "GPT2LMHeadModel", _gpt2(31, 13, 2, 20, 5, None, "gelu", layer_norm_epsilon=1e-6), 2, 13
    ),
    "bart": Case("BartForConditionalGeneration", _bart(37, 15, 1, 2, 12, 3, 20, "gelu"), 3, 11, 7),
    "bart-tanh": Case(
        "BartForConditionalGeneration",
        _bart(31, 14, 3, 1, 20, 5, 28, "gelu_new", scale_embedding=True),
        2,
        5,
        14,
    ),
    "mbart": Case(
        "MBartForConditionalGeneration",
        _bart(29, 13, 2, 1, 12, 2, 18, "relu", scale_embedding=True),
        2,
        13,
        4,
    ),
    "t5": Case("T5ForConditionalGeneration", _t5(37, 2, 1, 12, 3, 20, "relu"), 3, 17, 19),
    "t5-gated": Case(
        "T5ForConditionalGeneration",
        _t5(31, 1, 2, 20, 5, 28, "gated-gelu", tie_word_embeddings=False),
        2,
        16,
        13,
    ),
}
WITH_GRADIENTS = ("pretraining", "gpt2", "bart")


def save_random_model(case: Case, seed: int, folder: pathlib.Path) -> None:
    """Saves the case's model as transformers does, every parameter drawn, none left where it starts (0 or 1).

    The values are representable in float16, so that golden files store them in half the space.
    """
    kind = getattr(transformers, case.architecture)
    model = kind(kind.config_class(**case.fields))
    if not case.fields.get("tie_word_embeddings", True):
        model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.lm_head.weight))
    biases = [(name, b) for name, b in model.named_buffers() if name == "final_logits_bias"]
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in [*model.named_parameters(), *biases]:
            centre = 1.0 if parameter.ndim == 1 and name.endswith("weight") else 0.0  # of a normalisation
            values = centre + 0.2 * torch.randn(parameter.shape, generator=generator)
            parameter.copy_(values.half().float())
    model.save_pretrained(folder)


def load_model(folder: pathlib.Path, architecture: str):
    """The saved model, deterministic."""
    return getattr(transformers, architecture).from_pretrained(folder).eval()


def random_inputs(case: Case, seed: int) -> dict[str, np.ndarray]:
    """Tokens of all kinds that the model takes, and a mask with padding on the right, and in one row a hole."""
    rng = np.random.default_rng(seed)
    shape = (case.batch, case.length)
    present = np.arange(case.length)[None] < rng.integers(case.length // 2, case.length, (case.batch, 1))
    present[0] = True
    present[-1, 2] = False

    def tokens(shape, kinds="vocab_size"):
        return rng.integers(0, case.fields[kinds], shape, dtype=np.int32)

    inputs = {"tokens": tokens(shape)}
    if "type_vocab_size" in case.fields:
        inputs["token_type_ids"] = tokens(shape, "type_vocab_size")
    inputs["segment_ids"] = present.astype(np.int32)
    return inputs | ({"target": tokens((case.batch, case.target))} if case.target else {})


def random_labels(case: Case, inputs: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """What is to be predicted, -1 for nothing: `tokens`, of the target if there is one, and `pair` (of BERT)."""
    rng = np.random.default_rng(seed)
    labels = {"pair": rng.integers(0, 2, case.batch, dtype=np.int32)} if "token_type_ids" in inputs else {}
    read = inputs["tokens"] if "target" not in inputs else inputs["target"]
    # One row has a single label, so that uneven counts are compared too; token 0 is a label like any other.
    labelled = rng.random(read.shape) < 0.4
    labelled[1] = np.arange(read.shape[1]) == 0
    if "target" not in inputs:
        labelled &= inputs["segment_ids"] > 0
    labels["tokens"] = np.where(labelled, read[:, ::-1], -1)
    labels["tokens"][1, 0] = 0
    return labels


_KEYWORDS = {
    "tokens": "input_ids",
    "token_type_ids": "token_type_ids",
    "segment_ids": "attention_mask",
    "target": "decoder_input_ids",
}


def _call(model, inputs):
    return model(**{_KEYWORDS[name]: torch.from_numpy(value).long() for name, value in inputs.items()})


def outputs(model, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All that the model computes, of the outermost states and of its heads' logits."""
    names = {
        "prediction_logits": "token_logits",
        "seq_relationship_logits": "pair_logits",
        "sop_logits": "pair_logits",
        "start_logits": "start_logits",
        "end_logits": "end_logits",
        "logits": "token_logits" if "MaskedLM" in type(model).__name__ else "logits",
        "encoder_last_hidden_state": "context",
    }
    with torch.no_grad():
        heads = _call(model, inputs)
        results = {ours: heads[theirs] for theirs, ours in names.items() if theirs in heads}
        if "target" not in inputs:
            base = _call(model.base_model, inputs)
            results |= {"hidden": base.last_hidden_state, "pooled": base.get("pooler_output")}
    return {name: value.numpy() for name, value in results.items() if value is not None}


def gradients(model, inputs: dict[str, np.ndarray], labels: dict[str, np.ndarray]):
    """The pretraining loss, and its gradient for each of the tensors that the model is saved as.

    The loss is the mean cross-entropy of the tokens where `labels["tokens"]` is not negative, plus that of
    the pairs, if any.
    """
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            # By default transformers drops the gradient of looking one token up, taking it for padding; here it is
            # a token.
            module.padding_idx = None
    result = _call(model, inputs)
    logits = result.prediction_logits if "pair" in labels else result.logits
    token_labels = torch.from_numpy(labels["tokens"]).long()
    loss = _CROSS_ENTROPY(logits[token_labels >= 0], token_labels[token_labels >= 0])
    if "pair" in labels:
        loss = loss + _CROSS_ENTROPY(result.seq_relationship_logits, torch.from_numpy(labels["pair"]).long())
    loss.backward()
    return loss.item(), {name: p.grad.numpy() for name, p in model.named_parameters()}
