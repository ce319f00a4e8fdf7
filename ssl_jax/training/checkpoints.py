"""Checkpoints of a run: asynchronous, atomic, verified when they are read back, restorable on any mesh."""

import contextlib
import gc
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from orbax.checkpoint import v1 as ocp

from ssl_jax.errors import UserError
from ssl_jax.method import Tree
from ssl_jax.training.distributed import sync
from ssl_jax.training.paths import named_leaves
from ssl_jax.training.state import TrainState

policies = ocp.training.preservation_policies

SMALL = 2**20
"""Bytes of a replicated array for each of its devices, below which one of them writes all of it: to cut it, a program
would be compiled for its shape at the first save."""


def describe(tree: Tree) -> dict[str, list]:
    """Shape and fingerprint of every array by its name, as JSON."""
    arrays = named_leaves(tree)
    marks = np.asarray(fingerprint(tree)).tolist()
    return {name: [*x.shape, mark] for (name, x), mark in zip(arrays.items(), marks, strict=True)}


@jax.jit
def fingerprint(tree: Tree) -> jax.Array:
    """One uint32 per leaf: the sum of its bits, read as integers, modulo 2^32.

    Integer sums do not depend on the order, hence not on the mesh. It tells a file whose bytes changed from a sound
    one, which the storage format alone does not.
    """

    def bits(x: jax.Array) -> jax.Array:
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x = jax.random.key_data(x)
        if x.dtype == jnp.bool_:
            return x.sum(dtype=jnp.uint32)
        unsigned = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint32}[x.dtype.itemsize]
        return jax.lax.bitcast_convert_type(x, unsigned).astype(jnp.uint32).sum(dtype=jnp.uint32)

    return jnp.stack([bits(x) for x in jax.tree.leaves(tree)])


def _parts(state: TrainState) -> dict[str, Tree]:
    """What is stored under which name: the model apart, so that it can be read without the optimiser."""
    rest = state._asdict()
    return {"model": {"params": rest.pop("params"), **rest.pop("extras")}, "training": rest}


def _join(parts: Mapping[str, Tree]) -> TrainState:
    extras = dict(parts["model"])
    return TrainState(params=extras.pop("params"), extras=extras, **parts["training"])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences what a reader says about a damaged file, also that of the tasks it leaves behind for the collector."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    logging.disable()
    try:
        yield
    finally:
        gc.collect()
        logging.disable(logging.NOTSET)
        sys.unraisablehook = hook


def _reason(error: BaseException) -> str:
    """Why the system refused to write, in its own words; if nothing tells, the end of what the library says.

    The storage library keeps the system's error code in its text only, after a path of any length.
    """
    cause = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)
        if code := re.search(r"os_error_code='(\d+)'", str(cause)):
            return os.strerror(int(code[1]))
        cause = cause.__cause__ or cause.__context__
    return (str(error).strip() or type(error).__name__).splitlines()[-1][-300:]


class Checkpoints:
    """The checkpoints/ folder of a run. Every process calls every method, with the same arguments."""

    def __init__(
        self, folder: epath.Path, *, keep_latest: int | None = None, keep_every: int | None = None
    ) -> None:
        """With `keep_latest`, a folder to write: leavings of an interrupted save are removed, old checkpoints pruned
        but for every `keep_every` steps. Without it, a folder to read."""
        self.folder = epath.Path(folder).resolve()
        writing = keep_latest is not None
        kept = [policies.LatestN(keep_latest)] if writing else [policies.PreserveAll()]
        if keep_every is not None:
            kept.append(policies.EveryNSteps(keep_every))
        self._open = lambda: ocp.training.Checkpointer(
            self.folder,
            preservation_policy=policies.AnyPreservationPolicy(kept),
            cleanup_tmp_directories=writing,
        )
        self._checkpointer = self._open()
        self._pending = None

    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, ascending."""
        return [checkpoint.step for checkpoint in self._checkpointer.checkpoints]

    def save(self, state: TrainState, notes: Mapping[str, Any]) -> None:
        """Starts writing; returns when the state is copied and may change. `notes` is JSON.

        Raises UserError if the folder, or the disk, does not take it, now or with the next `save` or `wait`; the
        checkpoints already there are not touched.
        """
        self.wait()
        step = int(state.step)
        parts = _parts(state)
        options = ocp.Context()
        options.array_options.saving.min_slice_bytes_for_replica_parallel = SMALL
        try:
            with options:
                self._pending = self._checkpointer.save_checkpointables_async(
                    step, parts, force=True, custom_metadata={**notes, "arrays": describe(parts)}
                )
        except (OSError, ValueError) as error:
            raise self._not_written(error) from error

    def wait(self) -> None:
        """Returns when nothing is being written. Raises like `save`."""
        pending, self._pending = self._pending, None
        try:
            if pending is not None:
                pending.result()
        except (OSError, ValueError) as error:
            raise self._not_written(error) from error

    def _not_written(self, error: Exception) -> UserError:
        sound = [path.name for path in self.folder.iterdir() if path.name.isdigit()]
        return UserError(
            f"{self.folder}: a checkpoint could not be written ({_reason(error)}). "
            f"Complete checkpoints kept: {', '.join(sorted(sound, key=int)) or 'none'}. Free some space or "
            "give write permission, then run the same command again: it continues from the newest one; or choose "
            "another --workdir."
        )

    def notes(self, step: int) -> dict[str, Any]:
        """What `save` was given beside the state."""
        return dict(self._checkpointer.checkpointables_metadata(step).custom_metadata)

    def restore(self, step: int, abstract: TrainState) -> TrainState:
        """The state at a step, placed as `abstract`'s shardings say. Raises if the files are damaged."""
        parts = self._checkpointer.load_checkpointables(step, _parts(abstract))
        found, saved = describe(parts), self.notes(step)["arrays"]
        changed = [name for name in saved if found.get(name) != saved[name]]
        if changed:
            raise ValueError(f"{', '.join(changed[:3])}: not what was saved")
        return _join(parts)

    def restore_model(self, step: int, abstract: Tree) -> Tree:
        """Only {"params": ..., **extras} of a step."""
        return self._checkpointer.load_checkpointables(step, {"model": abstract})["model"]

    def model_shapes(self, step: int) -> Tree:
        """Shape and dtype of every array of the model at a step, read from the checkpoint itself."""
        stored = self._checkpointer.checkpointables_metadata(step).metadata["model"]
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), stored)

    def restore_newest(self, abstract: TrainState, log: Callable[[str], None]) -> TrainState | None:
        """The newest sound state, or None if nothing was ever saved.

        A damaged checkpoint is reported, moved into the run's damaged/ folder, and the one before it tried. UserError
        if none is sound (a run with a history never starts again from scratch by itself), or if the checkpoints are
        sound but of another model.
        """
        steps = self.steps()
        for step in reversed(steps):
            with _quiet():
                try:
                    self._check_model(step, abstract)
                    return self.restore(step, abstract)
                except UserError:
                    raise
                except Exception as error:  # whatever a damaged file makes the reader raise
                    reason = (str(error).strip().splitlines() or [""])[0][:200]
                    reason = f"{type(error).__name__}: {reason}"
            log(f"checkpoint {step} is damaged ({reason}); moved to {self._damaged / str(step)}")
            self._set_aside(step)
        if steps or self._damaged.exists():
            raise UserError(
                f"{self.folder}: none of the checkpoints can be read (the damaged ones are in {self._damaged}). "
                "Restore one from a backup, or start anew with another --workdir."
            )
        return None

    def _check_model(self, step: int, abstract: TrainState) -> None:
        """UserError if a checkpoint is of other arrays, going by its notes, which tell that from a damaged one."""
        saved = {name: shape for name, (*shape, _) in self.notes(step)["arrays"].items()}
        wanted = {name: list(x.shape) for name, x in named_leaves(_parts(abstract)).items()}
        different = sorted(n for n in saved.keys() | wanted.keys() if saved.get(n) != wanted.get(n))
        if different:
            raise UserError(
                f"{self.folder}: checkpoint {step} was written by other code or another configuration; "
                f"{len(different)} arrays differ, such as {', '.join(different[:5])}. "
                "Run the revision named in environment.json, or start anew with another --workdir."
            )

    @property
    def _damaged(self) -> epath.Path:
        return self.folder.parent / "damaged"

    def _set_aside(self, step: int) -> None:
        self._checkpointer.close()
        if jax.process_index() == 0:
            self._damaged.mkdir(parents=True, exist_ok=True)
            if (self._damaged / str(step)).exists():
                (self._damaged / str(step)).rmtree()
            (self.folder / str(step)).rename(self._damaged / str(step))
        sync(f"set aside {step}")
        self._checkpointer = self._open()

    def close(self) -> None:
        """Waits for what is being written. Raises like `save`."""
        try:
            self.wait()
        finally:
            with contextlib.suppress(OSError, ValueError):  # the failure that `wait` has told, again
                self._checkpointer.close()
