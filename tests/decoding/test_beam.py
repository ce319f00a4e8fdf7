"""Beam search against enumeration of all texts, and against a search written a candidate at a time in NumPy."""

import itertools

import numpy as np
import pytest

from ssl_jax.decoding.beam import BeamConfig, beam_search
from ssl_jax.decoding.generate import generate
from ssl_jax.errors import UserError
from tests.decoding.conftest import LENGTHS, PROMPTS, TOKENS, VOCAB, make_encoder_decoder, make_gpt2

NEW = 4


def log_softmax(logits):
    logits = logits.astype(np.float64)
    logits = logits - logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def search(writer, config, end, new=NEW):
    return beam_search(
        writer.decoder, writer.params, TOKENS, LENGTHS, max_new_tokens=new, end=end, config=config
    )


def reference(writer, prompt, config, end, new):
    """(tokens, score) of one prompt. Open texts and finished ones are plain lists; stops as early as `config` says."""
    open_texts, finished = [((), 0.0)], []
    for length in range(1, new + 1):
        logits = writer.logits([prompt] * len(open_texts), [list(text) for text, _ in open_texts])
        candidates = []
        for (text, score), row in zip(open_texts, log_softmax(logits), strict=True):
            for token in range(VOCAB):
                if not (token == end and length <= config.min_new_tokens):
                    candidates.append(((*text, token), score + row[token]))
        candidates.sort(key=lambda candidate: -candidate[1])
        best = candidates[: 2 * config.beams]
        for text, score in best[: config.beams]:
            if text[-1] == end or length == new:
                finished.append((text, score / length**config.length_penalty))
        finished = sorted(finished, key=lambda candidate: -candidate[1])[: config.beams]
        open_texts = [candidate for candidate in best if candidate[0][-1] != end][: config.beams]
        if len(finished) == config.beams:
            if config.early_stopping is True:
                break
            later = new if config.early_stopping == "never" and config.length_penalty > 0 else length
            if open_texts[0][1] / later**config.length_penalty <= finished[-1][1]:
                break
    return finished[0]


@pytest.mark.parametrize(
    ("make", "config"),
    [
        (make_gpt2, BeamConfig(beams=3)),
        (make_gpt2, BeamConfig(beams=3, length_penalty=2.0, early_stopping=True)),
        (make_gpt2, BeamConfig(beams=2, length_penalty=0.5, min_new_tokens=3, early_stopping="never")),
        (make_encoder_decoder, BeamConfig(beams=4, length_penalty=-1.0)),
    ],
    ids=["plain", "early", "never", "short"],
)
def test_finds_what_a_search_by_hand_finds(make, config):
    writer = make()
    end = int(
        generate(writer.decoder, writer.params, TOKENS, LENGTHS, max_new_tokens=2, end=None).tokens[1, 1]
    )
    found = search(writer, config, end, new=7)
    for row, prompt in enumerate(PROMPTS):
        tokens, score = reference(writer, prompt, config, end, 7)
        np.testing.assert_array_equal(found.tokens[row, : len(tokens)], tokens)
        np.testing.assert_allclose(found.scores[row], score, rtol=1e-4)
        assert found.lengths[row] == len(tokens) - (tokens[-1] == end)
        assert (found.tokens[row, len(tokens) :] == end).all()
    if config.length_penalty < 1 and not config.min_new_tokens:
        assert min(found.lengths) < 7, "no text has ended: the end was not tested"


def test_with_all_texts_open_it_finds_the_best_of_all(gpt2):
    """Of the 12,167 texts of three tokens, and the shorter ones that end: enumerated."""
    end, config = 4, BeamConfig(beams=VOCAB**2, length_penalty=0.0, early_stopping="never")
    found = search(gpt2, config, end, new=3)
    for row, prompt in enumerate(PROMPTS):
        best = {}
        for first in [()], [(t,) for t in range(VOCAB)], list(itertools.product(range(VOCAB), repeat=2)):
            logits = log_softmax(gpt2.logits([prompt] * len(first), [list(text) for text in first]))
            for text, scores in zip(first, logits, strict=True):
                if end in text:
                    continue
                for token in range(VOCAB):
                    best[(*text, token)] = best.get(text, 0.0) + scores[token]
        final = {text: score for text, score in best.items() if text[-1] == end or len(text) == 3}
        winner = max(final, key=final.get)
        assert tuple(found.tokens[row, : len(winner)]) == winner
        np.testing.assert_allclose(found.scores[row], final[winner], rtol=1e-4)


def test_one_beam_is_greedy(gpt2):
    greedy = generate(gpt2.decoder, gpt2.params, TOKENS, LENGTHS, max_new_tokens=NEW, end=None)
    found = search(gpt2, BeamConfig(beams=1), None)
    np.testing.assert_array_equal(found.tokens, greedy.tokens)


def test_settings_without_meaning_are_refused(gpt2):
    with pytest.raises(UserError, match="beams 0: expected"):
        BeamConfig(beams=0)
    with pytest.raises(UserError, match="length_penalty nan: expected"):
        BeamConfig(length_penalty=float("nan"))
    with pytest.raises(UserError, match="min_new_tokens -1: expected"):
        BeamConfig(min_new_tokens=-1)
    with pytest.raises(UserError, match=r"prompt of 6 tokens and 11 new tokens"):
        search(gpt2, BeamConfig(beams=2), None, new=11)
