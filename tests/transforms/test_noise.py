"""BART's noises: each against the recipe written in Python, and what must hold of every row."""

import collections
import functools
import itertools
import math
import random
from fractions import Fraction

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from scipy import stats

from ssl_jax.errors import UserError
from ssl_jax.transforms.denoising import Denoising
from ssl_jax.transforms.noise import NoiseConfig, _draw_spans, noise_batch, noise_tokens
from tests.transforms.passages import (
    BATCH,
    BOS,
    EOS,
    LENGTH,
    MASK,
    PAD,
    copies,
    numbered,
    random_rows,
    sources,
    texts,
)

SURPRISE = 1e-4  # keys are fixed; a right implementation fails a test with one key in ten thousand
IDS = {"mask_id": MASK, "pad_id": PAD, "start_id": EOS}
ALONE = dict.fromkeys(("permutation", "masking", "deletion", "infilling", "rotation"), 0.0)
PERMUTATION = NoiseConfig(**ALONE | {"permutation": 1.0})
MASKING = NoiseConfig(**ALONE | {"masking": 0.3})
DELETION = NoiseConfig(**ALONE | {"deletion": 0.3})
INFILLING = NoiseConfig(**ALONE | {"infilling": 0.5})
ROTATION = NoiseConfig(**ALONE | {"rotation": 1.0})
SEVERAL = NoiseConfig(0.6, 0.2, 0.15, 0.3, 2.0, 0.5)


def seeds(test):
    """A few are enough: each stands for a batch of rows."""
    return settings(max_examples=5)(given(st.integers(0, 2**31 - 1))(test))


@functools.cache
def noise(config):
    return jax.jit(functools.partial(noise_batch, config=config, **IDS))


def corrupt(config, rows, seed=0):
    return Denoising(*map(np.asarray, noise(config)(jax.random.key(seed), *rows)))


def drawn(config, sentences, batches=8):
    """Sources of the same row, [BOS] and [EOS] left out, as tuples."""
    rows = copies(sentences)
    many = itertools.chain.from_iterable(sources(corrupt(config, rows, seed)) for seed in range(batches))
    return [tuple(source[1:-1]) for source in many]


# The recipe, on lists of sentences of words of tokens.


@functools.cache
def share(rate, count):
    return math.ceil(Fraction(str(rate)) * count)


def recipe(chance, sentences, config):
    sentences = list(sentences)
    moved = sorted(chance.sample(range(len(sentences)), share(config.permutation, len(sentences))))
    order = chance.sample(moved, len(moved))
    result = list(sentences)
    for place, sentence in zip(moved, order, strict=True):
        result[place] = sentences[sentence]
    words = [list(word) for sentence in result for word in sentence]

    places = [(w, t) for w, word in enumerate(words) for t in range(len(word))]
    for w, t in chance.sample(places, share(config.masking, len(places))):
        words[w][t] = MASK
    deleted = set(chance.sample(places, share(config.deletion, len(places))))
    words = [[token for t, token in enumerate(word) if (w, t) not in deleted] for w, word in enumerate(words)]
    words = [word for word in words if word]

    budget, spans = share(config.infilling, len(words)), []
    while sum(spans) < budget:
        spans.append(min(poisson(chance, config.mean_span), budget - sum(spans)))
    chance.shuffle(spans)
    items = sum(map(bool, spans)) + spans.count(0) + len(words) - budget
    masked = set(chance.sample(range(items), len(spans)))
    text, rest, spans = [], list(words), list(spans)
    for item in range(items):
        if item in masked:
            del rest[: spans.pop()]
            text.append(MASK)
        else:
            text += rest.pop(0)

    if text and chance.random() < config.rotation:
        start = chance.randrange(len(text))
        text = text[start:] + text[:start]
    return tuple(text)


def poisson(chance, mean):
    """By the times between events."""
    count, time = 0, chance.expovariate(mean)
    while time < 1:
        count, time = count + 1, time + chance.expovariate(mean)
    return count


def same_distribution(ours, theirs):
    """Chi-square of two samples; outcomes that are too rare for it are counted together."""
    ours, theirs = collections.Counter(ours), collections.Counter(theirs)
    table, rare = [], np.zeros(2)
    for outcome in sorted(ours | theirs):
        pair = np.array([ours[outcome], theirs[outcome]])
        if pair.sum() >= 12:
            table.append(pair)
        else:
            rare += pair
    table += [rare] if rare.sum() >= 12 else []
    return stats.chi2_contingency(np.array(table).T).pvalue if len(table) > 1 else 1.0


@pytest.mark.parametrize(
    ("config", "sizes"),
    [
        (PERMUTATION, ((1, 1), (2,), (1, 1, 1))),
        (NoiseConfig(**ALONE | {"permutation": 0.5}), ((1, 1), (2,), (1, 1, 1))),
        (MASKING, ((1, 2), (1, 1))),
        (DELETION, ((1, 2), (1, 1))),
        (INFILLING, ((1, 2), (1, 3, 1))),
        (ROTATION, ((1, 2), (1, 3))),
        (NoiseConfig(), ((1, 2), (1,))),
        (SEVERAL, ((1, 2), (1,))),
    ],
    ids=[
        "permutation",
        "half permuted",
        "masking",
        "deletion",
        "infilling",
        "rotation",
        "default",
        "several",
    ],
)
def test_distribution_of_the_recipe(config, sizes):
    """All outcomes together: shares, lengths of spans, places, and in which order the noises act."""
    sentences = numbered(*sizes)
    ours = drawn(config, sentences)
    chance = random.Random(0)
    theirs = [recipe(chance, sentences, config) for _ in range(len(ours))]
    assert same_distribution(ours, theirs) > SURPRISE


def test_orders_of_three_sentences_are_equally_likely():
    sentences = numbered((1, 1), (2,), (1, 1, 1))
    flat = [tuple(itertools.chain(*sentence)) for sentence in sentences]
    outcomes = collections.Counter(drawn(PERMUTATION, sentences))
    orders = [tuple(itertools.chain(*order)) for order in itertools.permutations(flat)]
    assert set(outcomes) == set(orders)
    assert stats.chisquare([outcomes[order] for order in orders]).pvalue > SURPRISE


@pytest.mark.parametrize("config", [MASKING, DELETION])
def test_subsets_of_tokens_are_equally_likely(config):
    """0.3 of 7 tokens are 3: 35 subsets."""
    outcomes = collections.Counter(drawn(config, numbered((1, 2, 1), (3,))))
    assert len(outcomes) == math.comb(7, 3)
    assert stats.chisquare(list(outcomes.values())).pvalue > SURPRISE


def test_rotation_starts_at_every_token_alike():
    outcomes = collections.Counter(drawn(ROTATION, numbered((1, 2, 1), (3,))))
    assert stats.chisquare([outcomes[key] for key in outcomes]).pvalue > SURPRISE
    assert len(outcomes) == 7


def test_lengths_of_spans_are_poisson():
    """Those of no word included; the last is what is left of the budget."""
    most = 40
    bits = jax.random.bits(jax.random.key(0), (2000, most + 1))
    draw = functools.partial(_draw_spans, budget=10**6, room=10**6, mean=3.0)
    sizes, count = jax.jit(jax.vmap(lambda bits: draw(bits[1:], bits[0])))(bits)
    assert (np.asarray(count) == most).all()
    sizes = np.asarray(sizes).ravel()
    counts = np.bincount(np.minimum(sizes[sizes < 1000], 11), minlength=12)
    assert counts.sum() == 2000 * (most - 1)
    expected = stats.poisson.pmf(np.arange(11), 3.0)
    expected = np.append(expected, 1 - expected.sum()) * counts.sum()
    assert stats.chisquare(counts, expected).pvalue > SURPRISE


@pytest.mark.parametrize("config", [NoiseConfig(), SEVERAL, ROTATION])
@seeds
def test_what_holds_of_every_noise(config, seed):
    rows = random_rows(seed)
    corrupted = corrupt(config, rows, seed)
    for source, text, present in zip(sources(corrupted), texts(rows), rows.present, strict=True):
        assert [*source[:1], *source[1:][-1:]] == ([BOS, EOS] if present.any() else [])
        kept = [token for token in source[1:-1] if token != MASK]
        assert len(set(kept)) == len(kept)
        assert set(kept) <= set(text), "what is no mask comes from the text, and is there once"
    np.testing.assert_array_equal(corrupted.targets, rows.tokens)
    np.testing.assert_array_equal(corrupted.weights, rows.present)
    np.testing.assert_array_equal(corrupted.context_present, corrupted.source_present)
    np.testing.assert_array_equal(corrupted.inputs[:, 0], np.where(rows.present[:, 0], EOS, PAD))
    shifted = np.where(rows.present[:, 1:], rows.tokens[:, :-1], PAD)
    np.testing.assert_array_equal(corrupted.inputs[:, 1:], shifted)
    np.testing.assert_array_equal(corrupted.positions, np.tile(np.arange(LENGTH), (BATCH, 1)))


@seeds
def test_permutation_moves_whole_sentences(seed):
    rows = random_rows(seed)
    for source, tokens, numbers in zip(
        sources(corrupt(PERMUTATION, rows, seed)), rows.tokens, rows.sentences, strict=True
    ):
        owner = {t: s for t, s in zip(tokens.tolist(), numbers.tolist(), strict=True) if s >= 0}
        pieces = [list(group) for _, group in itertools.groupby(source[1:-1], key=owner.get)]
        original = [tokens[numbers == s].tolist() for s in range(numbers.max() + 1)]
        assert sorted(pieces) == sorted(original)


@seeds
def test_deletion_keeps_the_order_and_masking_the_places(seed):
    rows = random_rows(seed)
    for source, text in zip(sources(corrupt(DELETION, rows, seed)), texts(rows), strict=True):
        assert source[1:-1] == [token for token in text if token in set(source[1:-1])]
        assert len(text) - len(source[1:-1]) == share(0.3, len(text))
    for source, text in zip(sources(corrupt(MASKING, rows, seed)), texts(rows), strict=True):
        assert all(shown in (token, MASK) for shown, token in zip(source[1:-1], text, strict=True))
        assert source.count(MASK) == share(0.3, len(text))


@seeds
def test_rotation_keeps_the_circle(seed):
    rows = random_rows(seed)
    for source, text in zip(sources(corrupt(ROTATION, rows, seed)), texts(rows), strict=True):
        start = source[1:-1].index(text[0]) if text else 0
        assert source[1:-1][start:] + source[1:-1][:start] == text


@seeds
def test_infilling_hides_the_share_of_the_words(seed):
    """Exactly, and whole ones; what stands between masks is in the text as it was, in its order."""
    rows = random_rows(seed)
    corrupted = corrupt(INFILLING, rows, seed)
    for source, tokens, words in zip(sources(corrupted), rows.tokens, rows.words, strict=True):
        kept = np.isin(tokens, [token for token in source if token != MASK]) & (words >= 0)
        assert [token for token in source[1:-1] if token != MASK] == tokens[kept].tolist()
        hidden = set(words[(words >= 0) & ~kept].tolist())
        assert not hidden & set(words[kept].tolist()), "a word is hidden in part"
        assert len(hidden) == share(0.5, words.max() + 1)
        runs = [hides for hides, _ in itertools.groupby(~kept[words >= 0])]
        assert source.count(MASK) >= sum(runs), "a run of hidden words has a mask at least"
        between = [list(g) for masked, g in itertools.groupby(source[1:-1], MASK.__eq__) if not masked]
        assert all("".join(map(chr, piece)) in "".join(map(chr, tokens)) for piece in between)


def test_full_rows_have_no_room_for_more_masks_than_hidden_tokens():
    """With one word to hide, every mask beyond the first is an insertion: a full row drops those, a shorter one has
    them as often as Poisson draws no word."""
    config = NoiseConfig(**ALONE | {"infilling": 0.01})
    full = drawn(config, numbered((1,) * (LENGTH - 2)))
    assert {source.count(MASK) for source in full} == {1}
    assert {len(source) for source in full} == {LENGTH - 2}
    shorter = np.array([source.count(MASK) for source in drawn(config, numbered((1,) * (LENGTH - 6)))])
    assert shorter.max() <= 5, "one for the hidden word, four in the free slots"
    inserted = np.bincount(np.minimum(shorter, 3))[1:]
    none = math.exp(-3)
    expected = np.array([1 - none, none * (1 - none), none**2]) * len(shorter)
    assert stats.chisquare(inserted, expected).pvalue > SURPRISE


@pytest.mark.parametrize(
    ("rates", "length"),
    [({}, 7), ({"deletion": 1.0}, 0), ({"masking": 1.0}, 7), ({"deletion": 1.0, "infilling": 1.0}, 0)],
)
def test_rates_of_0_and_1(rates, length):
    sentences = numbered((1, 2, 1), (3,))
    text = tuple(itertools.chain(*itertools.chain(*sentences)))
    expected = () if length == 0 else (MASK,) * 7 if rates else text
    assert set(drawn(NoiseConfig(**ALONE | rates), sentences, batches=1)) == {expected}


def test_infilling_of_everything_leaves_masks():
    for source in drawn(NoiseConfig(**ALONE | {"infilling": 1.0}), numbered((1, 2, 1), (3,)), batches=1):
        assert set(source) == {MASK}


def test_a_row_alone_is_as_in_its_batch():
    rows, key = random_rows(0), jax.random.key(7)
    batch = noise(SEVERAL)(key, *rows)
    alone = jax.jit(functools.partial(noise_tokens, config=SEVERAL, **IDS))
    for i in (0, 13, 101, BATCH - 1):
        one = alone(jax.random.split(key, BATCH)[i], *(field[i] for field in rows))
        jax.tree.map(lambda a, b, i=i: np.testing.assert_array_equal(a[i], b), batch, one)


def test_same_noise_on_eight_devices():
    rows, key = random_rows(0), jax.random.key(7)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    sharded = jax.device_put(rows, NamedSharding(mesh, PartitionSpec("data")))
    jax.tree.map(np.testing.assert_array_equal, noise(SEVERAL)(key, *rows), noise(SEVERAL)(key, *sharded))


def test_noise_differs_between_rows_and_keys():
    rows = copies(numbered((1,) * 10, (1,) * 10))
    first, second = (corrupt(NoiseConfig(), rows, seed).source for seed in (0, 1))
    assert len(np.unique(first, axis=0)) > BATCH * 0.8
    assert (first != second).any(axis=1).mean() > 0.99


@pytest.mark.parametrize(
    "field",
    [
        {"permutation": 1.5},
        {"masking": -0.1},
        {"deletion": 2.0},
        {"infilling": float("nan")},
        {"rotation": 1.01},
        {"mean_span": 0.5},
    ],
    ids=lambda field: next(iter(field)),
)
def test_wrong_configurations_are_refused(field):
    with pytest.raises(UserError, match=rf"NoiseConfig\.{next(iter(field))}"):
        NoiseConfig(**field)
