"""MASS: the fragment's length and place, what stands in its slots, and what the decoder reads and sees."""

import functools

import jax
import numpy as np
import pytest
from scipy import stats

from ssl_jax.errors import UserError
from ssl_jax.transforms.denoising import Denoising
from ssl_jax.transforms.mass import FragmentConfig, mask_fragment, mask_fragment_batch
from tests.transforms.passages import (
    BATCH,
    LENGTH,
    MASK,
    PAD,
    VOCAB,
    copies,
    numbered,
    random_rows,
    sources,
    texts,
)

SURPRISE = 1e-4  # keys are fixed; a right implementation fails a test with one key in ten thousand
IDS = {"mask_id": MASK, "pad_id": PAD, "vocab_size": VOCAB}
DEFAULT = FragmentConfig()
ALL_MASKED = FragmentConfig(share=0.3, mask_prob=1.0, random_prob=0.0)


@functools.cache
def noise(config):
    return jax.jit(functools.partial(mask_fragment_batch, config=config, **IDS))


def corrupt(config, rows, seed=0):
    return Denoising(*map(np.asarray, noise(config)(jax.random.key(seed), *rows[:3])))


def reference(tokens, first, count, slots):
    """Inputs, positions, targets and weights for a fragment of `count` tokens from slot `first` on."""
    places = range(first, first + count)
    columns = [[tokens[p - 1], p - 1, tokens[p], 1] for p in places]
    return np.array(columns + [[PAD, 0, PAD, 0]] * (slots - count)).T


@pytest.mark.parametrize("config", [DEFAULT, ALL_MASKED], ids=["default", "all masked"])
def test_the_decoder_writes_the_fragment(config):
    rows = random_rows(1)
    corrupted = corrupt(config, rows, 1)
    assert corrupted.targets.shape == (BATCH, config.slots(LENGTH))
    for i, (text, source) in enumerate(zip(texts(rows), sources(corrupted), strict=True)):
        tokens = rows.tokens[i].tolist()
        count = max(1, round(config.share * len(text))) if text else 0
        assert corrupted.weights[i].sum() == count
        first = corrupted.positions[i, 0] + 1
        if count:
            assert 1 <= first <= len(text) + 1 - count
        made = np.stack([field[i] for field in corrupted[3:]])
        np.testing.assert_array_equal(made, reference(tokens, first, count, made.shape[1]))
        original = tokens[: len(source)]
        assert source[:first] == original[:first]
        assert source[first + count :] == original[first + count :]
        if config is ALL_MASKED:
            assert source[first : first + count] == [MASK] * count
        seen = [rows.present[i, p] and source[p] != MASK for p in range(len(source))]
        assert corrupted.context_present[i].tolist() == seen + [False] * (LENGTH - len(source))
        assert corrupted.source_present[i].tolist() == rows.present[i].tolist()


def test_a_fifth_begins_and_a_fifth_ends_the_text():
    rows = copies(numbered((1, 2, 1), (3, 3)))  # 10 tokens, 5 in the fragment, 6 places
    firsts = np.concatenate([corrupt(DEFAULT, rows, seed).positions[:, 0] + 1 for seed in range(16)])
    expected = np.full(6, 0.6 / 6)
    expected[[0, 5]] += 0.2
    assert stats.chisquare(np.bincount(firsts, minlength=7)[1:], expected * len(firsts)).pvalue > SURPRISE


def test_80_10_10_in_the_encoder_and_never_in_the_decoder():
    rows = copies(numbered((1,) * 22))
    masked, shown, counts = [], [], np.zeros(3)
    for seed in range(8):
        corrupted = corrupt(DEFAULT, rows, seed)
        slots = corrupted.positions + 1
        used = corrupted.weights > 0
        read = np.take_along_axis(corrupted.source, slots, axis=1)
        outcome = np.where(read == MASK, 0, np.where(read == corrupted.targets, 2, 1))[used]
        counts += np.bincount(outcome, minlength=3)
        shown.append(read[used][outcome == 1])
        masked.append((outcome == 0).reshape(BATCH, 11).sum(1))
    # A random token is the original or the mask once in a vocabulary.
    chances = np.array([0.8 + 0.1 / VOCAB, 0.1 * (1 - 2 / VOCAB), 0.1 + 0.1 / VOCAB])
    assert stats.chisquare(counts, chances * counts.sum()).pvalue > SURPRISE
    per_row = np.bincount(np.concatenate(masked), minlength=12)
    expected = stats.binom.pmf(np.arange(12), 11, chances[0])
    merged = [[x[:6].sum(), *x[6:]] for x in (per_row, expected * per_row.sum())]
    assert stats.chisquare(*merged).pvalue > SURPRISE, "tokens of a fragment draw independently"
    spread = np.histogram(np.concatenate(shown), bins=10, range=(0, VOCAB))[0]
    assert stats.chisquare(spread).pvalue > SURPRISE, "random tokens come from the whole vocabulary"


def test_a_share_of_1_hides_all_of_the_text():
    """And of short rows a single token at least."""
    whole = corrupt(FragmentConfig(share=1.0, mask_prob=1.0, random_prob=0.0), copies(numbered((1, 2), (3,))))
    assert (whole.source[:, 1:7] == MASK).all()
    assert (whole.context_present.sum(1) == 2).all(), "[BOS] and [EOS] stay to be seen"
    single = corrupt(ALL_MASKED, copies(numbered((1,))))
    assert (single.weights.sum(1) == 1).all()


def test_a_row_alone_is_as_in_its_batch():
    rows, key = random_rows(0), jax.random.key(7)
    batch = noise(DEFAULT)(key, *rows[:3])
    alone = jax.jit(functools.partial(mask_fragment, config=DEFAULT, **IDS))
    for i in (0, 13, 101, BATCH - 1):
        one = alone(jax.random.split(key, BATCH)[i], *(field[i] for field in rows[:3]))
        jax.tree.map(lambda a, b, i=i: np.testing.assert_array_equal(a[i], b), batch, one)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"share": 0.0}, "FragmentConfig.share"),
        ({"share": 1.1}, "FragmentConfig.share"),
        ({"mask_prob": 0.9, "random_prob": 0.2}, "noise.random_prob"),
        ({"random_prob": -0.1}, "FragmentConfig.random_prob"),
    ],
)
def test_wrong_configurations_are_refused(field, message):
    with pytest.raises(UserError, match=message):
        FragmentConfig(**field)


def test_random_replacements_are_ids_of_the_tokenizer():
    """Also when each row brings the size of the vocabulary, which is then known only to the data."""
    rows, config = random_rows(5), FragmentConfig(share=0.9, mask_prob=0.0, random_prob=1.0)

    def replaced(vocab_size):
        ids = IDS | {"vocab_size": vocab_size}
        source = np.asarray(mask_fragment_batch(jax.random.key(0), *rows[:3], config=config, **ids).source)
        return source[source != np.asarray(rows.tokens)]

    assert replaced(9).max() == 8
    for size in (9, VOCAB):
        np.testing.assert_array_equal(replaced(np.full(BATCH, size, np.int32)), replaced(size))
