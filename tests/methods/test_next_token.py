"""Next-token prediction: the loss of every target, strided evaluation and bits per byte, against loops in NumPy."""

import jax
import numpy as np
import pytest

from ssl_jax.data.corpus import TokenizedCorpus
from ssl_jax.data.next_token import NextTokenRows, NextTokenWindows, batch_shapes
from ssl_jax.data.tokenizers import SENTENCEPIECE
from ssl_jax.methods.next_token import next_token
from ssl_jax.models.gpt2 import Gpt2, Gpt2Config
from ssl_jax.training.step import gradients, step_rng

CONFIG = Gpt2Config(
    vocab_size=60,
    positions=12,
    layers=2,
    width=16,
    heads=2,
    mlp_width=32,
    dropout=0.0,
    attention_dropout=0.0,
    initializer_stddev=0.3,  # so that predictions differ
)
BOS, EOS = SENTENCEPIECE.cls, SENTENCEPIECE.sep
LENGTH = CONFIG.positions
BYTES = np.random.default_rng(1).integers(0, 9, CONFIG.vocab_size)


@pytest.fixture(scope="module")
def corpus() -> TokenizedCorpus:
    """Six documents of 1 to 31 tokens."""
    lengths = np.array([31, 4, 12, 1, 11, 20])
    tokens = np.random.default_rng(0).integers(5, CONFIG.vocab_size, lengths.sum())
    text_bytes = [BYTES[document].sum() for document in np.split(tokens, np.cumsum(lengths)[:-1])]
    return TokenizedCorpus(
        name="random",
        fingerprint="0",
        tokens=tokens,
        sentence_offsets=np.concatenate([[0], np.cumsum(lengths)]),
        first_sentence=np.arange(6),
        end_sentence=np.arange(6) + 1,
        hashes=np.arange(6, dtype=np.uint64),
        text_bytes=np.array(text_bytes),
        source_index=np.arange(6),
    )


@pytest.fixture(scope="module")
def tasks():
    return next_token(CONFIG)


@pytest.fixture(scope="module")
def params(tasks):
    return jax.jit(tasks.method.init)(jax.random.key(0), batch_shapes_as_zeros())["params"]


def batch_shapes_as_zeros() -> dict[str, np.ndarray]:
    zeros = {name: np.zeros(s.shape, s.dtype) for name, s in batch_shapes(2, LENGTH).items()}
    return {**zeros, "example_weight": np.ones(2, np.float32)}


@pytest.fixture(scope="module")
def log_probabilities(params):
    """`(tokens [length]) -> [length, vocab]` of a row without padding or packing."""
    model = Gpt2(CONFIG)

    @jax.jit
    def apply(tokens):
        hidden, _ = model.apply({"params": params}, tokens[None])
        return jax.nn.log_softmax(model.apply({"params": params}, hidden, method="logits")[0])

    def padded(tokens: list[int]) -> np.ndarray:
        """Causality makes what follows the text irrelevant."""
        return np.asarray(apply(np.array(tokens + [0] * (LENGTH - len(tokens)))))[: len(tokens)]

    return padded


def batches(rows, size: int) -> list[dict[str, np.ndarray]]:
    """All rows, the last batch filled up with rows that do not count."""
    made = []
    for start in range(0, len(rows), size):
        numbers = [n if n < len(rows) else 0 for n in range(start, start + size)]
        batch = {name: np.stack([rows(n)[name] for n in numbers]) for name in rows(0)}
        real = np.array([n < len(rows) for n in range(start, start + size)], np.float32)
        made.append({**batch, "example_weight": real})
    return made


@pytest.mark.parametrize("stride", [LENGTH, 5, 1])
def test_strided_evaluation_is_that_of_the_definition(corpus, tasks, params, log_probabilities, stride):
    """Each document by itself: a window every `stride` places, and only new places count."""
    nats = bits = size = count = right = 0.0
    for index in range(len(corpus.hashes)):
        text = [BOS, *map(int, corpus.document(index)), EOS]
        done, begin = 0, 0
        while done < len(text) - 1:
            window = text[begin : begin + LENGTH]
            scores = log_probabilities(window)
            for place in range(done, min(begin + LENGTH, len(text) - 1)):
                target = text[place + 1]
                nats -= scores[place - begin, target]
                right += scores[place - begin].argmax() == target
                size += BYTES[target]
                count += 1
            done, begin = min(begin + LENGTH, len(text) - 1), begin + stride
    bits = nats / np.log(2)

    rows = NextTokenWindows(corpus, LENGTH, SENTENCEPIECE, BYTES, stride=stride, max_rows=10**6)
    evaluate = jax.jit(tasks.method.evaluate)
    sums = {}
    for batch in batches(rows, 8):
        for name, pair in evaluate(params, {}, batch, jax.random.key(0)).items():
            sums[name] = sums.get(name, 0) + np.array(pair, np.float64)
    assert count == (corpus.document_lengths + 1).sum()
    np.testing.assert_allclose(sums["next_token_loss"], [nats, count], rtol=1e-5)
    np.testing.assert_allclose(sums["bits_per_byte"], [bits, size], rtol=1e-5)
    np.testing.assert_allclose(sums["next_token_accuracy"], [right, count])


def test_bits_per_byte_by_hand(tasks, params):
    """A model that knows nothing needs log2(vocab) bits a token: here for 3 tokens, 2 + 5 + 0 bytes of text."""
    blank = jax.tree.map(np.zeros_like, params)
    row = batch_shapes_as_zeros()
    row["segment_ids"][0, :4] = 1
    row["weights"][0, 1:4] = 1
    row["bytes"] = np.zeros((2, LENGTH), np.int32)
    row["bytes"][0, :4] = [9, 2, 5, 0]  # the first is context
    bits, size = tasks.method.evaluate(blank, {}, row, jax.random.key(0))["bits_per_byte"]
    assert size == 7
    np.testing.assert_allclose(bits / size, 3 * np.log2(60) / 7, rtol=1e-6)


def test_micro_batches_of_uneven_rows_make_the_gradient_of_the_whole(corpus, tasks, params):
    """The last row of the epoch is mostly padding; its targets weigh as much as others all the same."""
    rows = NextTokenRows(corpus, LENGTH, SENTENCEPIECE)
    assert 0 < rows(len(rows) - 1)["weights"].sum() < LENGTH / 2
    numbers = (0, len(rows) - 1, 1, 2)
    batch = {name: np.stack([rows(n)[name] for n in numbers]) for name in rows(0)}
    batch["example_weight"] = np.ones(len(numbers), np.float32)

    @jax.jit
    def differentiate(batch, rngs):
        grads, loss, metrics, _ = gradients(tasks.method, params, {}, batch, rngs)
        return grads, loss, metrics

    whole, in_parts = (
        differentiate(batch, jax.vmap(lambda part: step_rng(0, 1, part))(np.arange(parts)))
        for parts in (1, 2)
    )
    assert float(whole[2]["next_token_loss"][1]) == batch["weights"].sum()
    np.testing.assert_allclose(whole[1], in_parts[1], rtol=1e-5)
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(in_parts), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_padding_changes_no_gradient(tasks, params):
    batch = batch_shapes_as_zeros()
    chance = np.random.default_rng(0)
    batch["tokens"][:], batch["targets"][:] = chance.integers(5, 60, (2, 2, LENGTH))
    batch["segment_ids"][:, :7], batch["positions"][:, :7], batch["weights"][:, :7] = 1, np.arange(7), 1

    @jax.jit
    def differentiate(batch):
        def mean(params):
            total, weight = tasks.method.loss(params, {}, batch, jax.random.key(0))[0]["next_token_loss"]
            return total / weight

        return jax.value_and_grad(mean)(params)

    loss, grads = differentiate(batch)
    batch["tokens"][:, 7:], batch["targets"][:, 7:] = 0, 17
    other, same = differentiate(batch)
    assert loss == other
    for one, two in zip(jax.tree.leaves(grads), jax.tree.leaves(same), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-7)
