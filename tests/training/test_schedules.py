"""Schedules at their end points, and against google-research/bert."""

import dataclasses

import jax
import numpy as np
import pytest

from ssl_jax.errors import UserError
from ssl_jax.training.schedules import ScheduleConfig, make_schedule, shortened, warmup_of

DECAYS = ["linear", "cosine", "rsqrt", "constant"]


def rate(step, steps=100, **fields):
    return float(
        make_schedule(ScheduleConfig(**{"learning_rate": 1.0, "warmup_steps": 10, **fields}), steps)(step)
    )


@pytest.mark.parametrize("decay", DECAYS)
def test_warm_up_is_linear_from_0_to_the_peak(decay):
    np.testing.assert_allclose([rate(step, decay=decay) for step in range(11)], np.arange(11) / 10, rtol=1e-6)


@pytest.mark.parametrize("decay", DECAYS)
def test_without_warm_up_the_first_step_has_the_peak(decay):
    assert rate(0, decay=decay, warmup_steps=0) == 1


@pytest.mark.parametrize(
    ("decay", "middle", "end"),
    [("linear", 0.55, 0.1), ("cosine", 0.55, 0.1), ("rsqrt", (10 / 55) ** 0.5, 0.1**0.5), ("constant", 1, 1)],
)
def test_middle_and_end_of_the_decay(decay, middle, end):
    assert rate(55, decay=decay, final_fraction=0.1) == pytest.approx(middle)
    assert rate(100, decay=decay, final_fraction=0.1) == pytest.approx(end)


def test_last_update_of_a_linear_decay_is_one_step_from_0():
    assert rate(99) == pytest.approx(1 / 90, rel=1e-5)
    assert rate(100) == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("warmup", [0, 1, 50])
@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_decay_never_rises_and_stays_at_its_end(warmup, decay):
    schedule = make_schedule(ScheduleConfig(warmup_steps=warmup, decay=decay, final_fraction=0.2), 60)
    rates = np.asarray(schedule(np.arange(warmup, 80)))
    assert (np.diff(rates) <= 1e-12).all()
    np.testing.assert_allclose(rates[60 - warmup :], 0.2e-4, rtol=1e-5)


def test_distance_to_the_schedule_of_the_original_bert():
    """There the decay runs from step 0: below ours by warmup / steps of the peak at first, equal at the end."""

    def original(step, peak, warmup, steps):
        return peak * step / warmup if step < warmup else peak * (1 - step / steps)

    ours = make_schedule(ScheduleConfig(), 1_000_000)
    for step in (0, 5_000, 9_999):
        assert float(ours(step)) == pytest.approx(original(step, 1e-4, 10_000, 1_000_000))
    for step in (10_000, 500_000, 999_999, 1_000_000):
        gap = float(ours(step)) - original(step, 1e-4, 10_000, 1_000_000)
        assert gap == pytest.approx(1e-6 * (1_000_000 - step) / 990_000, abs=2e-11)


def test_a_variation_has_another_height_and_decay_but_the_same_warm_up_and_end():
    schedule = make_schedule(ScheduleConfig(2.0, 10, "cosine", final_fraction=0.1), 100)
    lower = schedule.varied(factor=0.25, decay=None)
    constant = schedule.varied(factor=1.0, decay="constant")
    for step in (0, 5, 10, 55, 99, 100):
        assert float(lower(step)) == pytest.approx(float(schedule(step)) / 4)
        assert float(constant(step)) == pytest.approx(2.0 * min(step / 10, 1))


def test_schedules_can_be_traced():
    schedule = make_schedule(ScheduleConfig(decay="rsqrt"), 20_000)
    assert float(jax.jit(schedule)(15_000)) == pytest.approx(float(schedule(15_000)))


@pytest.mark.parametrize("field", [{"learning_rate": 0.0}, {"warmup_steps": -1}, {"final_fraction": 1.5}])
def test_wrong_configurations_are_refused(field):
    with pytest.raises(UserError, match=rf"ScheduleConfig\.{next(iter(field))}"):
        ScheduleConfig(**field)


def test_a_warm_up_that_does_not_fit_takes_a_tenth_of_the_run_and_is_told():
    config = ScheduleConfig(learning_rate=1.0, warmup_steps=20, decay="constant")
    assert shortened(config, 21) is None
    assert warmup_of(config, 21) == 20
    told = "the warm-up of 20 steps does not fit into a run of 20: it takes 2 "
    assert shortened(config, 20).startswith(told)
    rates = [float(make_schedule(config, 20)(step)) for step in range(4)]
    assert rates == [0.0, 0.5, 1.0, 1.0]
    assert float(make_schedule(ScheduleConfig(1.0, 20), 5)(0)) == 1.0  # a tenth is no step
    rsqrt = make_schedule(dataclasses.replace(config, decay="rsqrt"), 20)
    assert float(rsqrt(8)) == pytest.approx((2 / 8) ** 0.5)


def test_a_share_of_the_run_takes_the_place_of_steps():
    config = ScheduleConfig(learning_rate=1.0, warmup_steps=10_000, decay="constant", warmup_share=0.25)
    assert [warmup_of(config, steps) for steps in (8, 80_000)] == [2, 20_000]
    assert [float(make_schedule(config, 8)(step)) for step in range(4)] == [0.0, 0.5, 1.0, 1.0]
    assert shortened(config, 8) is None
