import numpy as np

from ssl_jax.decoding.prompts import pad_right
from ssl_jax.decoding.scoring import continuation_log_likelihood
from tests.decoding.conftest import LENGTHS, PROMPTS, TOKENS

CONTINUATIONS = [[3, 1], [12, 5, 5], [7]]


def test_log_likelihoods_are_those_of_whole_passes(writer):
    continuations, counts = pad_right(CONTINUATIONS, 4, pad=9)
    found = continuation_log_likelihood(writer.decoder, writer.params, TOKENS, LENGTHS, continuations, counts)
    assert found.shape == (3, 4)
    for i in range(4):
        for row, continuation in enumerate(CONTINUATIONS):
            if i >= len(continuation):
                assert found[row, i] == 0
                continue
            [logits] = writer.logits([PROMPTS[row]], [continuation[:i]]).astype(np.float64)
            expected = logits[continuation[i]] - np.log(np.exp(logits).sum())
            np.testing.assert_allclose(found[row, i], expected, rtol=1e-4, atol=1e-5)


def test_one_token_and_no_padding(writer):
    continuations = np.array([[3], [12], [7]])
    found = continuation_log_likelihood(
        writer.decoder, writer.params, TOKENS, LENGTHS, continuations, np.ones(3, np.int32)
    )
    logits = writer.logits(PROMPTS, [[], [], []]).astype(np.float64)
    expected = logits[np.arange(3), continuations[:, 0]] - np.log(np.exp(logits).sum(-1))
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-4, atol=1e-5)
