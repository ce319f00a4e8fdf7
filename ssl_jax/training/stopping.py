"""Signals that ask a run to save and stop."""

import signal
from types import FrameType

from ssl_jax.training.hosts import Hosts

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""A preemption, Ctrl-C, a terminal that is gone, and what a batch system such as Slurm sends before the time is up."""


class StopRequest:
    """Receives the signals in a loop, and decides at which place of it to save and stop.

    SIGHUP stays ignored where it is, as nohup does. On several hosts a signal may reach only one of them; all of them
    stop at the same place.
    """

    def __init__(self, hosts: Hosts | None = None) -> None:
        """Nothing is received before the block begins.

        Args:
          hosts: of the run; None for a run of one process.
        """
        self.signal: int | None = None
        self._hosts = hosts
        self._heard = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        for number in STOPPING:
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue
            self._previous[number] = signal.signal(number, self._hear)
        if self._hosts:
            self._hosts.stop_place.enter()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        missed = self._hosts.stop_place.leave() if self._hosts else None
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if missed and kind is None:
            raise KeyboardInterrupt(missed)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._hosts and self._hosts.failure:
            raise self._hosts.failure
        if self._heard and number == signal.SIGINT:
            raise KeyboardInterrupt(number)
        self._heard = True
        if self._hosts:
            self._hosts.ask_to_stop(number)
        else:
            self.signal = number

    def at_once(self) -> bool:
        """Whether to stop without coming to the next such place. Hosts, which must agree, never do."""
        return self._hosts is None and self.signal is not None

    def due(self) -> bool:
        """Whether to stop here. Every process asks at the same places: at every step, and at every batch evaluated."""
        if self._hosts:
            self.signal = self._hosts.stop_place.due()
        return self.signal is not None
