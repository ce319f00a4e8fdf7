"""Masking: counts, frequencies and invariants, each against what google-research/bert and albert do."""

import functools
from collections import Counter

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from scipy import stats

from ssl_jax.errors import UserError
from ssl_jax.transforms.masking import Masked, MaskingConfig, mask_batch, mask_tokens

PAD, UNK, CLS, SEP, MASK, FIRST, VOCAB = 0, 1, 2, 3, 4, 5, 1000
VOCABULARY = {"mask_id": MASK, "special_ids": (PAD, CLS, SEP), "vocab_size": VOCAB}
SURPRISE = (
    1e-4  # keys are fixed; a right implementation fails a statistical test with one key in ten thousand
)


@functools.cache
def masker(config):
    return jax.jit(functools.partial(mask_batch, config=config, **VOCABULARY))


def mask(config, tokens, segment_ids, words=None, seed=0):
    return Masked(*map(np.asarray, masker(config)(jax.random.key(seed), tokens, segment_ids, words)))


def rows(batch, length, used, seed=0):
    """Rows of `used` tokens each, [CLS] first, [SEP] last and in the middle, then padding."""
    tokens = np.random.default_rng(seed).integers(FIRST, VOCAB, (batch, length), dtype=np.int32)
    position, used = np.arange(length)[None], np.broadcast_to(used, batch)[:, None]
    tokens[np.broadcast_to(position == used // 2, tokens.shape) | (position == used - 1)] = SEP
    tokens[:, 0] = CLS
    segment_ids = (position < used).astype(np.int32)
    return np.where(segment_ids > 0, tokens, PAD).astype(np.int32), segment_ids


def restored(masked):
    """The original tokens, put back from the labels."""
    tokens = masked.tokens.copy()
    for row, positions, labels, weights in zip(tokens, *masked[1:], strict=True):
        row[positions[weights > 0]] = labels[weights > 0]
    return tokens


def chosen(masked, length):
    """[batch, length]: how often each position is predicted."""
    counts = np.zeros((len(masked.tokens), length), int)
    for row, positions, weights in zip(counts, masked.positions, masked.weights, strict=True):
        np.add.at(row, positions[weights > 0], 1)
    return counts


def check_invariants(masked, tokens, segment_ids, config):
    counts = chosen(masked, tokens.shape[1])
    assert counts.max() <= 1, "a position is predicted twice"
    candidates = (segment_ids > 0) & ~np.isin(tokens, VOCABULARY["special_ids"])
    assert not counts[~candidates].any(), "a special token or padding is predicted"
    np.testing.assert_array_equal(restored(masked), tokens)
    np.testing.assert_array_equal(masked.tokens[counts == 0], tokens[counts == 0])
    assert masked.positions.shape[1] == config.slots(tokens.shape[1])
    assert (np.diff(masked.weights, axis=1) <= 0).all(), "empty slots come last"
    empty = masked.weights == 0
    assert not masked.positions[empty].any()
    assert not masked.labels[empty].any()


@given(
    st.integers(2, 64),
    st.sampled_from([0.01, 0.15, 0.5, 1.0]),
    st.sampled_from([1, 8, 20]),
    st.integers(0, 2**31 - 1),
)
def test_exact_count_of_the_reference(used, rate, most, seed):
    config = MaskingConfig(rate=rate, max_predictions=most)
    tokens, segment_ids = rows(4, 64, used, seed)
    masked = mask(config, tokens, segment_ids, seed=seed)
    check_invariants(masked, tokens, segment_ids, config)
    candidates = ((segment_ids > 0) & (tokens != CLS) & (tokens != SEP)).sum(1)
    wanted = min(most, max(1, round(rate * used)))
    np.testing.assert_array_equal(masked.weights.sum(1), np.minimum(wanted, candidates))


def test_every_count_up_to_128_tokens():
    used = np.arange(1, 129)
    tokens, segment_ids = rows(128, 128, used)
    masked = mask(MaskingConfig(), tokens, segment_ids)
    candidates = ((segment_ids > 0) & (tokens != CLS) & (tokens != SEP)).sum(1)
    wanted = [min(20, max(1, round(0.15 * n))) for n in used]
    np.testing.assert_array_equal(masked.weights.sum(1), np.minimum(wanted, candidates))


def test_rows_with_one_candidate_and_with_none():
    tokens = np.array([[CLS, 9, SEP, PAD], [CLS, SEP, SEP, PAD], [PAD] * 4], np.int32)
    for unit in ("token", "word", "ngram"):
        words = np.array([[-1, 0, -1, -1], [-1] * 4, [-1] * 4], np.int32)
        masked = mask(MaskingConfig(unit=unit), tokens, (tokens != PAD).astype(np.int32), words)
        np.testing.assert_array_equal(masked.weights.sum(1), [1, 0, 0])
        np.testing.assert_array_equal((masked.positions[0, 0], masked.labels[0, 0]), (1, 9))
        np.testing.assert_array_equal(masked.tokens[1:], tokens[1:])


def test_token_0_is_a_target_like_any_other():
    """A vocabulary may have a real token 0; then only `weights` marks what counts."""
    config = MaskingConfig(rate=1.0, mask_prob=1.0, random_prob=0.0)
    vocabulary = VOCABULARY | {"special_ids": ()}
    of_row = jax.jit(functools.partial(mask_tokens, config=config, **vocabulary))
    masked = of_row(jax.random.key(0), np.zeros(6, np.int32), np.ones(6, np.int32))
    assert masked.weights.sum() == 6
    assert (masked.tokens == MASK).all()


def test_unknown_tokens_may_be_predicted():
    tokens = np.full((1, 8), UNK, np.int32)
    assert mask(MaskingConfig(), tokens, np.ones_like(tokens)).weights.sum() == 1


def outcomes(masked):
    """Per prediction: 0 masked, 1 replaced, 2 kept."""
    real = masked.weights > 0
    shown = np.take_along_axis(masked.tokens, masked.positions, axis=1)
    return np.where(shown == MASK, 0, np.where(shown == masked.labels, 2, 1))[real], shown[real]


def test_80_10_10_jointly_for_neighbouring_predictions():
    """Each prediction draws by itself: pairs within a row occur as the products of 80/10/10."""
    config = MaskingConfig(max_predictions=10)
    tokens, segment_ids = rows(8192, 64, 64)
    kinds, _ = outcomes(mask(config, tokens, segment_ids))
    first, second = kinds.reshape(-1, 2).T
    observed = np.bincount(first * 3 + second, minlength=9)
    # a replacement is the mask token, or the original, once in VOCAB times each
    probabilities = np.array([0.8 + 0.1 / VOCAB, 0.1 - 0.2 / VOCAB, 0.1 + 0.1 / VOCAB])
    expected = np.outer(probabilities, probabilities).ravel() * len(first)
    assert stats.chisquare(observed, expected).pvalue > SURPRISE


@pytest.mark.parametrize(("mask_prob", "random_prob", "kind"), [(1.0, 0.0, 0), (0.0, 1.0, 1), (0.0, 0.0, 2)])
def test_one_kind_of_replacement_alone(mask_prob, random_prob, kind):
    tokens, segment_ids = rows(64, 64, 64)
    config = MaskingConfig(mask_prob=mask_prob, random_prob=random_prob)
    kinds, _ = outcomes(mask(config, tokens, segment_ids))
    assert (kinds == kind).mean() > 0.99  # a random token is the mask token or the original now and then
    assert kind == 1 or (kinds == kind).all()


def test_random_tokens_are_uniform_over_the_whole_vocabulary():
    tokens, segment_ids = rows(4096, 64, 64)
    config = MaskingConfig(mask_prob=0.0, random_prob=1.0, max_predictions=10)
    _, shown = outcomes(mask(config, tokens, segment_ids))
    observed = np.bincount(shown, minlength=VOCAB)
    assert len(observed) == VOCAB
    assert stats.chisquare(observed).pvalue > SURPRISE


@pytest.mark.parametrize("count", ["exact", "bernoulli"])
def test_positions_are_covered_uniformly(count):
    tokens, segment_ids = rows(16384, 64, 60)
    config = MaskingConfig(count=count, max_predictions=6)  # bernoulli then drops a random part of most rows
    counts = chosen(mask(config, tokens, segment_ids), 64).sum(0)
    candidates = (segment_ids[0] > 0) & (tokens[0] != CLS) & (tokens[0] != SEP)
    assert stats.chisquare(counts[candidates]).pvalue > SURPRISE


def test_pairs_of_positions_are_covered_uniformly():
    tokens = np.full((16384, 8), FIRST, np.int32)
    counts = chosen(mask(MaskingConfig(rate=0.25), tokens, np.ones_like(tokens)), 8)
    pairs = Counter(tuple(np.flatnonzero(row)) for row in counts)
    assert len(pairs) == 28
    assert stats.chisquare(list(pairs.values())).pvalue > SURPRISE


def test_bernoulli_counts_are_binomial():
    tokens = np.full((16384, 32), FIRST, np.int32)
    config = MaskingConfig(count="bernoulli", max_predictions=32)
    counts = mask(config, tokens, np.ones_like(tokens)).weights.sum(1).astype(int)
    probabilities = stats.binom.pmf(np.arange(12), 32, 0.15)
    observed = np.bincount(np.minimum(counts, 12), minlength=13)
    expected = np.append(probabilities, 1 - probabilities.sum()) * len(counts)
    assert stats.chisquare(observed, expected).pvalue > SURPRISE


def test_bernoulli_caps_at_max_predictions():
    tokens = np.full((256, 32), FIRST, np.int32)
    config = MaskingConfig(count="bernoulli", rate=1.0, max_predictions=5)
    np.testing.assert_array_equal(mask(config, tokens, np.ones_like(tokens)).weights.sum(1), 5)


def test_new_key_new_masks_same_key_same_masks():
    tokens, segment_ids = rows(8, 64, 64)
    first, again, other = (mask(MaskingConfig(), tokens, segment_ids, seed=seed) for seed in (1, 1, 2))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert (chosen(first, 64) != chosen(other, 64)).any(axis=1).all()


@pytest.mark.parametrize("unit", ["token", "word", "ngram"])
def test_same_masks_on_one_device_and_on_eight(unit):
    tokens, segment_ids = rows(16, 32, 30)
    words = worded(tokens, segment_ids)
    one = mask(MaskingConfig(unit=unit), tokens, segment_ids, words)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    split = jax.device_put((tokens, segment_ids, words), NamedSharding(mesh, PartitionSpec("data")))
    eight = mask(MaskingConfig(unit=unit), *split)
    jax.tree.map(np.testing.assert_array_equal, one, eight)


def test_rows_do_not_depend_on_their_neighbours():
    tokens, segment_ids = rows(4, 32, 32)
    config = MaskingConfig()
    batch = mask(config, tokens, segment_ids)
    key = jax.random.split(jax.random.key(0), 4)[2]
    of_row = jax.jit(functools.partial(mask_tokens, config=config, **VOCABULARY))
    row = of_row(key, tokens[2], segment_ids[2])
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[2], b), batch, row)


def worded(tokens, segment_ids, seed=0):
    """Random words of one to four tokens; special tokens and padding are -1."""
    starts = np.random.default_rng(seed).random(tokens.shape) < 0.5
    special = (segment_ids == 0) | np.isin(tokens, VOCABULARY["special_ids"])
    return np.where(special, -1, np.cumsum(starts | special, axis=1)).astype(np.int32)


@given(
    st.integers(0, 2**31 - 1),
    st.sampled_from([("word", "exact"), ("word", "bernoulli"), ("ngram", "exact")]),
)
def test_whole_words_are_predicted_wholly(seed, kind):
    unit, count = kind
    config = MaskingConfig(unit=unit, count=count, rate=0.3, max_predictions=12)
    tokens, segment_ids = rows(8, 64, np.random.default_rng(seed).integers(4, 65, 8), seed)
    words = worded(tokens, segment_ids, seed)
    masked = mask(config, tokens, segment_ids, words, seed)
    check_invariants(masked, tokens, segment_ids, config)
    counts = chosen(masked, 64)
    for row, row_words, used in zip(counts, words, segment_ids.sum(1), strict=True):
        budget = min(12, max(1, round(0.3 * used))) if count == "exact" else 12
        assert row.sum() <= budget
        sizes = []
        for word in set(row_words) - {-1}:
            of_word = row[row_words == word]
            assert of_word.all() or not of_word.any()
            if not of_word.any():
                sizes.append(len(of_word))
        if unit == "word" and count == "exact":  # the reference goes on until no word fits
            assert not sizes or min(sizes) > budget - row.sum()


def test_words_of_the_reference_algorithm():
    """The distribution over sets of words equals that of the reference's loop, written out here."""
    lengths = [1, 2, 3, 1]
    words = np.repeat(np.arange(4), lengths).astype(np.int32)
    budget, trials = 3, 16384
    rng = np.random.default_rng(0)
    expected = Counter()
    for _ in range(trials):
        taken, size = [], 0
        for word in rng.permutation(4):
            if size < budget and size + lengths[word] <= budget:
                taken.append(word)
                size += lengths[word]
        expected[tuple(sorted(taken))] += 1
    tokens = np.full((trials, len(words)), FIRST, np.int32)
    config = MaskingConfig(unit="word", rate=budget / len(words))
    counts = chosen(mask(config, tokens, np.ones_like(tokens), np.tile(words, (trials, 1))), len(words))
    observed = Counter(tuple(sorted(set(words[row > 0]))) for row in counts)
    assert observed.keys() == expected.keys()
    table = [[side[key] for key in expected] for side in (observed, expected)]
    assert stats.chi2_contingency(table).pvalue > SURPRISE


def albert_reference(rng, lengths, budget, longest):
    """Words taken by google-research/albert: visit starts in random order, shorten to fit, skip what
    overlaps."""
    chances = 1 / np.arange(1, longest + 1)
    taken = set()
    size = 0
    for start in rng.permutation(len(lengths)):
        if size >= budget:
            break
        available = min(longest, len(lengths) - start)
        n = rng.choice(available, p=chances[:available] / chances[:available].sum()) + 1
        while n > 1 and size + sum(lengths[start : start + n]) > budget:
            n -= 1
        run = set(range(start, start + n))
        tokens = sum(lengths[start : start + n])
        if size + tokens > budget or run & taken:
            continue
        taken |= run
        size += tokens
    return tuple(sorted(taken))


def test_ngrams_of_the_reference_algorithm():
    lengths = [1, 2, 1, 1, 3]
    words = np.repeat(np.arange(5), lengths).astype(np.int32)
    budget, trials = 5, 16384
    rng = np.random.default_rng(0)
    expected = Counter(albert_reference(rng, lengths, budget, 3) for _ in range(trials))
    tokens = np.full((trials, len(words)), FIRST, np.int32)
    config = MaskingConfig(unit="ngram", rate=budget / len(words))
    counts = chosen(mask(config, tokens, np.ones_like(tokens), np.tile(words, (trials, 1))), len(words))
    observed = Counter(tuple(sorted(set(words[row > 0]))) for row in counts)
    assert observed.keys() == expected.keys()
    table = [[side[key] for key in expected] for side in (observed, expected)]
    assert stats.chi2_contingency(table).pvalue > SURPRISE


def test_length_of_a_run_is_drawn_in_proportion_to_its_inverse():
    """Runs of 1, 2, 3 words are drawn 6 : 3 : 2, seen in a row so long that two runs hardly ever touch."""
    trials, length = 2048, 2048
    tokens = np.full((trials, length), FIRST, np.int32)
    words = np.tile(np.arange(length, dtype=np.int32), (trials, 1))
    config = MaskingConfig(unit="ngram", rate=3 / length, max_predictions=3)
    counts = chosen(mask(config, tokens, np.ones_like(tokens), words), length)
    longest = np.where((counts[:, 1:] & counts[:, :-1]).any(1), 2, 1)
    longest[(counts[:, 2:] & counts[:, 1:-1] & counts[:, :-2]).any(1)] = 3
    # The budget is 3: after a run of 1, the next one is drawn again, and shortened to 2 if it is 3.
    expected = np.array([6 / 11 * 6 / 11, 3 / 11 + 6 / 11 * 5 / 11, 2 / 11]) * trials
    assert stats.chisquare(np.bincount(longest, minlength=4)[1:], expected).pvalue > SURPRISE


def test_a_run_never_crosses_a_special_token():
    """Two words with [SEP] between them are never one run of two: both are predicted only if drawn one by
    one."""
    tokens = np.tile(np.array([CLS, 9, SEP, 9, 9, SEP], np.int32), (8192, 1))
    words = np.tile(np.array([-1, 0, -1, 1, 2, -1], np.int32), (8192, 1))
    config = MaskingConfig(unit="ngram", rate=2 / 6, max_ngram=2)
    counts = chosen(mask(config, tokens, np.ones_like(tokens), words), 6)
    # First word visited, then the run it starts, then what fits: word 0 (1/3) with 1, or 2; word 1 (1/3) with
    # 2 in one run (1/3 of the time), or alone and then one of the others; word 2 (1/3) alone, then 0, or 1
    # shortened to fit.
    pairs = Counter(tuple(np.flatnonzero(row)) for row in counts)
    expected = {(1, 3): 1 / 6 + 1 / 9, (1, 4): 1 / 6 + 1 / 6, (3, 4): 1 / 9 + 1 / 9 + 1 / 6}
    observed = [pairs[pair] for pair in expected]
    assert stats.chisquare(observed, np.array(list(expected.values())) * len(tokens)).pvalue > SURPRISE


def test_special_tokens_between_words_take_nothing_off_the_budget():
    tokens = np.tile(np.array([CLS, 9, SEP, 9, SEP, 9, SEP], np.int32), (256, 1))
    words = np.tile(np.array([-1, 0, -1, 1, -1, 2, -1], np.int32), (256, 1))
    masked = mask(MaskingConfig(unit="ngram", rate=3 / 7), tokens, np.ones_like(tokens), words)
    assert (masked.weights.sum(1) == 3).all()


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"rate": 0.0}, "MaskingConfig.rate"),
        ({"rate": 1.5}, "MaskingConfig.rate"),
        ({"max_predictions": 0}, "MaskingConfig.max_predictions"),
        ({"max_ngram": 0}, "MaskingConfig.max_ngram"),
        ({"mask_prob": 0.9, "random_prob": 0.2}, "masking.random_prob"),
        ({"mask_prob": -0.1}, "MaskingConfig.mask_prob"),
        ({"unit": "ngram", "count": "bernoulli"}, "masking.count"),
    ],
)
def test_wrong_configurations_are_refused(field, message):
    with pytest.raises(UserError, match=message):
        MaskingConfig(**field)


def test_words_are_needed_for_whole_words():
    tokens, segment_ids = rows(2, 16, 16)
    with pytest.raises(ValueError, match="needs `words`"):
        mask(MaskingConfig(unit="word"), tokens, segment_ids)


def test_slots_without_a_limit_are_what_the_rate_asks():
    assert [MaskingConfig().slots(length) for length in (128, 512, 3)] == [20, 77, 1]
    assert MaskingConfig(max_predictions=10).slots(128) == 10
    random = MaskingConfig(count="bernoulli")
    draws = np.random.default_rng(0).binomial(128, random.rate, 100_000)
    assert np.mean(draws > random.slots(128)) < 1e-3, "rows that lose a prediction are rare"


def test_random_replacements_are_ids_of_the_tokenizer():
    """Also when each row brings the size of the vocabulary, which is then known only to the data."""
    tokens, segment_ids = rows(64, 128, 128)[:2]
    config = MaskingConfig(rate=0.5, mask_prob=0.0, random_prob=1.0)

    def shown(vocab_size):
        vocabulary = VOCABULARY | {"vocab_size": vocab_size}
        of_batch = jax.jit(functools.partial(mask_batch, config=config, **vocabulary))
        masked = of_batch(jax.random.key(0), tokens, segment_ids)
        return np.take_along_axis(np.asarray(masked.tokens), np.asarray(masked.positions), 1)

    assert shown(50).max() == 49
    for size in (50, VOCAB):
        np.testing.assert_array_equal(shown(np.full(64, size, np.int32)), shown(size))
