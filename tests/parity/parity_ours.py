"""What ssl_jax computes with weights in Hugging Face's layout, named as in parity_reference.py."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ssl_jax.hub.bert import load_bert
from ssl_jax.models.bert import BertEncoder, BertPretraining
from ssl_jax.models.heads import QuestionAnswerer, SequenceClassifier, TokenClassifier


def _arguments(inputs):
    return tuple(jnp.asarray(inputs[name]) for name in ("tokens", "segments", "sequence"))


def outputs(folder: pathlib.Path, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Everything that the model in the folder computes."""
    config, params = load_bert(folder)

    @jax.jit
    def compute(params, *arguments):
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

    return {name: np.asarray(value) for name, value in compute(params, *_arguments(inputs)).items()}


def pretraining_gradients(folder: pathlib.Path, inputs, labels):
    """The pretraining loss, from predictions gathered at the labels, and its gradient by parameter."""
    config, params = load_bert(folder)
    predicted = labels["tokens"] >= 0
    # Each row's labelled positions first; rows with fewer are filled up with others of no weight.
    where = np.argsort(~predicted, axis=1, kind="stable")[:, : predicted.sum(1).max()]
    targets = np.take_along_axis(labels["tokens"], where, axis=1)
    weights = jnp.asarray(targets >= 0, jnp.float32)

    def loss(params):
        predictions = BertPretraining(config).apply(
            {"params": params}, *_arguments(inputs), predict_positions=jnp.asarray(where)
        )
        cross_entropy = optax.softmax_cross_entropy_with_integer_labels
        tokens = cross_entropy(predictions.token_logits, jnp.maximum(targets, 0))
        pairs = cross_entropy(predictions.pair_logits, jnp.asarray(labels["pair"]))
        return (tokens * weights).sum() / weights.sum() + pairs.mean()

    return jax.jit(jax.value_and_grad(loss))(params)


def assert_equal(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], present: np.ndarray) -> None:
    """Every output within 1e-5, and no output on one side only. What stands at padding is no one's output."""
    assert ours.keys() == theirs.keys()
    for name in theirs:
        mine, reference = ours[name], theirs[name]
        assert mine.shape == reference.shape, name
        if reference.shape[:2] == present.shape:
            mine, reference = mine[present], reference[present]
        np.testing.assert_allclose(mine, reference, rtol=1e-5, atol=1e-5, err_msg=name)
