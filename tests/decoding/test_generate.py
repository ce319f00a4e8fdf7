import dataclasses

import jax
import numpy as np
import pytest

from ssl_jax.decoding import generate as module
from ssl_jax.decoding.beam import BeamConfig, beam_search
from ssl_jax.decoding.decoder import prepare
from ssl_jax.decoding.generate import generate, stream
from ssl_jax.decoding.prompts import bucket_length, move_padding_right
from ssl_jax.decoding.sampling import SamplingConfig
from ssl_jax.errors import UserError
from tests.decoding.conftest import LENGTHS, NEW, PROMPTS, T5, TOKENS, VOCAB, make_encoder_decoder

SAMPLED = SamplingConfig(temperature=1.5)


def write(writer, prompts=TOKENS, lengths=LENGTHS, **options):
    options = {"max_new_tokens": NEW, "end": None} | options
    return generate(writer.decoder, writer.params, prompts, lengths, **options)


def test_with_a_cache_is_what_whole_passes_give(writer):
    expected = writer.greedy(PROMPTS, NEW)
    assert len({tuple(row) for row in expected}) == 3, "rows that are all alike would show nothing"
    np.testing.assert_array_equal(write(writer).tokens, expected)

    left = np.zeros_like(TOKENS)
    for row, prompt in zip(left, PROMPTS, strict=True):
        row[len(row) - len(prompt) :] = prompt
    present = np.arange(6)[None] >= 6 - LENGTHS[:, None]
    np.testing.assert_array_equal(write(writer, *move_padding_right(left, present)).tokens, expected)


@pytest.mark.parametrize("encoding", ["relative", "rotary"])
def test_other_positions_with_a_cache(encoding):
    writer = make_encoder_decoder(dataclasses.replace(T5, position_encoding=encoding))
    expected = writer.greedy(PROMPTS, NEW)
    assert len(np.unique(expected)) > 3
    np.testing.assert_array_equal(write(writer).tokens, expected)


def test_what_stands_in_the_padding_is_not_seen(writer):
    rubbish = np.where(np.arange(6)[None] < LENGTHS[:, None], TOKENS, 13)
    np.testing.assert_array_equal(write(writer, rubbish).tokens, write(writer).tokens)


def test_one_program_reads_and_one_writes_for_each_shape(writer):
    before = module._prefill._cache_size(), module._decode_chunk._cache_size()
    for seed in range(3):
        prompts = np.random.default_rng(seed).integers(0, VOCAB, (2, 4))
        write(writer, prompts, np.array([4, 1 + seed]), max_new_tokens=5)
    assert (module._prefill._cache_size(), module._decode_chunk._cache_size()) == (
        before[0] + 1,
        before[1] + 1,
    )


def test_prepared_parameters_give_the_same_and_are_kept(gpt2):
    prepared = prepare(gpt2.decoder, gpt2.params)
    tokens = generate(gpt2.decoder, prepared, TOKENS, LENGTHS, max_new_tokens=NEW, end=None).tokens
    np.testing.assert_array_equal(tokens, write(gpt2).tokens)
    for before, after in zip(*map(jax.tree.leaves, (prepared, prepare(gpt2.decoder, prepared))), strict=True):
        assert after is before, "what is prepared was copied"


def test_a_row_does_not_depend_on_its_neighbours(writer):
    key = jax.random.key(3)
    first = write(writer, sampling=SAMPLED, key=key)
    others = TOKENS.copy()
    others[[0, 2]] = [[1, 2, 3, 4, 5, 6], [9, 9, 9, 9, 9, 9]]
    second = write(writer, others, np.array([3, 2, 6]), sampling=SAMPLED, key=key)
    np.testing.assert_array_equal(first.tokens[1], second.tokens[1])
    assert (first.tokens[0] != second.tokens[0]).any()
    turned = write(writer, TOKENS[::-1], LENGTHS[::-1], sampling=SAMPLED, key=key, rows=[2, 1, 0])
    np.testing.assert_array_equal(turned.tokens, first.tokens[::-1])


def test_the_key_and_the_number_of_a_row_decide_its_choices(gpt2):
    same = np.repeat(TOKENS[:1], 3, axis=0), np.repeat(LENGTHS[:1], 3)
    texts = write(gpt2, *same, sampling=SAMPLED, key=jax.random.key(0)).tokens
    assert len({tuple(row) for row in texts}) == 3
    assert (texts != write(gpt2, *same, sampling=SAMPLED, key=jax.random.key(1)).tokens).any()


def test_a_row_ends_with_the_end_of_text_and_the_loop_with_the_last(writer):
    free = writer.greedy(PROMPTS, NEW)
    end = int(free[1, 2])
    options = {"max_new_tokens": NEW, "end": end}
    written = generate(writer.decoder, writer.params, TOKENS, LENGTHS, **options)
    for row, count, expected in zip(written.tokens, written.lengths, free, strict=True):
        where = np.flatnonzero(expected == end)
        assert count == (where[0] if len(where) else NEW)
        np.testing.assert_array_equal(row[:count], expected[:count])
        assert (row[count:] == end).all()
    assert written.lengths[1] <= 2

    alone = TOKENS[[1, 1, 1]], LENGTHS[[1, 1, 1]]
    chunks = list(stream(writer.decoder, writer.params, *alone, **options, chunk=NEW - 1))
    assert sum(chunk.shape[1] for chunk in chunks) == written.lengths[1] + 1, "it went on after all had ended"


def test_a_stream_is_the_same_text_in_pieces(writer):
    options = {"max_new_tokens": NEW, "end": None, "sampling": SAMPLED, "key": jax.random.key(5)}
    chunks = list(stream(writer.decoder, writer.params, TOKENS, LENGTHS, **options, chunk=4))
    assert [chunk.shape[1] for chunk in chunks] == [1, 4, 2]
    whole = generate(writer.decoder, writer.params, TOKENS, LENGTHS, **options)
    np.testing.assert_array_equal(np.concatenate(chunks, axis=1), whole.tokens)


def test_what_does_not_fit_is_explained(gpt2, writer):
    with pytest.raises(UserError, match="a prompt is empty"):
        write(writer, lengths=np.array([6, 0, 4]))
    with pytest.raises(
        UserError, match="prompt of 17 tokens is longer than the model's context of 16 tokens"
    ):
        write(gpt2, np.ones((1, 17), int), np.array([17]))
    with pytest.raises(UserError, match=r"prompt of 6 tokens and 11 new tokens .* 16 tokens: use at most 10"):
        beam_search(
            gpt2.decoder, gpt2.params, TOKENS, LENGTHS, max_new_tokens=11, end=None, config=BeamConfig()
        )
    with pytest.raises(UserError, match="max_new_tokens 0 must be at least 1"):
        write(gpt2, max_new_tokens=0)


def test_the_last_position_of_the_context_is_used(gpt2):
    np.testing.assert_array_equal(write(gpt2, max_new_tokens=10).tokens[:, :NEW], write(gpt2).tokens)


def test_past_the_context_the_window_slides(gpt2):
    """Each token is that of a pass over the last 16 tokens alone; rows reach their end of the context one by one."""
    expected = []
    for prompt in PROMPTS:
        text = list(prompt)
        for _ in range(30):
            text.append(int(gpt2.logits([text[-16:]], [[]])[0].argmax()))
        expected.append(text[len(prompt) :])
    assert len({tuple(row[-8:]) for row in expected}) == 3, "rows that are all alike would show nothing"
    np.testing.assert_array_equal(write(gpt2, max_new_tokens=30).tokens, expected)
    options = {"max_new_tokens": 30, "end": None, "chunk": 4}
    pieces = list(stream(gpt2.decoder, gpt2.params, TOKENS, LENGTHS, **options))
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), expected)


def test_prompts_are_filled_up_and_pushed_to_the_left():
    assert [bucket_length(n, 100) for n in (1, 16, 17, 33, 65, 100)] == [16, 16, 32, 64, 100, 100]
    tokens = np.array([[0, 7, 0, 8], [5, 0, 0, 0]])
    moved, lengths = move_padding_right(tokens, np.array([[0, 1, 0, 1], [1, 0, 0, 0]]))
    assert lengths.tolist() == [2, 1]
    assert moved[0, :2].tolist() == [7, 8]
    assert moved[1, 0] == 5
