"""T5's spans: their number and places, both texts together as the original, and shapes that just hold them."""

import collections
import functools
import itertools

import jax
import numpy as np
import pytest
from scipy import stats

from ssl_jax.errors import UserError
from ssl_jax.transforms.denoising import Denoising
from ssl_jax.transforms.spans import SpanConfig, corrupt_spans, corrupt_spans_batch, row_length
from tests.transforms.passages import BATCH, EOS, LENGTH, PAD, copies, numbered, random_rows, sources, texts

SURPRISE = 1e-4  # keys are fixed; a right implementation fails a test with one key in ten thousand
FIRST_SENTINEL, START = 2000, 7
IDS = {"first_sentinel": FIRST_SENTINEL, "eos_id": EOS, "pad_id": PAD, "start_id": START}
DEFAULT = SpanConfig()
DENSE = SpanConfig(density=0.5, mean_span=2.0, final_sentinel=False)
DENSEST = SpanConfig(density=0.95, mean_span=1.0)


@functools.cache
def noise(config):
    needed = config.sentinels(LENGTH)
    return jax.jit(functools.partial(corrupt_spans_batch, config=config, sentinels=needed, **IDS))


def corrupt(config, rows, seed=0):
    return Denoising(*map(np.asarray, noise(config)(jax.random.key(seed), *rows[:3])))


def counts_of_the_reference(length, density, mean):
    """Tokens cut out and spans, from t5/data/preprocessors.py of the reference."""
    length = max(length, 2)
    noise = min(max(int(np.round(length * density)), 1), length - 1)
    return noise, max(int(np.round(noise / mean)), 1)


def lengths_of_the_reference(inputs_length, density, mean):
    """(tokens of text, targets) that fill so many inputs, from the reference's helper."""

    def inputs_and_targets(tokens):
        noise = round(tokens * density)
        spans = round(noise / mean)
        return tokens - noise + spans + 1, noise + spans + 1

    tokens = inputs_length - 1
    while inputs_and_targets(tokens + 1)[0] <= inputs_length:
        tokens += 1
    return tokens, inputs_and_targets(tokens)[1]


@pytest.mark.parametrize("length", [64, 114, 128, 512, 1024])
@pytest.mark.parametrize(("density", "mean"), [(0.15, 3.0), (0.15, 10.0), (0.25, 2.0)])
def test_lengths_of_the_reference(length, density, mean):
    config = SpanConfig(density, mean, final_sentinel=False)
    text, targets = lengths_of_the_reference(length, density, mean)
    assert row_length(config, length) == text + 2
    assert config.lengths(text + 2) == (length, targets)


def test_lengths_of_the_paper():
    assert row_length(DEFAULT, 512) == 568 + 2
    assert SpanConfig(final_sentinel=False).lengths(570) == (512, 114)
    assert DEFAULT.lengths(570) == (512, 115)
    assert DEFAULT.sentinels(570) == 28 + 1


@pytest.mark.parametrize("config", [DEFAULT, DENSE, SpanConfig(0.3, 1.5)])
def test_counts_of_the_reference(config):
    for size in range(2, 600):
        noise, spans = counts_of_the_reference(size, config.density, config.mean_span)
        assert config.counts(size) == (noise, min(spans, size - noise))


def test_longer_rows_never_need_fewer_slots():
    for density, mean in itertools.product((0.05, 0.15, 0.5, 0.8, 0.95), (1.0, 2.5, 3.0, 8.0)):
        sizes = np.array([SpanConfig(density, mean).lengths(length) for length in range(3, 300)])
        assert (np.diff(sizes, axis=0) >= 0).all()


def sentinel_number(token):
    return FIRST_SENTINEL - token if token > FIRST_SENTINEL - 100 else None


def pieces(tokens):
    """What stands before the first sentinel, and after each: [first, after 0, after 1, ...]."""
    parts = [[]]
    for token in tokens:
        if sentinel_number(token) is None:
            parts[-1].append(token)
        else:
            assert sentinel_number(token) == len(parts) - 1, "sentinels count down, each once"
            parts.append([])
    return parts


@pytest.mark.parametrize("config", [DEFAULT, DENSE, DENSEST], ids=["default", "dense", "densest"])
def test_both_texts_together_are_the_original(config):
    rows = random_rows(2)
    corrupted = corrupt(config, rows, 2)
    shapes = config.lengths(LENGTH)
    assert (corrupted.source.shape, corrupted.targets.shape) == ((BATCH, shapes[0]), (BATCH, shapes[1]))
    for i, (text, source) in enumerate(zip(texts(rows), sources(corrupted), strict=True)):
        used = corrupted.weights[i] > 0
        target = corrupted.targets[i, used].tolist()
        assert (np.diff(corrupted.weights[i]) <= 0).all()
        assert (corrupted.targets[i, ~used] == PAD).all()
        assert (
            corrupted.inputs[i].tolist() == ([START, *target[:-1]] if target else []) + [PAD] * (~used).sum()
        )
        assert source[-1:] == [EOS] * bool(rows.present[i].any())
        if not text:
            assert not target
            continue
        assert target[-1] == EOS
        stays, (nothing, *spans) = pieces(source[:-1]), pieces(target[:-1])
        assert nothing == []
        if config.final_sentinel:
            assert spans.pop() == []
        assert len(stays) == len(spans) + 1
        joined = [part for pair in itertools.zip_longest(stays, spans, fillvalue=[]) for part in pair]
        assert list(itertools.chain(*joined)) == text
        noise, count = config.counts(len(text))
        assert (sum(map(len, spans)), len(spans)) == (noise, count)
        assert all(spans)
        assert all(stays[:-1])
        assert stays[-1] == [] or not spans, "the last span ends the text"
    full = (rows.words >= 0).sum(1) == LENGTH - 2
    assert corrupted.source_present[full].all(), "a full row fills the encoder"
    assert corrupted.weights[full].all(), "and the decoder"
    np.testing.assert_array_equal(corrupted.positions[0], np.arange(shapes[1]))
    np.testing.assert_array_equal(corrupted.context_present, corrupted.source_present)


def test_all_ways_of_cutting_are_equally_likely():
    """8 tokens, 4 of them in 2 spans: both the spans and what stays are cut in 3 ways."""
    rows = copies(numbered((1,) * 8))
    outcomes = collections.Counter(
        tuple(source) for seed in range(8) for source in sources(corrupt(DENSE, rows, seed))
    )
    assert len(outcomes) == 9
    assert stats.chisquare(list(outcomes.values())).pvalue > SURPRISE


def test_text_of_one_token_stays_and_token_0_is_a_token():
    short = corrupt(DEFAULT, copies(numbered((1,))))
    assert (short.source[:, :2] == [10, EOS]).all()
    assert (short.targets[:, :2] == [FIRST_SENTINEL, EOS]).all()
    assert (short.weights.sum(1) == 2).all()
    zeros = corrupt(DENSE, copies([[[0]] * 4]))
    assert (zeros.targets[:, :4] == [FIRST_SENTINEL, 0, 0, EOS]).all()
    assert (zeros.source[:, :4] == [0, 0, FIRST_SENTINEL, EOS]).all()


def test_a_row_alone_is_as_in_its_batch():
    rows, key = random_rows(0), jax.random.key(7)
    batch = noise(DEFAULT)(key, *rows[:3])
    alone = jax.jit(functools.partial(corrupt_spans, config=DEFAULT, **IDS))
    for i in (0, 13, 101, BATCH - 1):
        one = alone(jax.random.split(key, BATCH)[i], *(field[i] for field in rows[:3]))
        jax.tree.map(lambda a, b, i=i: np.testing.assert_array_equal(a[i], b), batch, one)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"density": 0.0}, "SpanConfig.density"),
        ({"density": 1.0}, "SpanConfig.density"),
        ({"mean_span": 0.5}, "SpanConfig.mean_span"),
        ({"mean_span": float("nan")}, "SpanConfig.mean_span"),
    ],
)
def test_wrong_configurations_are_refused(field, message):
    with pytest.raises(UserError, match=message):
        SpanConfig(**field)


def test_too_few_sentinels_are_refused():
    rows = copies(numbered((1,)))
    with pytest.raises(UserError, match=r"2 sentinel tokens are too few: .* need 7"):
        corrupt_spans_batch(jax.random.key(0), *rows[:3], config=SpanConfig(0.5, 2.0), sentinels=2, **IDS)
