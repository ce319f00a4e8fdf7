"""Checkpoints of a run, read on any mesh and compared with what was saved."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, NotRequired, TypedDict

import jax
import jax.numpy as jnp
from etils import epath

from ssl_jax.bucket import is_remote, list_all
from ssl_jax.errors import UserError
from ssl_jax.files import check_json, read_json
from ssl_jax.method import Tree
from ssl_jax.training.distributed import anywhere
from ssl_jax.training.fingerprints import ArrayNote, describe, storable
from ssl_jax.training.memory import check_memory
from ssl_jax.training.paths import named_leaves
from ssl_jax.training.reading_once import copied, cut_over_copies
from ssl_jax.training.state import TrainState
from ssl_jax.training.stored_arrays import (
    DamageError,
    check_access,
    load_arrays,
    not_readable,
    on_devices,
    open_arrays,
    reason,
)

NOTES_FILE = "_CHECKPOINT_METADATA"
"""File of a checkpoint with the notes, under the key `custom_metadata`."""
COMMITTED = "commit_success.txt"
"""File of a complete checkpoint on gs://, where folders are not renamed."""


class ClockNote(TypedDict):
    """Time of training at a checkpoint; see `training.clock.Clock`."""

    seconds: float
    waiting: float
    work: float
    operations: NotRequired[float]


class Notes(TypedDict):
    """What is saved beside the state: what its arrays are, and what the caller adds."""

    arrays: dict[str, ArrayNote]
    clock: NotRequired[ClockNote]


def parts_of(state: TrainState) -> dict[str, Tree]:
    """What is stored under which name: the model apart, so that it can be read without the optimiser."""
    rest = state._asdict()
    return {"model": {"params": rest.pop("params"), **rest.pop("extras")}, "training": rest}


def join(parts: Mapping[str, Tree]) -> TrainState:
    """The state of its parts."""
    extras = dict(parts["model"])
    return TrainState(params=extras.pop("params"), extras=extras, **parts["training"])


class Checkpoints:
    """The checkpoints/ folder of a run, to read. Every process calls every method, with the same arguments."""

    def __init__(self, folder: epath.Path) -> None:
        """Opens the folder, which may be absent."""
        self.folder = epath.Path(folder).resolve()

    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, ascending.

        Raises:
          UserError: the folder cannot be read.
        """
        try:
            names = self._names()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UserError(f"{self.folder} cannot be read ({reason(error)}).") from error
        return sorted(int(name) for name in names if re.fullmatch("0|[1-9][0-9]*", name))

    def _names(self) -> list[str]:
        """What is in the folder; on gs://, what is complete."""
        if not is_remote(self.folder):
            return [path.name for path in self.folder.iterdir()]
        return [name for name, *rest in self._objects() if rest == [COMMITTED]]

    def _objects(self) -> list[list[str]]:
        """The parts of the names of all objects in the folder, on gs://."""
        return [path.removeprefix(f"{self.folder}/").split("/") for path in list_all(str(self.folder))]

    def notes(self, step: int) -> Notes:
        """What is noted of a checkpoint.

        Raises:
          UserError: it cannot be read, or holds something else.
        """
        file = self.folder / str(step) / NOTES_FILE
        return check_json(read_json(file, dict[str, Any]).get("custom_metadata"), Notes, file)

    def restore(self, step: int, abstract: TrainState) -> TrainState:
        """The state at a step, placed as `abstract`'s shardings say.

        Raises:
          UserError: the checkpoint is damaged, is of other arrays, cannot be read, or does not fit into memory.
        """
        with self._telling_readers(step):
            return join(self.read(step, parts_of(abstract)))

    def check(self, step: int, abstract: TrainState) -> None:
        """Checks that a checkpoint has the arrays of a state, which are not read. Raises like `restore`."""
        with self._telling_readers(step):
            self._check_model(step, self.arrays(step), named_leaves(parts_of(abstract)))

    def restore_model(self, step: int, abstract: Tree) -> Tree:
        """Only {"params": ..., **extras} of a step. Raises like `restore`."""
        with self._telling_readers(step):
            return self.read(step, {"model": abstract})["model"]

    def model_shapes(self, step: int) -> Tree:
        """Shape and dtype of every array of the model at a step, by what is noted of it. Raises like `restore`."""
        tree: dict[str, Any] = {}
        with self._telling_readers(step):
            for name, note in self.arrays(step).items():
                part, *path, last = name.split("/")
                if part != "model":
                    continue
                branch: Any = tree
                for key in path:
                    branch = branch.setdefault(key, {})
                    if not isinstance(branch, dict):
                        raise DamageError(f"{name}: not an array that is saved")
                branch[last] = jax.ShapeDtypeStruct(note["shape"], jnp.dtype(note["dtype"]))
        return tree

    def read(self, step: int, abstract: dict[str, Tree]) -> dict[str, Tree]:
        """Parts of a checkpoint, as `parts_of` gives them.

        Args:
          step: of the checkpoint.
          abstract: shapes, dtypes and shardings of the parts.

        Raises:
          DamageError: it is damaged.
          UserError: it is of other arrays, cannot be read, or does not fit into memory. Each of them is raised on
            every process if on one.
        """
        loaded: dict[str, jax.Array] = {}
        failure: Exception | None = None
        checkpoint = self.folder / str(step)
        try:
            notes = self.arrays(step)
            wanted = named_leaves(abstract)
            self._check_model(
                step, {n: x for n, x in notes.items() if n.partition("/")[0] in abstract}, wanted
            )
            check_memory(abstract, checkpoint)
            loaded = load_arrays(checkpoint, notes, {name: cut_over_copies(x) for name, x in wanted.items()})
        except (DamageError, UserError) as error:
            failure = error
        if anywhere(isinstance(failure, UserError)):
            if isinstance(failure, UserError):
                raise failure
            raise UserError(f"{checkpoint}: another process cannot read it; its output says why.")
        if anywhere(failure is not None):
            raise failure or DamageError("another process found it so")
        parts = jax.tree.unflatten(jax.tree.structure(abstract), [loaded.pop(name) for name in wanted])
        with on_devices(checkpoint):
            parts = copied(parts, abstract)
            found = describe(parts)
        changed = [name for name in found if found[name] != notes[name]]
        if changed:
            raise DamageError(f"{', '.join(changed[:3])}: not what was saved")
        return parts

    def arrays(self, step: int) -> dict[str, ArrayNote]:
        """What is noted of the arrays.

        Raises:
          DamageError: it cannot be decoded, or is not of this step.
          UserError: the system does not let the checkpoint be read.
        """
        check_access(self.folder / str(step))
        try:
            arrays = self.notes(step)["arrays"]
        except UserError as error:
            if isinstance(error.__cause__, OSError):
                raise not_readable(self.folder / str(step), reason(error.__cause__)) from error
            raise DamageError(f"its notes, in {NOTES_FILE}, are missing or cannot be decoded") from error
        if "training/step" not in arrays or arrays["training/step"]["fingerprint"] != step:
            raise DamageError("it is of another step")
        for name, note in arrays.items():
            try:
                known = storable(jnp.dtype(note["dtype"])) and min(note["shape"], default=1) > 0
            except TypeError:
                known = False
            if not known or not re.match("(model|training)/.", name):  # the part is a folder that is read
                raise DamageError(f"{name}: not an array that is saved")
        return arrays

    def _check_model(self, step: int, saved: Mapping[str, ArrayNote], wanted: Mapping[str, Any]) -> None:
        """UserError if a checkpoint is of other arrays; DamageError if only its notes say so."""
        ours = {name: (list(x.shape), x.dtype.name) for name, x in wanted.items()}
        theirs = {name: (note["shape"], note["dtype"]) for name, note in saved.items()}
        different = sorted(n for n in ours.keys() | theirs.keys() if ours.get(n) != theirs.get(n))
        if not different:
            return
        open_arrays(self.folder / str(step), saved)
        name = different[0]
        if ours.keys() == theirs.keys() and all(ours[n][0] == theirs[n][0] for n in different):
            raise UserError(
                f"{self.folder}: checkpoint {step} is sound, but {len(different)} arrays have another dtype here, such "
                f"as {name}: {theirs[name][1]} there, {ours[name][1]} here. Run with the settings of JAX (such as "
                "JAX_ENABLE_X64) and of the configuration that it was trained with; nothing was moved."
            )
        raise UserError(
            f"{self.folder}: checkpoint {step} was written by other code or another configuration; "
            f"{len(different)} arrays differ, such as {', '.join(different[:5])}. "
            "Run the revision named in environment.json, or start anew with another --workdir."
        )

    @contextlib.contextmanager
    def _telling_readers(self, step: int) -> Iterator[None]:
        """Turns damage into a UserError that names the checkpoint to use instead."""
        try:
            yield
        except (DamageError, FileNotFoundError) as damage:
            if not (self.folder / str(step)).exists():
                raise UserError(
                    f"{self.folder.parent}: checkpoint {step} was removed while it was read, as a run that is going on "
                    "does with its older ones. Run the same command again."
                ) from damage
            if isinstance(damage, FileNotFoundError):
                raise
            older = next((s for s in reversed(self.steps()) if s < step and self._looks_sound(s)), None)
            instead = (
                "There is no sound one before it; bring it back from a backup."
                if older is None
                else f"The one before it is {self.folder.parent}@{older}; or bring this one back from a backup."
            )
            raise UserError(
                f"{self.folder.parent}: checkpoint {step} is damaged ({damage}). {instead}"
            ) from damage

    def _looks_sound(self, step: int) -> bool:
        """Whether a checkpoint has its notes and all of its arrays; their content is not read."""
        try:
            open_arrays(self.folder / str(step), self.arrays(step))
        except (DamageError, UserError):
            return False
        return True
