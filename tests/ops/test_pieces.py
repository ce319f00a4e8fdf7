"""A batch in pieces: how many, where, and that nothing else changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.ops.pieces import by_pieces, count_pieces, cut, joined
from ssl_jax.training.sharding import MeshConfig, make_mesh
from ssl_jax.transforms import speech_features


@pytest.mark.parametrize(
    ("batch", "example", "most", "pieces"),
    [
        (16, 1, 16, 1),
        (16, 1, 15, 2),
        (16, 2, 4, 8),
        (6, 5, 11, 3),
        (7, 5, 11, 7),
        (4, 100, 1, 4),
        (1, 100, 1, 1),
    ],
)
def test_pieces_are_the_fewest_equal_ones_that_are_not_too_large(batch, example, most, pieces):
    assert count_pieces(batch, example, most) == pieces


def test_pieces_are_joined_in_order():
    x = jnp.arange(24).reshape(6, 2, 2)
    assert cut(x, 3).shape == (3, 2, 2, 2)
    np.testing.assert_array_equal(joined(cut(x, 3)), x)


@pytest.mark.parametrize(("devices", "seen"), [(1, (2, 3)), (2, (6, 3)), (None, (6, 3))])
def test_only_one_cpu_computes_a_batch_in_pieces(devices, seen):
    shapes = []

    def double(x):
        shapes.append(x.shape)
        return 2 * x

    x = jnp.arange(18.0).reshape(6, 3)
    if devices is None:
        found = by_pieces(double, x, 10, 20)
    else:
        with jax.set_mesh(make_mesh(MeshConfig(), jax.devices()[:devices])):
            found = jax.jit(lambda x: by_pieces(double, x, 10, 20))(x)
    np.testing.assert_array_equal(found, 2 * x)
    assert {*shapes} == {seen}


def test_features_in_pieces_are_those_of_the_whole_batch(monkeypatch):
    waves = 0.1 * np.random.default_rng(0).standard_normal((6, 4_000)).astype(np.float32)
    whole = speech_features.log_mel(waves, 8_000, 40)
    monkeypatch.setattr(speech_features, "PIECE", 2 * 4 * 256 * 48)
    with jax.set_mesh(make_mesh(MeshConfig(), jax.devices()[:1])):
        program = jax.jit(lambda x: speech_features.log_mel(x, 8_000, 40)).lower(waves)
        found = program.compile()(waves)
    assert "while" in program.as_text()
    np.testing.assert_array_equal(found, whole)
