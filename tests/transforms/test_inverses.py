"""Inverses of the noises for sequence-to-sequence pretraining, of their own targets and of what models write."""

from functools import partial

import jax
import numpy as np
import pytest

from ssl_jax.transforms.denoising import Denoising
from ssl_jax.transforms.inverses import filled_fragment, filled_spans, whole_text
from ssl_jax.transforms.mass import FragmentConfig, mask_fragment_batch
from ssl_jax.transforms.noise import NoiseConfig, noise_batch
from ssl_jax.transforms.spans import SpanConfig, corrupt_spans_batch
from tests.transforms.passages import BATCH, BOS, EOS, LENGTH, MASK, PAD, VOCAB, random_rows

SPANS = SpanConfig(density=0.3)
SENTINELS = [VOCAB + 9 - number for number in range(SPANS.sentinels(LENGTH))]


def bart(rows):
    config = NoiseConfig()
    return noise_batch(jax.random.key(0), *rows, config=config, mask_id=MASK, pad_id=PAD, start_id=EOS)


def mass(rows):
    config = FragmentConfig(mask_prob=1.0, random_prob=0.0)
    return mask_fragment_batch(
        jax.random.key(0), *rows[:3], config=config, mask_id=MASK, pad_id=PAD, vocab_size=VOCAB
    )


def t5(rows):
    return corrupt_spans_batch(
        jax.random.key(0),
        *rows[:3],
        config=SPANS,
        first_sentinel=SENTINELS[0],
        sentinels=len(SENTINELS),
        eos_id=EOS,
        pad_id=PAD,
        start_id=PAD,
    )


@pytest.mark.parametrize(
    ("noise", "inverse", "blanks"),
    [
        (bart, whole_text, [MASK]),
        (mass, filled_fragment, [MASK]),
        (t5, partial(filled_spans, sentinels=SENTINELS), SENTINELS),
    ],
)
def test_a_row_comes_back_from_its_targets(noise, inverse, blanks):
    rows = random_rows(3)
    corrupted = Denoising(*map(np.asarray, jax.jit(noise)(rows)))
    changed = 0
    for i in range(BATCH):
        source = corrupted.source[i][corrupted.source_present[i]]
        written = corrupted.targets[i][corrupted.weights[i] > 0]
        text = inverse(source, np.isin(source, blanks), written)
        original = rows.tokens[i][rows.words[i] >= 0].tolist()
        assert [token for token in text if token not in (BOS, EOS)] == original
        changed += source.tolist() != rows.tokens[i][rows.present[i]].tolist()
    assert changed > BATCH / 2


def test_whole_text_is_what_was_written():
    assert whole_text(np.array([1, 2, 3]), np.zeros(3, bool), np.array([4, 5])) == [4, 5]


def test_a_fragment_of_another_length():
    source, blank = np.array([2, 9, 9, 9, 5, 3]), np.array([0, 1, 1, 1, 0, 0], bool)
    assert filled_fragment(source, blank, np.array([6, 7, 8])) == [2, 6, 7, 8, 5, 3]
    assert filled_fragment(source, blank, np.array([6])) == [2, 6, 5, 3]
    assert filled_fragment(source, blank, np.array([6, 7, 8, 8, 8])) == [2, 6, 7, 8, 5, 3]


def test_sentinels_in_another_order_and_sentinels_left_out():
    def filled(*written):
        source, blank = np.array([10, 99, 11, 98, 3]), np.array([0, 1, 0, 1, 0], bool)
        return filled_spans(source, blank, np.array(written), sentinels=(99, 98, 97))

    assert filled(99, 1, 2, 98, 4, 97) == [10, 1, 2, 11, 4, 3]
    assert filled(98, 4, 99, 1) == [10, 1, 11, 4, 3]
    assert filled(98, 4) == [10, 11, 4, 3]
    assert filled(7, 99, 1) == [10, 1, 11, 3]
    assert filled(99, 1, 97, 5, 98, 4) == [10, 1, 5, 11, 4, 3]
