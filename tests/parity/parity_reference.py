"""What Hugging Face transformers computes, on PyTorch: needs requirements-parity.txt."""

import pathlib
from typing import NamedTuple

import numpy as np
import torch
from transformers.models.albert import modeling_albert
from transformers.models.bert import modeling_bert


class Case(NamedTuple):
    """A model of random weights: its class, the fields of its configuration, and the shape of its input."""

    architecture: str
    fields: dict
    batch: int
    length: int


def _fields(vocab, positions, segments, layers, width, heads, mlp, activation, **others):
    return {
        "vocab_size": vocab,
        "max_position_embeddings": positions,
        "type_vocab_size": segments,
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "intermediate_size": mlp,
        "hidden_act": activation,
        **others,
    }


_ODD = _fields(53, 17, 2, 2, 24, 3, 40, "gelu")
_TANH = _fields(71, 13, 5, 3, 20, 5, 28, "gelu_new", layer_norm_eps=1e-6)
_ALBERT = _fields(61, 19, 2, 3, 24, 4, 36, "gelu_new", embedding_size=10)
CASES = {
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
}


def save_random_model(case: Case, seed: int, folder: pathlib.Path) -> None:
    """Saves the case's model as transformers does, every parameter drawn, none left where it starts (0 or 1).

    The values are representable in float16, so that golden files store them in half the space.
    """
    module = modeling_albert if case.architecture.startswith("Albert") else modeling_bert
    config = module.AlbertConfig if module is modeling_albert else module.BertConfig
    model = getattr(module, case.architecture)(config(**case.fields))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            centre = 1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0
            values = centre + 0.2 * torch.randn(parameter.shape, generator=generator)
            parameter.copy_(values.half().float())
    model.save_pretrained(folder)


def load_model(folder: pathlib.Path, architecture: str):
    """The saved model, deterministic."""
    module = modeling_albert if architecture.startswith("Albert") else modeling_bert
    return getattr(module, architecture).from_pretrained(folder).eval()


def random_inputs(case: Case, seed: int) -> dict[str, np.ndarray]:
    """Tokens, segments, and an attention mask with padding on the right, and in one row a hole."""
    rng = np.random.default_rng(seed)
    shape = (case.batch, case.length)
    attention = np.arange(case.length)[None] < rng.integers(case.length // 2, case.length, (case.batch, 1))
    attention[0] = True
    attention[-1, 2] = False
    return {
        "tokens": rng.integers(0, case.fields["vocab_size"], shape, dtype=np.int32),
        "segments": rng.integers(0, case.fields["type_vocab_size"], shape, dtype=np.int32),
        "sequence": attention.astype(np.int32),
    }


def _call(model, inputs):
    keywords = {"tokens": "input_ids", "segments": "token_type_ids", "sequence": "attention_mask"}
    return model(**{theirs: torch.from_numpy(inputs[ours]).long() for ours, theirs in keywords.items()})


def outputs(model, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All that the model computes: `hidden`, `pooled` if it has a pooler, and the logits of its heads."""
    with torch.no_grad():
        base = _call(model.base_model, inputs)
        results = {"hidden": base.last_hidden_state, "pooled": base.pooler_output}
        if model.base_model is not model:
            heads = _call(model, inputs)
            names = {
                "prediction_logits": "token_logits",
                "seq_relationship_logits": "pair_logits",
                "sop_logits": "pair_logits",
                "start_logits": "start_logits",
                "end_logits": "end_logits",
                "logits": "token_logits" if "MaskedLM" in type(model).__name__ else "logits",
            }
            results |= {ours: heads[theirs] for theirs, ours in names.items() if theirs in heads}
    return {name: value.numpy() for name, value in results.items() if value is not None}


def pretraining_gradients(model, inputs: dict[str, np.ndarray], labels: dict[str, np.ndarray]):
    """The pretraining loss, and its gradient for each of the tensors that the model is saved as.

    The loss is the mean cross-entropy of the tokens where `labels["tokens"]` is not negative, plus that of
    the pairs.
    """
    # By default transformers drops the gradient of looking token 0 up, taking it for padding; here it is a token.
    model.base_model.embeddings.word_embeddings.padding_idx = None
    result = _call(model, inputs)
    token_labels = torch.from_numpy(labels["tokens"]).long()
    token_logits = result.prediction_logits[token_labels >= 0]
    cross_entropy = torch.nn.functional.cross_entropy
    loss = cross_entropy(token_logits, token_labels[token_labels >= 0])
    loss = loss + cross_entropy(result.seq_relationship_logits, torch.from_numpy(labels["pair"]).long())
    loss.backward()
    return loss.item(), {name: p.grad.numpy() for name, p in model.named_parameters()}
