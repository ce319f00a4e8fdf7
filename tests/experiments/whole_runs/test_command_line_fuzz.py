"""Values of every kind on the command line of every experiment: refused by name at once, or the run can be built.

The suite tries a seeded sample; FUZZ_TRIES=100000 tries every value of every field:

    FUZZ_TRIES=100000 ./tpu_setup.sh pytest -n 0 tests/test_command_line_fuzz.py
"""

import dataclasses
import os
import random
import typing

import jax

from ssl_jax.cli import parse
from ssl_jax.errors import UserError
from ssl_jax.runs.listing import import_experiment
from ssl_jax.training.sharding import check_batch, make_mesh
from ssl_jax.training.step import make_initial_state, make_train_step
from tests.cases import SMALL

TRIES = int(os.environ.get("FUZZ_TRIES", "24"))

ODD = ["", "-1", "1e-300", "1e30", "99999999999999999999", "nan", "inf", "-inf", "None", "x"]
NUMBERS = ["0", "1", "2", "3", "0.5", "1000000000", *ODD]
TEXTS = ["", " ", "x", "(", "\udcff", "é", "a" * 5000, "None"]
VALUES = {
    bool: [["True"], ["False"], ["maybe"], ["1"]],
    int: [[word] for word in NUMBERS],
    float: [[word] for word in NUMBERS],
    str: [[word] for word in TEXTS],
}
TUPLES = [[], ["1"], ["2", "3"], ["0"], ["2", "-1"], ["nan", "nan"], ["1", "inf"], ["x"], ["2"] * 40]


class Try(typing.NamedTuple):
    """A command line."""

    experiment: str
    field: str
    words: tuple[str, ...]


def fields(settings, path=""):
    """(path, owner, annotation) of every single value of a configuration."""
    hints = typing.get_type_hints(type(settings))
    for field in dataclasses.fields(settings):
        value, at = getattr(settings, field.name), f"{path}{field.name}"
        nested = value if isinstance(value, tuple) else (value,)
        if nested and all(map(dataclasses.is_dataclass, nested)):
            for number, inner in enumerate(nested):
                yield from fields(inner, f"{at}.{number}." if isinstance(value, tuple) else f"{at}.")
        else:
            yield at, type(settings), hints[field.name]


def values(hint):
    """What to write for a field with this annotation."""
    kinds = [kind for kind in (hint, *typing.get_args(hint)) if kind in VALUES]
    if typing.get_origin(hint) is tuple:
        return TUPLES
    if typing.get_origin(hint) is typing.Literal:
        return [[str(choice)] for choice in typing.get_args(hint)] + [["x"], [""], ["None"]]
    return VALUES[kinds[0]] if kinds else [["x"], ["1"], [""], ["None"]]


def tries():
    """Every value of every field, of a configuration that several experiments share in one of them."""
    tried = set()
    for name in SMALL:
        default = next(iter(import_experiment(f"experiments.{name}").PRESETS.values()))
        for path, owner, hint in fields(default):
            key = (owner, path.rsplit(".", 1)[-1])
            if key not in tried:
                tried.add(key)
                yield from (Try(name, path, tuple(words)) for words in values(hint))


def is_built(tried):
    """Whether the run of a command line is built and its step traced; False if it is refused, in one paragraph."""
    module = import_experiment(f"experiments.{tried.experiment}")
    try:
        asked = parse([f"--{tried.field}", *tried.words], module.PRESETS, f"experiments.{tried.experiment}")
        experiment = module.build(asked.config)
        mesh = make_mesh(experiment.mesh, jax.devices()[:1])
        for phase in experiment.phases:
            check_batch(mesh, phase.batch_size, experiment.train.micro_batches)
            made = {"method": experiment.method, "optimizer": experiment.optimizer, "seed": 0}
            state = jax.eval_shape(make_initial_state(batch=phase.batch, **made))
            step = make_train_step(**made, micro_batches=experiment.train.micro_batches)
            jax.eval_shape(step, state, phase.batch)
    except UserError as error:
        message = str(error)
        assert "\n" not in message
        name, value = tried.field.rsplit(".", 1)[-1], " ".join(tried.words)
        assert name in message.replace(" ", "_") or (len(value) > 99 and value in message)
        return False
    except SystemExit as end:
        if end.code != 2:
            raise
        return False
    return True


def test_every_value_is_refused_by_name_or_the_run_is_built(capsys):
    chosen = list(tries())
    if len(chosen) > TRIES:
        chosen = random.Random(0).sample(chosen, TRIES)
    built = [is_built(tried) for tried in chosen]
    assert any(built)
    assert not all(built)
