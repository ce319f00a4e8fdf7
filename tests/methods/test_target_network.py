"""The moving average of a network: its decay over a run, and what it averages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.errors import UserError
from ssl_jax.methods.target_network import TargetConfig, target_decay, update_target

STEPS = 100


def test_the_decay_rises_to_1_as_in_byol_and_dino():
    config = TargetConfig(decay=0.99)
    assert float(target_decay(config, 1, STEPS)) == pytest.approx(0.99)
    last = 1 - 0.01 * (np.cos(np.pi * (STEPS - 1) / STEPS) + 1) / 2
    assert float(target_decay(config, STEPS, STEPS)) == pytest.approx(last, abs=1e-7)
    assert 1 - last < 3e-6
    assert float(target_decay(config, STEPS // 2 + 1, STEPS)) == pytest.approx(0.995)


def test_the_decay_of_dino_is_the_authors_schedule():
    """`cosine_scheduler` of facebookresearch/dino: final + (base - final) (1 + cos(pi i / n)) / 2."""
    ours = [float(target_decay(TargetConfig(decay=0.996), step, STEPS)) for step in range(1, STEPS + 1)]
    wanted = 1 + 0.5 * (0.996 - 1) * (1 + np.cos(np.pi * np.arange(STEPS) / STEPS))
    np.testing.assert_allclose(ours, wanted, rtol=1e-6)


def test_a_constant_decay_and_one_that_ends_below_1():
    constant = TargetConfig(decay=0.999, final_decay=None)
    assert {float(target_decay(constant, step, STEPS)) for step in (1, 50, 100)} == {float(np.float32(0.999))}
    rising = TargetConfig(decay=0.99, final_decay=0.999)
    assert float(target_decay(rising, STEPS // 2 + 1, STEPS)) == pytest.approx(0.9945)


@pytest.mark.parametrize("statistics", ["batch", "average"])
def test_parameters_are_averaged_and_statistics_where_asked(statistics):
    target = {"params": {"encoder": jnp.ones(2)}, "batch_stats": {"encoder": jnp.ones(3)}}
    network = {
        "params": {"encoder": jnp.full(2, 3.0), "predictor": jnp.ones(1)},
        "batch_stats": {"encoder": jnp.full(3, 5.0), "predictor": jnp.ones(1)},
    }
    after = update_target(TargetConfig(statistics=statistics), target, network, jnp.float32(0.9))
    np.testing.assert_allclose(after["params"]["encoder"], 0.9 + 0.1 * 3, rtol=1e-6)
    moved = 0.9 + 0.1 * 5 if statistics == "average" else 1.0
    np.testing.assert_allclose(after["batch_stats"]["encoder"], moved, rtol=1e-6)
    assert jax.tree.structure(after) == jax.tree.structure(target)


def test_wrong_decays_are_refused():
    with pytest.raises(UserError, match=r"TargetConfig\.decay 1\.5"):
        TargetConfig(decay=1.5)
    with pytest.raises(UserError, match=r"TargetConfig\.final_decay -1"):
        TargetConfig(final_decay=-1)
