"""A step that takes far longer than the others shows what the process is doing."""

import time

import pytest

from ssl_jax.training import watchdog


def hang_here(seconds: float) -> None:
    time.sleep(seconds)


def test_a_step_that_hangs_shows_its_stacks_once(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(watchdog, "LEAST", 0.2)
    with watchdog.Watchdog() as dog:
        for number in range(1, 4):
            with dog.step(number):
                pass
        time.sleep(0.5)  # between steps, as an evaluation
        assert capfd.readouterr().err == ""
        with dog.step(3), dog.paused():  # as for a compilation
            hang_here(0.5)
        assert capfd.readouterr().err == ""
        with dog.step(4):
            hang_here(0.8)
        with dog.step(5):
            pass
    err = capfd.readouterr().err
    assert err.count("step 4 has taken 0 s on host 0; the median step takes") == 1
    assert "in hang_here" in err
    assert "step 5" not in err


def test_slow_steps_are_usual_where_all_are(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(watchdog, "LEAST", 0.02)
    with watchdog.Watchdog() as dog:
        for number in range(1, 4):
            with dog.step(number):
                time.sleep(0.1)
    assert capfd.readouterr().err == ""
