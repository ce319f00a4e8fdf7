"""The likelihoods of texts are those of a run's evaluation on the same texts, in windows that slide."""

import jax
import numpy as np
import pytest

from ssl_jax.data.corpus import TokenizedCorpus
from ssl_jax.data.next_token import NextTokenWindows, count_token_bytes
from ssl_jax.data.tokenizers import open_tokenizer
from ssl_jax.errors import UserError
from ssl_jax.evals.few_shot import LanguageModel
from ssl_jax.evals.text_likelihood import text_log_likelihoods
from ssl_jax.methods.next_token import next_token
from ssl_jax.models.gpt2 import Gpt2, Gpt2Config
from tests.decoding.conftest import random_params

MOST = 8
"""Windows of a text, at most."""
TEXTS = ["a short one", "é日", "a text that is longer than a window " * 2]


def test_as_the_evaluation_of_a_run():
    stride = 8
    tokenizer = open_tokenizer("bytes")
    config = Gpt2Config(
        vocab_size=tokenizer.vocab_size, positions=24, layers=1, width=16, heads=2, mlp_width=16
    )
    params = random_params(Gpt2(config), np.zeros((1, 2), np.int32))
    tasks = next_token(config)
    special = tokenizer.special
    model = LanguageModel(tasks.decoder, params, tokenizer, (special.cls,), special.sep)
    found = text_log_likelihoods(model, TEXTS, stride=stride, batch_size=2)

    encoded = [tokenizer.encode(text) for text in TEXTS]
    places = np.arange(len(TEXTS))
    corpus = TokenizedCorpus(
        name="texts",
        fingerprint="",
        tokens=np.concatenate(encoded).astype(np.int32),
        sentence_offsets=np.cumsum([0, *map(len, encoded)]),
        first_sentence=places,
        end_sentence=places + 1,
        hashes=places.astype(np.uint64),
        text_bytes=np.array([len(text.encode()) for text in TEXTS]),
        source_index=places,
    )
    evaluate = jax.jit(tasks.method.evaluate)
    for number in places:
        rows = NextTokenWindows(
            corpus.select(np.array([number])),
            24,
            special,
            count_token_bytes(tokenizer),
            stride=stride,
            max_rows=99,
        )
        batch = {name: np.stack([rows(row)[name] for row in range(len(rows))]) for name in rows(0)}
        # As many rows for all, so that one program is compiled.
        batch = {name: np.resize(array, (MOST, *array.shape[1:])) for name, array in batch.items()}
        batch["example_weight"] = (np.arange(MOST) < len(rows)).astype(np.float32)
        metrics = evaluate(params, {}, batch, jax.random.key(0))
        nats, count = metrics["next_token_loss"]
        assert found["tokens"][number] == count
        assert found["log_likelihood"][number] == pytest.approx(-float(nats), rel=1e-5)
        bits, size = metrics["bits_per_byte"]
        assert found["bits_per_byte"][number] == pytest.approx(float(bits / size), rel=1e-5)
        assert found["bytes"][number] == size


def test_no_text_and_a_model_that_reads_a_source():
    class Source:
        reads_source = True

    with pytest.raises(UserError, match="is that of a model that continues text"):
        text_log_likelihoods(LanguageModel(Source(), {}, None, (), 0), ["a"])
