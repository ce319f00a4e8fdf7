"""Span masks of speech: starts, lengths and share by their law; padding and the last frame; negatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.transforms.span_masks import SpanMaskConfig, draw_negatives, masked_places, span_masks

FRAMES = 60


@pytest.fixture(scope="module")
def many():
    """The masks of 4,000 rows, of which every second has 37 true frames of 60."""
    lengths = jnp.tile(jnp.array([FRAMES, 37], jnp.int32), 2000)
    config = SpanMaskConfig(start_probability=0.065, span=5)
    return np.asarray(span_masks(jax.random.key(0), lengths, FRAMES, config))


def enumerated(length, spans, span):
    """The probability that each frame is masked, if `spans` starts are drawn without replacement."""
    places = length - span + 1
    covering = np.array([sum(0 <= t - start < span for start in range(places)) for t in range(length)])
    free = [np.prod([(places - c - i) / (places - i) for i in range(spans)]) for c in covering]
    return 1 - np.array(free)


def test_each_frame_is_masked_as_often_as_the_law_says(many):
    # 60 frames: 3.9 starts, so 3 (1 of 10) or 4 (9 of 10); 37 frames: 2.405, so 2 (.595) or 3 (.405).
    full = 0.1 * enumerated(60, 3, 5) + 0.9 * enumerated(60, 4, 5)
    short = 0.595 * enumerated(37, 2, 5) + 0.405 * enumerated(37, 3, 5)
    np.testing.assert_allclose(many[::2].mean(0), full, atol=0.045)  # four standard errors
    np.testing.assert_allclose(many[1::2, :37].mean(0), short, atol=0.045)
    assert abs(many[::2].mean() - full.mean()) < 0.005
    assert full[-1] > 0.05  # so that the last frame is masked in the draw as well
    assert not many[1::2, 37:].any()


def test_spans_are_whole_and_as_many_as_asked_for(many):
    for mask in many[:200]:
        edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]])))
        assert (edges[1::2] - edges[::2] >= 5).all()
    assert set(many[::2].sum(1)) <= set(range(6, 21))


def test_the_least_number_of_spans_and_rows_without_room():
    config = SpanMaskConfig(start_probability=0.001, span=4, least_spans=2)
    lengths = jnp.array([40, 5, 4, 3, 0], jnp.int32)
    masks = np.asarray(span_masks(jax.random.key(1), lengths, 40, config))
    assert 5 <= masks[0].sum() <= 8
    assert list(masks.sum(1)[1:]) == [5, 4, 0, 0]
    assert config.most_masked(40) == 8


def test_a_row_has_its_mask_whatever_the_other_rows_are():
    lengths, key = jnp.array([20, 17], jnp.int32), jax.random.key(2)
    narrow = span_masks(key, lengths, 20, SpanMaskConfig(span=3, start_probability=0.2))
    again = span_masks(key, lengths.at[1].set(9), 20, SpanMaskConfig(span=3, start_probability=0.2))
    np.testing.assert_array_equal(narrow[0], again[0])


def test_masked_places_are_the_masked_frames():
    masks = jnp.array([[0, 1, 1, 0, 1], [0, 0, 0, 0, 0]], bool)
    places, present = masked_places(masks, 4)
    assert places.tolist() == [[1, 2, 4, 0], [0, 0, 0, 0]]
    assert present.tolist() == [[True] * 3 + [False], [False] * 4]


def test_negatives_are_uniform_over_the_other_true_places():
    counts = jnp.array([6, 2, 1, 0], jnp.int32)
    drawn = np.asarray(draw_negatives(jax.random.key(3), counts, 8, 3000))
    for place in range(6):
        shares = np.bincount(drawn[0, place], minlength=8) / 3000
        assert shares[place] == shares[6:].sum() == 0
        np.testing.assert_allclose(np.delete(shares[:6], place), 0.2, atol=0.04)
    assert (drawn[1, :2] == [[1], [0]]).all()
    assert (drawn[2:] == 0).all()
