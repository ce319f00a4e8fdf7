"""What differs between the run in a folder and one that is asked for, and which of it may change as the run goes on.

A run that is continued may train more steps, log, evaluate and save on other intervals, and find its data in another
place. What changed, and at which step, is written to continued.json of its folder, since its log follows from it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NotRequired, TypedDict

from etils import epath

from ssl_jax.errors import UserError
from ssl_jax.files import read_json, write_json

CONTINUED = "continued.json"
STEPS = "config.steps"
LOG_EVERY, EVAL_EVERY = "config.train.log_every", "config.train.eval_every"
INTERVALS = (
    LOG_EVERY,
    EVAL_EVERY,
    "config.train.save_every",
    "config.train.keep_latest",
    "config.train.keep_every",
)
TOPOLOGY = ("config.mesh.", "config.data.processes")
"""Settings that may differ without a word: the same curve, to rounding, comes from any mesh and any processes."""
PLACES = ("source", "heldout_source", "probe_source")
"""Last names of the settings that say where data is. That it is the same data is seen when it has been opened."""

Changed = Mapping[str, tuple[Any, Any]]
"""(old value, new value) by name of a setting."""


class Change(TypedDict):
    """Settings that changed when a run was continued.

    Attributes:
      step: of the checkpoint that it was continued from. The steps after it have the new values.
      before: the old values by name.
      after: the new ones.
    """

    step: int
    before: dict[str, Any]
    after: dict[str, Any]
    command: NotRequired[list[str]]


def flatten(settings: Any, prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}, "c": [{"d": 2}]} -> {"a.b": 1, "c.0.d": 2}. A list of numbers or texts stays one."""
    if isinstance(settings, list | tuple) and any(isinstance(element, Mapping) for element in settings):
        settings = dict(zip(map(str, range(len(settings))), settings, strict=True))
    if not isinstance(settings, Mapping):
        return {prefix: settings}
    joined = ((f"{prefix}.{key}" if prefix else key, value) for key, value in settings.items())
    return {name: leaf for key, value in joined for name, leaf in flatten(value, key).items()}


def changed_values(old: Any, new: Any) -> dict[str, tuple[Any, Any]]:
    """(old value, new value) by name of what differs between two settings, but for the topology."""
    before, after = flatten(old), flatten(new)
    names = [n for n in {**before, **after} if before.get(n) != after.get(n) and not n.startswith(TOPOLOGY)]
    return {name: (before.get(name), after.get(name)) for name in names}


def differences(changed: Changed) -> str:
    """Such as "views.0.size: 24 -> 8; train.seed: 0 -> 1": by the names that the settings have on a command line."""
    return "; ".join(
        f"{name.removeprefix('config.')}: {old!r} -> {new!r}" for name, (old, new) in changed.items()
    )


def refused(changed: Changed) -> dict[str, tuple[Any, Any]]:
    """Those of the changes with which a run that has been saved cannot be continued."""

    def is_free(name: str, old: Any, new: Any) -> bool:
        if name == STEPS:
            return isinstance(old, int) and isinstance(new, int) and new > old
        return name in INTERVALS or (name.startswith("config.") and name.rpartition(".")[2] in PLACES)

    return {name: values for name, values in changed.items() if not is_free(name, *values)}


def as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they are read back from a file."""
    return json.loads(json.dumps(settings))


def read_changes(folder: epath.Path) -> list[Change]:
    """What changed when a run was continued, in order; empty if nothing ever did. UserError if the file is damaged."""
    file = folder / CONTINUED
    return read_json(file, list[Change]) if file.exists() else []


def write_change(folder: epath.Path, step: int, changed: Changed, command: Sequence[str]) -> None:
    """Adds to what changed when a run was continued.

    Args:
      folder: of the run.
      step: of the checkpoint that it is continued from.
      changed: see `changed_values`.
      command: that continues it.
    """
    before, after = ({name: values[i] for name, values in changed.items()} for i in (0, 1))
    change = Change(step=step, before=before, after=after, command=list(command))
    write_json(folder / CONTINUED, [*read_changes(folder), change])


def due_steps(changes: Sequence[Change], name: str, last: int, now: int) -> Iterator[int]:
    """The steps at which something was due that happens on an interval, which may have changed.

    Args:
      changes: of the run, in order.
      name: of the setting with the interval, such as "config.train.log_every".
      last: of the steps.
      now: the present interval.

    Raises:
      UserError: continued.json holds an interval that is not a positive number.
    """
    stretches = [(change["step"], change["before"][name]) for change in changes if name in change["before"]]
    done = 0
    for end, every in [*stretches, (last, now)]:
        if type(every) is not int or every < 1:
            raise UserError(f"{CONTINUED}: {name} {every!r}; bring back the file as it was written.")
        yield from range((done // every + 1) * every, min(end, last) + 1, every)
        done = max(done, min(end, last))
