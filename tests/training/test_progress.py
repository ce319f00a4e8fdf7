"""The log of a run: readable numbers, a bar on a terminal, plain lines elsewhere."""

import io

from rich.console import Console

from ssl_jax.training.progress import Display, duration, format_metric, quantity


def test_numbers_are_readable():
    assert [duration(s) for s in (5, 65, 3723.4)] == ["0:05", "1:05", "1:02:03"]
    assert [quantity(v) for v in (3.21, 18234.2, 2.5e6)] == ["3.21", "18.2k", "2.5M"]
    assert format_metric("mlm_accuracy", 0.2468) == "mlm_accuracy 24.7%"
    assert format_metric("loss", 1.23456) == "loss 1.235"


def shown(*, terminal, width=80):
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=width, highlight=False, soft_wrap=True)
    with Display(steps=100, unit="tokens", console=console) as display:
        display.log("starting")
        display.advance(50)
        metrics = {"loss": 2.5, "mlm_accuracy": 0.25}
        display.show(50, metrics, speed=1234.0, waits=[0.015], seconds_left=75)
    return out.getvalue()


def test_terminal_shows_bar_speed_and_metrics_in_80_columns():
    text = shown(terminal=True)
    for part in ("50/100", "1.23k tokens/s  data wait 1.5%  ETA 1:15", "loss 2.5  mlm_accuracy 25.0%"):
        assert part in text


def test_elsewhere_lines_are_plain():
    text = shown(terminal=False)
    expected = "step 50/100  loss 2.5  mlm_accuracy 25.0%  1.23k tokens/s  data wait 1.5%  ETA 1:15"
    assert text.splitlines() == ["starting", expected]


def test_other_processes_are_silent():
    out = io.StringIO()
    with Display(steps=1, unit="tokens", enabled=False, console=Console(file=out)) as display:
        display.log("hello")
        display.show(1, {"loss": 1.0}, speed=1.0, waits=[0.0], seconds_left=0.0)
    assert out.getvalue() == ""
