"""Runs that go on, and forks of them.

`--resume RUN` goes on with the run in a folder, or with a copy of it, with the settings that are saved there.
`--init_from RUN@STEP --with_optimizer` begins a new run, with any settings, with the whole state of a checkpoint.
"""

from collections.abc import Callable, Iterator

from etils import epath

from ssl_jax.bucket import is_remote
from ssl_jax.errors import UserError
from ssl_jax.files import copy_file, draft_of, is_draft, read_json, write_whole, writing
from ssl_jax.runs.configuration import (
    Config,
    RunSettings,
    SavedRun,
    read_config,
    read_settings,
    restore_config,
)
from ssl_jax.runs.reference import RunReference, choose_step
from ssl_jax.training import lock
from ssl_jax.training.checkpoints import Checkpoints
from ssl_jax.training.distributed import announce, on_main
from ssl_jax.training.experiment import Experiment, Fork
from ssl_jax.training.folder import CHECKPOINTS, CONFIG, DAMAGED


def read_resumed(source: str, module: str) -> SavedRun:
    """What is saved of a run or a study that is to be resumed.

    Args:
      source: as the user wrote it.
      module: name of the experiment that the user has called.

    Raises:
      UserError: it is not a run folder, or one of another experiment, or names a checkpoint.
    """
    reference = RunReference.parse(source)
    if reference.step is not None:
        raise UserError(
            f"--resume {source}: a run goes on from its newest checkpoint. To start a new run from the whole state of "
            f"another checkpoint: --init_from {source} --with_optimizer, and a --workdir."
        )
    settings, found = read_settings(reference.folder)
    if settings["experiment"] != module:
        raise UserError(
            f"--resume {source}: is of {settings['experiment']}; the command is python -m {settings['experiment']} "
            f"--resume {source}."
        )
    return SavedRun(settings, found, read_config(settings, found, reference.folder))


def copy_resumed(source: str, folder: epath.Path) -> None:
    """Copies the run that is resumed, if it is to go on in another folder. Every process calls it.

    Args:
      source: as the user wrote it.
      folder: where the run goes on: its own, or that of the copy.
    """
    own = epath.Path(source).expanduser()
    if folder != own and on_main(lambda: copy_whole_run(own, folder)):
        announce(f"{folder}: a copy of {own}, which stays as it is")


def copy_whole_run(source: epath.Path, folder: epath.Path) -> bool:
    """Copies the folder of a run or a study, which stays as it is. Process 0 calls it.

    Checkpoints come before the log, which is never behind them, so that a run that is going on can be copied.

    Args:
      source: the folder.
      folder: of the copy.

    Returns:
      False if there is a run in that place already, such as the copy.

    Raises:
      UserError: the folder holds something else, or cannot be written, or the source lost files meanwhile.
    """
    if (folder / CONFIG).exists():
        return False
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty and not a run folder; choose another --workdir.")
    draft = folder if is_remote(folder) else draft_of(folder)
    try:
        with writing(folder):
            for path in _files(source):
                target = draft / path.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                copy_file(path, target)
            write_whole(draft / CONFIG, (source / CONFIG).read_bytes())
            if draft != folder:
                if folder.exists():
                    folder.rmdir()
                draft.replace(folder)
    except UserError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise UserError(
                f"{source}: changed while it was copied, as a run that is going on does. Run the same command again."
            ) from error
        raise
    finally:
        if draft != folder and draft.exists():
            draft.rmtree()
    return True


def _files(folder: epath.Path) -> Iterator[epath.Path]:
    """The files of a run, but for its own config.json: checkpoints first."""
    inside = sorted(folder.iterdir(), key=lambda path: (path.name != CHECKPOINTS, path.name))
    for path in inside:
        if path.is_dir() and path.name != DAMAGED:
            yield from _below(path)
        elif path.is_file() and path.name not in (CONFIG, lock.FILE) and not is_draft(path):
            yield path


def _below(folder: epath.Path) -> Iterator[epath.Path]:
    for path in folder.iterdir():
        if path.is_dir():
            yield from _below(path)
        elif path.name != lock.FILE:
            yield path


def check_phases(build: Callable[[Config], Experiment], config: Config, folder: epath.Path) -> None:
    """Checks that more steps leave the steps that are done in the phase in which they were trained.

    Args:
      build: of the experiment.
      config: with which the run is to go on.
      folder: of the run.

    Raises:
      UserError: a run of several phases would have trained some of its steps in another one.
    """
    settings = read_json(folder / CONFIG, RunSettings)
    if settings["config"].get("steps") == getattr(config, "steps", None):
        return
    before = build(restore_config(config, settings["config"], folder / CONFIG))
    after = build(config)
    done = max(Checkpoints(folder / CHECKPOINTS).steps(), default=0)
    if done and before.phase_at(done - 1) != after.phase_at(done - 1):
        phases = " and ".join(str(phase.steps) for phase in before.phases)
        raise UserError(
            f"{folder}: --steps {after.steps} would move the boundary of the phases of {phases} steps, and the run is "
            f"at step {done} already. Keep --steps {before.steps}, or start a new run from these weights with "
            f"--workdir and --init_from {folder}."
        )


def fork_from(experiment: Experiment, source: RunReference, *, begun: bool) -> Experiment:
    """The experiment that begins with the whole state of a checkpoint, in place of what it starts from otherwise.

    Raises:
      UserError: the source is no such checkpoint, or is at the last step already; or the experiment also starts from
        another run, which is not part of the state.
    """
    if not isinstance(source.step, int):
        raise UserError(
            f"--with_optimizer: name the checkpoint of a run, as in --init_from {source.folder}@1000."
        )
    if len(experiment.starts) > 1:
        raise UserError(
            f"--with_optimizer: this experiment begins with a run of its own ({experiment.starts[-1].source}), which a "
            f"checkpoint does not hold. --resume {source.folder} with a --workdir goes on in a copy of the whole run."
        )
    checkpoints = source.folder / CHECKPOINTS
    if not begun:
        choose_step(Checkpoints(checkpoints), source)
        if source.step >= experiment.steps:
            raise UserError(
                f"--with_optimizer: {source} has finished {source.step} steps, and this run ends after "
                f"{experiment.steps}; give more --steps."
            )
    return experiment._replace(starts=(), fork=Fork(str(source), checkpoints, source.step))
