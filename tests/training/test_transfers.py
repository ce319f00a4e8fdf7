"""Between two lines of the log, steps move nothing from the devices or to them, but for the batches."""

import contextlib

import jax
import numpy as np
import pytest

from ssl_jax.training import loop
from ssl_jax.training.compiling import Program
from tests.training import toys

EVERY = 10
"""Steps between two lines of the log."""
ARRAY = type(jax.numpy.zeros(()))


@pytest.fixture
def watched(monkeypatch):
    """Lets no array be sent, and lists those that are read, from the first step of each interval to its last one.

    The guard is of this thread alone; batches are sent by others. It does not see what is read from a CPU, whose memory
    is the host's.
    """
    guard, read = contextlib.ExitStack(), []

    class Step:
        def __init__(self, compiled):
            self.compiled, self.number = compiled, 0

        def __call__(self, state, batch):
            if self.number % EVERY == 0:
                guard.enter_context(jax.transfer_guard("disallow"))
                guard.enter_context(spy())
            self.number += 1
            result = self.compiled(state, batch)
            if self.number % EVERY == 0:
                guard.close()
            return result

    @contextlib.contextmanager
    def spy():
        value = ARRAY._value
        with monkeypatch.context() as patch:
            patch.setattr(ARRAY, "_value", property(lambda x: (read.append(x), value.fget(x))[1]))
            yield

    compile_step = Program.train_step
    monkeypatch.setattr(Program, "train_step", lambda self, *how: Step(compile_step(self, *how)))
    with guard:
        yield read


def train(folder):
    return toys.train(toys.experiment(train={"log_every": EVERY, "eval_every": 20, "save_every": 20}), folder)


def test_nothing_moves(watched, tmp_path):
    assert train(tmp_path) == 0
    assert watched == []


def leaking(monkeypatch, leak):
    """Calls `leak` with the run after every step."""
    tick = loop.Run._tick

    def ticks(run, *arguments):
        leak(run)
        tick(run, *arguments)

    monkeypatch.setattr(loop.Run, "_tick", ticks)


def test_an_array_that_is_read_would_be_listed(watched, tmp_path, monkeypatch):
    leaking(monkeypatch, lambda run: float(run.state.metrics["error"].sum))
    assert train(tmp_path) == 0
    assert len(watched) == 2 * (EVERY - 1)


def test_an_array_that_is_sent_would_be_refused(watched, tmp_path, monkeypatch):
    leaking(monkeypatch, lambda run: run.state.step + np.int32(1))
    with pytest.raises(Exception, match="Disallowed host-to-device transfer"):
        train(tmp_path)
