"""Progress of a run: a live bar on a terminal; elsewhere a plain line every few seconds."""

import time
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from ssl_jax.evals.metric_names import shown

PLAIN_LINE_SECONDS = 15.0


def duration(seconds: float) -> str:
    """3723.4 -> "1:02:03"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def quantity(value: float) -> str:
    """18234.2 -> "18.2k"."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def format_metric(name: str, value: float) -> str:
    """A metric for display: accuracies and other shares in percent."""
    return f"{name} {shown(name, value)}"


class _BarAboveMetrics(Progress):
    """A progress bar with the newest metrics on a line of their own, so that neither squeezes the other."""

    metrics = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        yield Text(self.metrics, no_wrap=True, overflow="ellipsis")


class Display:
    """Shows progress and lines of text; silent on every process but the first."""

    def __init__(
        self, *, steps: int, unit: str, enabled: bool = True, console: Console | None = None
    ) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._enabled, self._steps, self._unit = enabled, steps, unit
        self._live = enabled and self._console.is_terminal
        self._last_line = 0.0
        self._bar = _BarAboveMetrics(
            TextColumn("{task.completed}/{task.total}"),
            BarColumn(bar_width=30),
            TextColumn("{task.description}"),
            console=self._console,
            disable=not self._live,
            transient=True,
        )
        self._task = self._bar.add_task("compiling the step", total=steps)

    def __enter__(self) -> "Display":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def log(self, text: str) -> None:
        """Prints a line above the bar."""
        if self._enabled:
            self._console.print(Text(text))

    def advance(self, step: int) -> None:
        """Moves the bar."""
        self._bar.update(self._task, completed=step)

    def show(
        self,
        step: int,
        metrics: Mapping[str, float],
        *,
        speed: float,
        waits: Sequence[float],
        seconds_left: float,
        mfu: float | None = None,
    ) -> None:
        """Updates the metrics.

        Args:
          step: number of finished steps.
          metrics: means since the last line.
          speed: units of work per second.
          waits: share of the time that each host has spent waiting for data.
          seconds_left: estimated time to the last step.
          mfu: model FLOPs utilization; None if it is not known.
        """
        learnt = "  ".join(format_metric(name, value) for name, value in metrics.items())
        used = "" if mfu is None else f"  MFU {mfu:.1%}"
        most = f" (slowest host {max(waits):.1%})" if len(waits) > 1 else ""
        waiting = f"data wait {sum(waits) / len(waits):.1%}{most}"
        pace = f"{quantity(speed)} {self._unit}/s{used}  {waiting}  ETA {duration(seconds_left)}"
        self._bar.metrics = learnt
        self._bar.update(self._task, description=pace)
        now = time.monotonic()
        if not self._live and (now - self._last_line > PLAIN_LINE_SECONDS or step == self._steps):
            self._last_line = now
            self.log(f"step {step}/{self._steps}  {learnt}  {pace}")
