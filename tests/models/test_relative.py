import math

import jax
import numpy as np
import pytest

from ssl_jax.errors import UserError
from ssl_jax.models.relative import RelativePositions, relative_bucket
from ssl_jax.models.transformer import TransformerConfig


def defined_bucket(distance: int, buckets: int, farthest: int, both_sides: bool) -> int:
    """Section 2.1 of arXiv:1910.10683 and its released code, by the borders of the buckets instead of a logarithm."""
    if both_sides:
        half = buckets // 2
        return (half if distance > 0 else 0) + defined_bucket(-abs(distance), half, farthest, False)
    steps = max(-distance, 0)
    exact = buckets // 2
    # The k-th of the wide buckets begins where the ratio to `exact` has grown to the k-th power of one factor.
    factor = (farthest / exact) ** (1 / (buckets - exact))
    borders = [*range(exact), *(exact * factor**k for k in range(buckets - exact))]
    return max(i for i, border in enumerate(borders) if steps >= border or math.isclose(steps, border))


@pytest.mark.parametrize("both_sides", [True, False])
@pytest.mark.parametrize(("buckets", "farthest"), [(32, 128), (8, 11), (12, 50), (32, 100)])
def test_buckets_are_those_of_the_paper(buckets, farthest, both_sides):
    distances = np.arange(-3 * farthest, 3 * farthest + 1)
    bucket = jax.jit(relative_bucket, static_argnums=(1, 2, 3))
    ours = bucket(distances.astype(np.int32), buckets, farthest, both_sides)
    expected = [defined_bucket(int(d), buckets, farthest, both_sides) for d in distances]
    np.testing.assert_array_equal(ours, expected)
    # Of the two sides, that of the keys that follow has no distance 0.
    assert set(expected) == set(range(buckets)) - ({buckets // 2} if both_sides else set())


def test_bias_is_the_table_looked_up_for_each_pair():
    module = RelativePositions(8, 11, 3, True, 0.5)
    queries, keys = np.array([[4, 5], [0, 40]], np.int32), np.array([[0, 1, 2], [38, 39, 41]], np.int32)
    params = jax.jit(module.init)(jax.random.key(0), queries, keys)
    table = np.asarray(params["params"]["table"]["embedding"])
    bias = np.asarray(jax.jit(module.apply)(params, queries, keys))
    assert bias.shape == (2, 3, 2, 3)
    for row, head, q, k in np.ndindex(bias.shape):
        bucket = defined_bucket(int(keys[row, k] - queries[row, q]), 8, 11, True)
        assert bias[row, head, q, k] == table[bucket, head]


@pytest.mark.parametrize(
    ("buckets", "distance", "message"),
    [
        (2, 128, "relative_buckets 2: expected an integer from 4"),
        (32, 16, "relative_buckets 32 and relative_distance 16"),
    ],
)
def test_buckets_that_cannot_be_are_refused(buckets, distance, message):
    sizes = {"relative_buckets": buckets, "relative_distance": distance}
    with pytest.raises(UserError, match=message):
        TransformerConfig(1, 8, 2, 8, position_encoding="relative", **sizes)
