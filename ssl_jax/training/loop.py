"""The training loop, from the first compilation to the report.

After a step, in this order: its metrics are logged, the model is evaluated, a checkpoint is saved. What is missing of
this after a restart is done again, so that a run that was killed has the same log as one that was not.
"""

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict
from typing import Any

import jax
from etils import epath

from ssl_jax.errors import UserError
from ssl_jax.evals.metric_names import COLLAPSE
from ssl_jax.evals.plots import draw_curves, save_figures
from ssl_jax.files import write_json
from ssl_jax.interruptible import LeftAloneError
from ssl_jax.method import split_variables
from ssl_jax.training import folder as run_folder
from ssl_jax.training import sharding
from ssl_jax.training.best import Criterion, check_criterion
from ssl_jax.training.changes import (
    EVAL_EVERY,
    LOG_EVERY,
    STEPS,
    Changed,
    differences,
    due_steps,
    read_changes,
)
from ssl_jax.training.checkpoint_writer import CheckpointWriter
from ssl_jax.training.checkpoints import Checkpoints
from ssl_jax.training.clock import Clock, LoggedInterval
from ssl_jax.training.compiling import CompiledStep, Program, TrainSteps
from ssl_jax.training.distributed import (
    current_hosts,
    gather,
    is_main,
    of_main,
    on_main,
    same_everywhere,
    sync,
)
from ssl_jax.training.evaluate import Evaluator
from ssl_jax.training.experiment import Experiment, Fork, Report
from ssl_jax.training.loading import training_batches
from ssl_jax.training.lock import check_shared, locked
from ssl_jax.training.metrics import MetricsLog, irregular, means
from ssl_jax.training.profiling import StepProfiler
from ssl_jax.training.progress import Display, duration, format_metric
from ssl_jax.training.run_data import open_run_data
from ssl_jax.training.state import TrainState
from ssl_jax.training.stopping import StopRequest
from ssl_jax.training.trackers import MakeTracker, Tracker
from ssl_jax.training.utilization import Utilization
from ssl_jax.training.wall_time import WallTime
from ssl_jax.training.watchdog import Watchdog

STEPS_IN_FLIGHT = 2
"""Steps that may be queued on the devices: enough to keep them busy, few enough to stop promptly."""


class Run:
    """A run in this process: from wherever its folder stands to the last step. Every host makes one.

    Attributes:
      step: number of finished steps.
      ended: whether it ended early, at this step, as its metric no longer improved.
    """

    def __init__(
        self,
        experiment: Experiment,
        folder: epath.Path,
        settings: Mapping[str, Any],
        *,
        profile: int = 0,
        trackers: Sequence[MakeTracker] = (),
    ) -> None:
        """Claims the folder, opens the data, and restores or initialises the state. For the arguments see `train`."""
        self.wall_time = WallTime()
        self.experiment, self.config, self.folder = experiment, experiment.train, epath.Path(folder)
        self.display = Display(steps=experiment.steps, unit=experiment.phases[0].work[0], enabled=is_main())
        self.profiler = StepProfiler(self.folder / "profile", profile, self.display.log)
        self.mesh = sharding.make_mesh(experiment.mesh)
        for phase in experiment.phases:
            if phase.steps < 1:
                raise UserError(f"a phase of {phase.steps} steps; it must have at least 1.")
            sharding.check_batch(self.mesh, phase.batch_size, self.config.micro_batches)
        self.program = Program(experiment, self.mesh)
        self.utilization = Utilization(self.mesh)
        self._changed: Changed = {}
        if run_folder.begun(self.folder, settings):
            self._changed = run_folder.changes(self.folder, settings)
        else:
            variables = self.program.state.variables  # traces the model and the optimizer, which may refuse
            for start in experiment.starts:
                start.check(variables)
            if experiment.fork:
                self._check_fork(experiment.fork)
        self.data = open_run_data(experiment, self.folder, settings)
        self.checkpoints = CheckpointWriter(
            self.folder / "checkpoints",
            keep_latest=self.config.keep_latest,
            keep_every=self.config.keep_every,
            keep_best=lambda steps: self.criterion.best(self.log.lines, steps),
        )
        self.evaluator = Evaluator(experiment, self.mesh)
        self.criterion = Criterion.of(self.config)
        if self.criterion.metric and not self.checkpoints.steps():
            check_criterion(self.criterion, self.program, self.evaluator, self.data)
        self.clock = Clock()
        self.state = self._first_state()
        for note in experiment.notes:
            self.display.log(note)
        self.step = int(self.state.step)
        self.wall_time.begin(self.folder, self.step, experiment.steps, writes=is_main())
        self.log = MetricsLog(
            self.folder, self.step, writes=is_main(), trackers=self._make_trackers(settings, trackers)
        )
        self._changes = read_changes(self.folder)
        self._check_log()
        if STEPS in self._changed:
            self._tell_schedules()
        self.ended = self.criterion.metric != "" and of_main(self.criterion.ends(self.log.lines))
        self.watchdog = Watchdog()
        self._along_batch = sharding.batch_sharding(self.mesh)
        self._unwritten: LoggedInterval | None = None
        self._logged_clock = self.clock

    def _make_trackers(self, settings: Mapping[str, Any], others: Sequence[MakeTracker]) -> list[Tracker]:
        """TensorBoard and the others that are asked for, on the process that writes."""
        if not is_main():
            return []
        from ssl_jax.training.tensorboard import TensorBoard  # takes a tenth of a second

        others = [make(self.folder, settings) for make in others]
        return [TensorBoard(self.folder, self.step, settings), *others]

    def _first_state(self) -> TrainState:
        """This run's newest checkpoint, else a new state. The first line of the log says which."""
        state = self.checkpoints.restore_newest(self.program.state, self.display.log)
        if state is not None:
            notes = self.checkpoints.notes(int(state.step))
            self.clock = Clock(**notes.get("clock", {}))
            self.display.log(
                f"{self.folder}: continuing at step {int(state.step)} of {self.experiment.steps}"
                f"{f', with {differences(self._changed)}' if self._changed else ''}"
            )
            return state
        if self.experiment.fork:
            return self._forked(self.experiment.fork)
        state = self.program.initial_state()
        parameters = sum(x.size for x in jax.tree.leaves(state.params))
        start = " and ".join(start.source for start in self.experiment.starts) or "scratch"
        self.display.log(
            f"{self.folder}: starting from {start}; {parameters:,} parameters, {self.mesh.size} device(s)"
        )
        variables = state.variables
        for start in self.experiment.starts:
            variables = start.load(variables, self.folder, self.mesh, self.display.log)
        params, extras = split_variables(variables)
        return state._replace(params=params, extras=extras)

    def _check_fork(self, fork: Fork) -> None:
        """Raises UserError if the whole state of the checkpoint is not one of this run."""
        try:
            Checkpoints(fork.checkpoints).check(fork.step, self.program.state)
        except UserError as error:
            raise UserError(
                f"--with_optimizer: a run that begins with the whole state of {fork.source} needs its model, its "
                f"optimizer and its metrics. {error} Without --with_optimizer, only weights are taken."
            ) from error

    def _forked(self, fork: Fork) -> TrainState:
        """The whole state of another run's checkpoint."""
        source = Checkpoints(fork.checkpoints)
        self.clock = Clock(**source.notes(fork.step).get("clock", {}))
        self.display.log(
            f"{self.folder}: starting from {fork.source} with its optimizer, at step {fork.step} of "
            f"{self.experiment.steps}"
        )
        return source.restore(fork.step, self.program.state)

    def _check_log(self) -> None:
        """Says what a continued run's log should hold and does not. Nothing of it can be made again."""
        if wrong := irregular(self.log.lines, self._promised()):
            self.display.log(
                f"{self.folder / run_folder.LOG} is not what the run wrote up to step {self.step}: {wrong}. The run "
                "goes on, and its log stays so"
            )

    def _promised(self) -> Iterator[tuple[int, str | None]]:
        """(step, split) of the lines that the log holds by now. The evaluation of this very step may still follow."""
        begun = self.experiment.fork.step if self.experiment.fork else 0
        for step in due_steps(self._changes, LOG_EVERY, self.step, self.config.log_every):
            if step > begun:
                yield step, None
        if self.step == self.experiment.steps and self.step % self.config.log_every:
            yield self.step, None
        for step in due_steps(self._changes, EVAL_EVERY, self.step - 1, self.config.eval_every):
            phase, _ = self.experiment.phase_at(step - 1)
            for split in self.data.heldout[phase] if step >= begun else ():
                yield step, split

    def _tell_schedules(self) -> None:
        """Says what the schedules do where a run is given more steps: they are those of the longer run from here on."""
        last = next((line for line in reversed(self.log.lines) if "split" not in line), {})
        for name, schedule in self.experiment.schedules.items():
            before = f"from {last[name]:.4g} " if name in last else ""
            self.display.log(
                f"{name} is that of a run of {self.experiment.steps} steps from here on: it goes {before}to "
                f"{float(schedule(self.step)):.4g}"
            )

    def train(self) -> int:
        """Trains to the last step and makes the report. Returns the exit code, as `train` does."""
        with self._timed(), closing(self.log), closing(self.checkpoints):
            with StopRequest(current_hosts()) as stop, self.display, self.profiler, self.watchdog:
                with self.wall_time.of("step"):
                    stopped = self._train(stop)
                self.log.flush()
                with self.wall_time.of("checkpoint"):
                    self.checkpoints.wait()
            if stopped:
                saved = " and saved" if self.step > 0 else ""
                self.display.log(f"stopped{saved} at step {self.step}; the same command continues")
                self.wall_time.write(self.step, "stopped")
                return 128 + stop.signal
            with self.wall_time.of("report"):
                self._report()
            self.wall_time.write(self.step, "finished")
            return 0

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """Writes down an error that ends the run, beside the time that it took."""
        try:
            yield
        except BaseException as error:
            with suppress(UserError):  # that of the storage, which is then the error already
                self.wall_time.write(self.step, f"{type(error).__name__}: {error}")
            raise

    def _train(self, stop: StopRequest) -> bool:
        """Trains to the last step or the early end. Returns whether a signal stopped it before."""
        try:
            return self._train_phases(stop)
        except LeftAloneError:  # a signal came while a step was compiled
            return self._arrive(stop)

    def _train_phases(self, stop: StopRequest) -> bool:
        """Trains phase after phase; see `_train`."""
        number, done = self.experiment.phase_at(self.step)
        in_flight: deque[jax.Array] = deque()
        for phase, dataset in list(zip(self.experiment.phases, self.data.train, strict=True))[number:]:
            left = range(done, phase.steps)
            if not left or self.ended:
                break
            with self.wall_time.of("compile"):
                steps = TrainSteps(
                    self.program, phase, self.display.log, stop.at_once, self.utilization.operations
                )
                if self.profiler.enabled:
                    steps.compile_all()  # so that a trace shows steps, and no compilation
            with closing(training_batches(dataset, phase.batch_size, self._along_batch, left)) as batches:
                for _ in left:
                    if self._arrive(stop):
                        return True
                    if self.ended:
                        return False
                    started = time.perf_counter()
                    with self.watchdog.step(self.step + 1):
                        with self.wall_time.of("data_wait"):
                            batch = next(batches)
                        waited = time.perf_counter() - started
                        if not steps.compiled(batch):
                            with self.watchdog.paused(), self.wall_time.of("compile"):
                                started += steps.compile(batch)  # no time of training
                        step = steps(batch)
                        self.state, bad_step = step.run(self.state, batch)
                        in_flight.append(bad_step)
                        if len(in_flight) > STEPS_IN_FLIGHT:
                            in_flight.popleft().block_until_ready()
                    self.step += 1
                    self._tick(time.perf_counter() - started, waited, step)
                    self.profiler.after_step(self.step, self.state)
                    if self.step % self.config.log_every == 0 or self.step == self.experiment.steps:
                        self._take_metrics(bad_step)
            done = 0
        return self._arrive(stop)

    def _tick(self, seconds: float, waited: float, step: CompiledStep) -> None:
        clock = self.clock
        self.clock = Clock(
            clock.seconds + seconds,
            clock.waiting + waited,
            clock.work + step.work,
            clock.operations + step.operations,
        )
        self.display.advance(self.step)

    def _take_metrics(self, bad_step: jax.Array) -> None:
        """Keeps the metrics of this interval for later and writes those of the one before, which are ready by now."""
        self._write_metrics()
        schedules = {name: schedule(self.step - 1) for name, schedule in self.experiment.schedules.items()}
        self._unwritten = LoggedInterval(self.step, self.state.metrics, schedules, bad_step, self.clock)
        self.state = self.program.cleared(self.state)

    def _write_metrics(self) -> None:
        if self._unwritten is None:
            return
        step, metrics, schedules, bad_step, clock = self._unwritten
        self._unwritten = None
        self._stop_if_bad(int(bad_step))
        metrics = means(jax.device_get(metrics))
        metrics |= {name: float(value) for name, value in schedules.items()}
        before, self._logged_clock = self._logged_clock, clock
        seconds = max(clock.seconds - before.seconds, 1e-9)
        speed = (clock.work - before.work) / seconds
        waits = gather((clock.waiting - before.waiting) / seconds)
        waiting = sum(waits) / len(waits)
        unit = self.experiment.phases[0].work[0]
        timing = {"seconds": clock.seconds, f"{unit}_per_second": speed, "data_wait": waiting}
        if len(waits) > 1:
            timing["largest_data_wait"] = max(waits)
        used = self.utilization.share(clock.operations - before.operations, seconds)
        if used is not None:
            timing["mfu"] = used
        self.log.write(step, metrics, timing=timing)
        shown = {name: metrics[name] for name in self.experiment.headline if name in metrics}
        left = (self.experiment.steps - step) * clock.seconds / max(step, 1)
        self.display.show(step, shown, speed=speed, waits=waits, mfu=used, seconds_left=left)

    def _stop_if_bad(self, bad_step: int) -> None:
        """Raises UserError if a step met NaN or infinity; the state has not changed since."""
        if not bad_step:
            return
        self.checkpoints.wait()
        saved = self.checkpoints.steps()
        kept = (
            f"checkpoint {saved[-1]} is the last good one" if saved else "no checkpoint had been written yet"
        )
        raise UserError(
            f"{self.folder}: step {bad_step}: the loss or its gradient is not finite. Training stopped; {kept}. The "
            "same command would meet the same step: look for NaN in the data, or lower the learning rate or clip the "
            f"gradient in a new --workdir{f' with --init_from {self.folder}' if saved else ''}."
        )

    def _arrive(self, stop: StopRequest) -> bool:
        """Evaluates and saves if that is due at this step. Returns whether to stop here."""
        stopping = stop.due()
        last = self.step == self.experiment.steps or self.ended
        save = last or self.step % self.config.save_every == 0
        evaluate = last or self.step % self.config.eval_every == 0
        if self.step > 0 and (save or evaluate or stopping):
            self._write_metrics()
            self._stop_if_bad(int(self.state.bad_step))
            if evaluate and not stopping:
                with self.wall_time.of("evaluation"):
                    stopping = not self._evaluate(stop)
                if not stopping and self._is_best_or_ends():
                    save = True
            if save or stopping:
                self._save()
        return stopping

    def _is_best_or_ends(self) -> bool:
        """Whether the evaluation of this step is the best, or ends the run early. The hosts agree on it."""
        if not self.criterion.metric:
            return False
        lines = self.log.lines
        best, self.ended = of_main([self.criterion.best(lines), self.criterion.ends(lines)])
        return self.ended or best == self.step

    def _evaluate(self, stop: StopRequest) -> bool:
        """Evaluates on the splits that the log lacks, then samples. Returns False if a signal stopped it before."""
        phase, _ = self.experiment.phase_at(self.step - 1)
        missing = False
        for split in self.data.heldout[phase]:
            if self.log.evaluated(self.step, split):
                continue
            missing = True
            metrics = self.evaluator(
                self.state.params,
                self.state.extras,
                self.data,
                split,
                phase=phase,
                interrupted=stop.due,
                leave=stop.at_once,
            )
            if metrics is None:
                return False
            self.log.write(self.step, metrics, split=split)
            shown = (
                format_metric(name, metrics[name]) for name in self.experiment.headline if name in metrics
            )
            self.display.log(f"step {self.step}  {split}: {'  '.join(shown)}")
        # A checkpoint of this step is saved after it was sampled, so that a complete log means samples as well.
        if missing and self.experiment.sample:
            self.experiment.sample(self._shown(self.step, self.state.variables))
            self.log.show_files(self.step)
        return True

    def _save(self) -> None:
        if self.step not in self.checkpoints.steps():
            self.log.flush()
            with self.wall_time.of("checkpoint"):
                self.checkpoints.save(self.state, {"clock": asdict(self.clock)})
            self.wall_time.write(self.step)

    def _report(self) -> None:
        """Draws the curves, makes the experiment's own report, and logs where everything is."""
        if self.ended:
            self.display.log(
                f"{self.criterion} was no better in the last {self.criterion.patience} evaluations: the run ends early"
            )
        self.display.log(f"finished {self.step} steps in {duration(self.clock.seconds)} of training")
        shown = self._shown(*self._best())
        try:
            if self.experiment.report:
                self.experiment.report(shown)
        finally:  # curves are there even if the report fails
            if is_main():
                if shown.baselines:
                    write_json(self.folder / run_folder.BASELINES, shown.baselines)
                curves = {self.folder.name: self.log.lines}
                figures = draw_curves(curves, [*self.experiment.headline, *COLLAPSE], shown.baselines)
                save_figures(figures, self.folder / "plots")
                self.log.show_files(self.step)
        self.display.log(f"checkpoints, metrics.jsonl, tensorboard and plots are in {self.folder}")

    def _best(self) -> tuple[int, Mapping[str, Any]]:
        """(step, variables) that the report is made of: the best ones, or the last ones if there is no criterion."""
        if not self.criterion.metric:
            return self.step, self.state.variables
        best = of_main(self.criterion.best(self.log.lines, self.checkpoints.steps()))
        if best is None:
            self.display.log(f"{self.criterion} was never finite: the report is of the last step")
            return self.step, self.state.variables
        value = self.criterion.values(self.log.lines)[best]
        self.display.log(
            f"the report is of step {best}, with the best {self.criterion} ({value:.6g}): {self.folder}@best"
        )
        if best == self.step:
            return best, self.state.variables
        variables = self.program.state.variables
        self.state = self.state._replace(
            params=None, extras=None, opt_state=None
        )  # makes room for the best ones
        return best, self.checkpoints.restore_model(best, variables)

    def _shown(self, step: int, variables: Mapping[str, Any]) -> Report:
        """The report of the model after a step."""
        phase, _ = self.experiment.phase_at(step - 1)
        return Report(
            folder=self.folder,
            writes=is_main(),
            log=self.display.log,
            step=step,
            variables=variables,
            data=self.data,
            heldout=self.data.heldout[phase],
            metrics={split: self.log.last(split, step) for split in self.data.heldout[phase]},
            mesh=self.mesh,
            batch_size=self.config.batch_size,
            initial_variables=lambda: self.program.initial_state().variables,
        )


def train(
    experiment: Experiment,
    folder: epath.PathLike,
    settings: Mapping[str, Any],
    *,
    profile: int = 0,
    trackers: Sequence[MakeTracker] = (),
) -> int:
    """Runs an experiment in a folder, from wherever it stands.

    Args:
      experiment: what to train.
      folder: the run folder, local or gs://.
      settings: the run's configuration as JSON; see `runs.configuration.run_settings`.
      profile: steps to write a `jax.profiler` trace of, into the folder profile/ of the run.
      trackers: where the run is shown besides TensorBoard: `(run folder, settings) -> Tracker`, called in the process
        that writes.

    Returns:
      The exit code: 0, or 128 + the number of the signal that ended the run early.

    Raises:
      UserError: the run cannot start or go on.
    """
    folder = epath.Path(folder).expanduser()
    if not same_everywhere([str(folder), settings]):
        raise UserError("the hosts were given different commands; give all of them the same one.")
    with ExitStack() as held:
        on_main(lambda: held.enter_context(locked(folder, print)))
        check_shared(folder)
        sync("folder seen")
        return Run(experiment, folder, settings, profile=profile, trackers=trackers).train()
