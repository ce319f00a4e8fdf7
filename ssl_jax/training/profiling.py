"""A trace of some training steps, written with `jax.profiler`."""

import contextlib
import socket
import tempfile
from collections.abc import Callable
from types import TracebackType

import jax
from etils import epath

from ssl_jax.errors import UserError
from ssl_jax.files import whole
from ssl_jax.training.distributed import current_hosts

WARM_UP = 3
"""Steps that pass before the trace begins. The first ones are slower: memory is allocated, and queues fill up."""


class StepProfiler:
    """Traces the steps that follow the first few, and logs where the trace is.

    Usage:
      with StepProfiler(run_folder / "profile", steps=10, log=print) as profiler:
          for step, batch in enumerate(batches, 1):
              state = train_step(state, batch)
              profiler.after_step(step, state)

    One process of every host writes a file, `plugins/profile/steps-FIRST-LAST/HOST.xplane.pb`. All processes of a run
    have to take part.
    """

    def __init__(self, folder: epath.Path, steps: int, log: Callable[[str], None]) -> None:
        """Prepares the profiler; nothing is traced yet.

        Args:
          folder: where the trace is written, local or gs://.
          steps: number of steps to trace; 0 for none.
          log: prints a line.

        Raises:
          UserError: the number of steps is negative.
        """
        if steps < 0:
            raise UserError(f"--profile {steps}: expected a number of steps, such as 10; 0 traces none.")
        self._folder, self._steps, self._log = folder, steps, log
        self._finished = 0
        self._first = 0
        self._tracing = False

    def __enter__(self) -> "StepProfiler":
        return self

    @property
    def enabled(self) -> bool:
        """Whether steps are to be traced."""
        return self._steps > 0

    def after_step(self, step: int, state: object) -> None:
        """Begins or ends the trace if it is time to. `state` is the result of the step, which may still be computed."""
        if not self._steps:
            return
        self._finished += 1
        if self._finished == WARM_UP:
            jax.block_until_ready(state)
            self._begin(step + 1)
        elif self._finished == WARM_UP + self._steps:
            jax.block_until_ready(state)
            self._end()
        elif self._tracing:
            self._mark(step + 1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._tracing:
            self._end()
        elif self._steps and self._finished <= WARM_UP and error is None:
            self._log(
                f"--profile {self._steps}: no step was traced, as only {self._finished} were left to train and the "
                f"first {WARM_UP} are never traced; start a new run in another --workdir to trace one."
            )

    def _begin(self, step: int) -> None:
        self._first, self._tracing = step, first_process_of_host()
        if self._tracing:
            self._local = tempfile.TemporaryDirectory(prefix="ssl_jax_profile_")
            jax.profiler.start_trace(self._local.name)
            self._annotation = contextlib.ExitStack()
            self._mark(step)

    def _mark(self, step: int) -> None:
        """Ends the mark of the step before, and begins that of `step`; the viewers measure the time between them."""
        self._annotation.close()
        self._annotation.enter_context(jax.profiler.StepTraceAnnotation("train", step_num=step))

    def _end(self) -> None:
        if not self._tracing:
            return
        self._tracing = False
        self._annotation.close()
        jax.profiler.stop_trace()
        last = self._first + self._finished - WARM_UP - 1
        # The trace is copied because jaxlib itself writes to local folders only.
        target = self._folder / "plugins" / "profile" / f"steps-{self._first}-{last}"
        with self._local as local:
            for file in epath.Path(local).glob("plugins/profile/*/*.xplane.pb"):
                with whole(target / file.name) as draft:
                    file.copy(draft)
        self._log(
            f"a profile of steps {self._first} to {last} is in {self._folder}; to look at it: pip install xprof, "
            f"then xprof --logdir {self._folder} (or TensorBoard with its profile plugin)"
        )


def first_process_of_host() -> bool:
    """Whether this is the process of the lowest number on its host."""
    hosts = current_hosts()
    return hosts is None or hosts.names.index(socket.gethostname()) == jax.process_index()
