"""What ssl_jax computes with weights in Hugging Face's layout, named as in parity_reference.py."""

import json
import pathlib
import tempfile
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import safetensors.numpy

from ssl_jax.hub.bart import load_bart, save_bart
from ssl_jax.hub.bert import load_bert, save_bert
from ssl_jax.hub.gpt2 import load_gpt2, save_gpt2
from ssl_jax.hub.t5 import load_t5, save_t5
from ssl_jax.models.bert import BertEncoder, BertPretraining
from ssl_jax.models.encoder_decoder import EncoderDecoder
from ssl_jax.models.gpt2 import Gpt2
from ssl_jax.models.heads import QuestionAnswerer, SequenceClassifier, TokenClassifier


class Family(NamedTuple):
    """How one family of models is read, written and computed.

    load: folder -> config, params. save: folder, config, params. outputs: config, params, inputs -> all that the model
    computes. loss: config, params, inputs, labels -> what parity_reference.gradients differentiates; None where
    gradients are not compared.
    """

    load: Callable
    save: Callable
    outputs: Callable
    loss: Callable | None = None


def _bert_outputs(config, params, inputs):
    arguments = inputs["tokens"], inputs["token_type_ids"], inputs["segment_ids"]
    results = BertEncoder(config).apply({"params": params["encoder"]}, *arguments)._asdict()
    if "head" in params:
        predictions = BertPretraining(config).apply({"params": params}, *arguments)
        results |= {"token_logits": predictions.token_logits, "pair_logits": predictions.pair_logits}
    if "classifier" in params:
        model = SequenceClassifier if config.pooler else TokenClassifier
        classes = params["classifier"]["dense"]["bias"].shape[0]
        results["logits"] = model(config, classes).apply({"params": params}, *arguments)
    if "span" in params:
        start, end = QuestionAnswerer(config).apply({"params": params}, *arguments)
        results |= {"start_logits": start, "end_logits": end}
    return {name: value for name, value in results.items() if value is not None}


def _bert_loss(config, params, inputs, labels):
    """From predictions gathered at the labels."""
    predicted = labels["tokens"] >= 0
    # Each row's labelled positions first; rows with fewer are filled up with others of no weight.
    where = np.argsort(~predicted, axis=1, kind="stable")[:, : predicted.sum(1).max()]
    targets = np.take_along_axis(labels["tokens"], where, axis=1)
    arguments = inputs["tokens"], inputs["token_type_ids"], inputs["segment_ids"]
    predictions = BertPretraining(config).apply(
        {"params": params}, *arguments, predict_positions=jnp.asarray(where)
    )
    pairs = optax.softmax_cross_entropy_with_integer_labels(predictions.pair_logits, labels["pair"])
    return _mean_cross_entropy(predictions.token_logits, targets) + pairs.mean()


def _gpt2_outputs(config, params, inputs):
    model, variables = Gpt2(config), {"params": params}
    hidden, _ = model.apply(variables, inputs["tokens"], inputs["segment_ids"])
    return {"hidden": hidden, "logits": model.apply(variables, hidden, method="logits")}


def _encoder_decoder_outputs(config, params, inputs):
    model, variables, present = EncoderDecoder(config), {"params": params}, inputs["segment_ids"]
    context = model.apply(variables, inputs["tokens"], present, method="encode")
    return {
        "context": context,
        "logits": model.apply(variables, inputs["tokens"], present, inputs["target"]),
    }


def _loss_of_logits(outputs):
    def loss(config, params, inputs, labels):
        return _mean_cross_entropy(outputs(config, params, inputs)["logits"], labels["tokens"])

    return loss


def _mean_cross_entropy(logits, labels):
    weights = jnp.asarray(labels >= 0, jnp.float32)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(labels, 0))
    return (losses * weights).sum() / weights.sum()


_BERT = Family(load_bert, save_bert, _bert_outputs, _bert_loss)
_BART = Family(load_bart, save_bart, _encoder_decoder_outputs, _loss_of_logits(_encoder_decoder_outputs))
FAMILIES = {  # by model_type
    "bert": _BERT,
    "albert": _BERT,
    "gpt2": Family(load_gpt2, save_gpt2, _gpt2_outputs, _loss_of_logits(_gpt2_outputs)),
    "bart": _BART,
    "mbart": _BART,
    "t5": Family(load_t5, save_t5, _encoder_decoder_outputs),
}


def family(folder: pathlib.Path) -> Family:
    """That of the model in the folder."""
    return FAMILIES[json.loads((folder / "config.json").read_text())["model_type"]]


def outputs(folder: pathlib.Path, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Everything that the model in the folder computes."""
    kind = family(folder)
    config, params = kind.load(folder)
    compute = jax.jit(lambda params, inputs: kind.outputs(config, params, inputs))
    return {name: np.asarray(value) for name, value in compute(params, inputs).items()}


def gradients(folder: pathlib.Path, inputs, labels) -> tuple[float, dict[str, np.ndarray]]:
    """The pretraining loss, and its gradient for each of their parameters, by their names.

    A gradient is laid out as what it is a gradient of, so it is brought into their layout by an export.
    """
    kind = family(folder)
    config, params = kind.load(folder)
    loss, ours = jax.jit(jax.value_and_grad(lambda params: kind.loss(config, params, inputs, labels)))(params)
    with tempfile.TemporaryDirectory() as export:
        kind.save(export, config, jax.tree.map(np.asarray, ours))
        theirs = safetensors.numpy.load_file(pathlib.Path(export) / "model.safetensors")
    theirs.pop("final_logits_bias", None)  # theirs is not a parameter
    return float(loss), theirs


def assert_equal(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], present: np.ndarray) -> None:
    """Every output within 1e-5, and no output on one side only. What stands at padding is no one's output."""
    assert ours.keys() == theirs.keys()
    for name in theirs:
        mine, reference = ours[name], theirs[name]
        assert mine.shape == reference.shape, name
        if reference.shape[:2] == present.shape:
            mine, reference = mine[present], reference[present]
        np.testing.assert_allclose(mine, reference, rtol=1e-5, atol=1e-5, err_msg=name)


def assert_gradients_equal(ours, theirs) -> None:
    """The loss within 1e-6, and every gradient within 1e-4 of itself."""
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6)
    assert ours[1].keys() == theirs[1].keys()
    for name, reference in theirs[1].items():
        np.testing.assert_allclose(ours[1][name], reference, rtol=1e-4, atol=2e-6, err_msg=name)
