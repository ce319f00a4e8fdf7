"""Checkpoints written: asynchronous, atomic, read back after they are written."""

import errno
import glob
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
from etils import epath
from orbax.checkpoint import v1 as ocp

from ssl_jax.bucket import StorageError, is_remote, move_folder
from ssl_jax.errors import UserError
from ssl_jax.files import writing
from ssl_jax.method import Tree
from ssl_jax.training.checkpoints import COMMITTED, Checkpoints, join, parts_of
from ssl_jax.training.distributed import anywhere, is_main, on_main, sync
from ssl_jax.training.fingerprints import ArrayNote, describe, storable
from ssl_jax.training.memory import check_memory
from ssl_jax.training.paths import named_leaves
from ssl_jax.training.state import TrainState
from ssl_jax.training.stored_arrays import DamageError, check_stored, reason, system_error

DRAFT = ".orbax-checkpoint-tmp"
"""End of the name of a folder that is being written; on gs://, where folders are not renamed, `COMMITTED` tells."""
PRUNED = ".pruned"
"""Folder of a checkpoint that is being removed: not among the others when this is interrupted."""

SMALL = 2**20
"""Bytes of a replicated array for each of its devices, below which one of them writes all of it: to cut it, a program
would be compiled for its shape at the first save."""


class _LiteralPath(type(epath.Path())):
    """A local path whose own `[`, `*` and `?` are only characters: the storage library globs inside its folders."""

    def glob(self, pattern: str) -> Iterator["_LiteralPath"]:
        """The files of this folder that match a pattern."""
        return map(type(self), glob.iglob(os.path.join(glob.escape(os.fspath(self)), pattern)))


class CheckpointWriter(Checkpoints):
    """The checkpoints/ folder of a run that goes on: old checkpoints are removed, damaged ones moved out of the way."""

    def __init__(
        self,
        folder: epath.Path,
        *,
        keep_latest: int,
        keep_every: int | None = None,
        keep_best: Callable[[Sequence[int]], int | None] = lambda steps: None,
    ) -> None:
        """Opens the folder; leavings of an interrupted save are removed.

        Args:
          folder: of the checkpoints.
          keep_latest: so many checkpoints are kept.
          keep_every: checkpoints of these steps are kept as well.
          keep_best: `(steps of the complete checkpoints) -> step` of one that is kept as well; None for no other.

        Raises:
          UserError: the folder cannot be written.
        """
        super().__init__(folder)
        self._keep_latest, self._keep_every, self._keep_best = keep_latest, keep_every, keep_best
        on_main(self._remove_interrupted)
        self._pending: tuple[int, dict[str, ArrayNote], Any] | None = None

    def steps(self) -> list[int]:
        """Steps of the complete checkpoints and of the one that is being written. Raises like that of `Checkpoints`."""
        pending = {self._pending[0]} if self._pending else set()
        return sorted({*super().steps(), *pending})

    def save(self, state: TrainState, notes: Mapping[str, Any]) -> None:
        """Starts writing; returns when the state is copied and may change.

        The checkpoint before is read back first, then old ones are removed.

        Args:
          state: of the run.
          notes: `Notes` without the arrays.

        Raises:
          UserError: the folder, or the disk, does not take it, now or with the next `save` or `wait`, or what was
            written reads back differently. The checkpoints already there are not touched.
        """
        self.wait()
        step, parts = int(state.step), parts_of(state)
        place = self.folder / str(step)
        path = place if is_remote(place) else _LiteralPath(place)
        self._check_storable(parts)
        arrays = describe(parts)
        options = ocp.Context()
        options.array_options.saving.min_slice_bytes_for_replica_parallel = SMALL
        try:
            with options:
                writes = ocp.save_checkpointables_async(
                    path, parts, custom_metadata={**notes, "arrays": arrays}
                )
        except Exception as error:  # whatever a library raises, nothing was saved
            raise self._not_written(error) from error
        self._pending = step, arrays, writes

    def wait(self) -> None:
        """Returns when nothing is being written, what was written has been read back, and old ones are removed.

        Raises:
          UserError: like `save`.
        """
        if self._pending is None:
            return
        (step, arrays, writes), self._pending = self._pending, None
        failure = None
        try:
            writes.result()
        except Exception as error:  # whatever a library raises, nothing was saved
            failure = error
        if anywhere(failure is not None):
            raise self._not_written(failure or RuntimeError("another process failed")) from failure
        self._read_back(step, arrays)
        self._prune()

    def restore_newest(self, abstract: TrainState, log: Callable[[str], None]) -> TrainState | None:
        """The newest sound state, or None if nothing was ever saved.

        A damaged checkpoint is reported, moved into the run's damaged/ folder, and the one before it tried.

        Args:
          abstract: shapes, dtypes and shardings of the state.
          log: prints a line.

        Raises:
          UserError: no checkpoint is sound (a run with a history never starts again from scratch by itself); one is
            sound but of another model, or cannot be read for a reason outside of it, and stays where it is; or the
            state cannot be saved or held by this machine.
        """
        parts = parts_of(abstract)
        self._check_storable(parts)
        check_memory(parts, self.folder.parent)
        steps = self.steps()
        for step in reversed(steps):
            try:
                return join(self.read(step, parts))
            except DamageError as damage:
                moved = self._set_aside(step)
                log(f"checkpoint {step} is damaged ({damage}); moved to {moved}")
        if steps or self._damaged.exists():
            raise UserError(
                f"{self.folder}: none of the checkpoints can be read (the damaged ones are in {self._damaged}). "
                "Restore one from a backup, or start anew with another --workdir."
            )
        return None

    def close(self) -> None:
        """Waits for what is being written. Raises like `save`."""
        self.wait()

    def _remove_interrupted(self) -> None:
        """Removes what a save has begun and not finished."""
        with writing(self.folder):
            if is_remote(self.folder):
                objects = self._objects()
                complete = {name for name, *rest in objects if rest == [COMMITTED]}
                for name in {name for name, *_ in objects if name.isdigit()} - complete:
                    (self.folder / name).rmtree()
                return
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in self.folder.iterdir():
                if path.name.endswith(DRAFT):
                    path.rmtree()

    def _check_storable(self, parts: dict[str, Tree]) -> None:
        """UserError if the state holds an array that a checkpoint does not; found before the first step."""
        for name, x in named_leaves(parts).items():
            if x.size == 0 or not storable(x.dtype):
                raise UserError(
                    f"{self.folder.parent}: {name} is an array of shape {x.shape} and dtype {x.dtype.name}, which no "
                    "checkpoint holds: it takes integers, floating-point numbers and booleans, at least one. Change "
                    "the sizes of the model, or what its method keeps as state."
                )

    def _not_written(self, error: Exception) -> UserError:
        kept = ", ".join(map(str, self.steps())) or "none"
        again = (
            "then run the same command again: it continues from the newest one; or choose another --workdir."
        )
        cause = system_error(error)
        unreached = isinstance(cause, StorageError) and cause.errno == errno.EIO
        advice = (
            f"Free some space or give write permission, {again}"
            if cause and not unreached
            else f"If the storage was not reached, {again} If it refuses the state, change the model or its method."
        )
        return UserError(
            f"{self.folder}: a checkpoint could not be written ({reason(error)}). Complete checkpoints kept: {kept}. "
            f"{advice}"
        )

    def _read_back(self, step: int, arrays: dict[str, ArrayNote]) -> None:
        """Compares a checkpoint with what was saved; each process reads a share of it. UserError if it differs."""
        mine = sorted(arrays)[jax.process_index() :: jax.process_count()]
        why = None
        try:
            if self.arrays(step) != arrays:
                raise DamageError("its notes are not what was saved")
            check_stored(self.folder / str(step), {name: arrays[name] for name in mine})
        except (DamageError, UserError) as error:
            why = str(error)
        if anywhere(why is not None):
            kept = ", ".join(str(s) for s in self.steps() if s != step) or "none"
            raise UserError(
                f"{self.folder}: checkpoint {step} was written, but does not read back "
                f"({why or 'the output of another process says why'}). Older checkpoints are kept: {kept}. "
                "Check the disk and the memory of this machine, then run the same command again: it continues from the "
                "newest sound one."
            )

    def _prune(self) -> None:
        """Removes what need not be kept. Interrupted at any time, it leaves only whole checkpoints."""
        steps, every = self.steps(), self._keep_every
        best = self._keep_best(steps)
        old = [s for s in steps[: -self._keep_latest] if s != best and (not every or s % every)]
        if is_main():
            with writing(self.folder):
                if not is_remote(self.folder):
                    (self.folder / PRUNED).rmtree(missing_ok=True)
                for step in old:
                    self._remove(self.folder / str(step))
        sync(f"pruned after {steps[-1]}")

    def _remove(self, checkpoint: epath.Path) -> None:
        if is_remote(self.folder):
            (checkpoint / COMMITTED).unlink(missing_ok=True)
            checkpoint.rmtree()
        elif stat.S_ISDIR(os.lstat(checkpoint).st_mode):  # a file or a link of this name is the user's
            checkpoint.rename(self.folder / PRUNED).rmtree()

    @property
    def _damaged(self) -> epath.Path:
        return self.folder.parent / "damaged"

    def _set_aside(self, step: int) -> epath.Path:
        """Moves a checkpoint out of the way. Returns its new place, where nothing was before."""
        place, number = self._damaged / str(step), 1
        while place.exists():
            number += 1
            place = self._damaged / f"{step}-{number}"
        sync(f"place for {step}")
        if is_main():
            with writing(place):
                checkpoint = self.folder / str(step)
                if is_remote(place):
                    move_folder(str(checkpoint), str(place), last=COMMITTED)
                else:
                    self._damaged.mkdir(parents=True, exist_ok=True)
                    checkpoint.rename(place)
        sync(f"set aside {step}")
        return place
