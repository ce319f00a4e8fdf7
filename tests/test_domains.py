"""Every field of every configuration has a domain; a value out of it is refused by its path, wherever it comes from."""

import dataclasses
import json
import math
import typing
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import pytest

from experiments import bert, gpt2
from ssl_jax import cli, convert, few_shot, generate, linear_eval, plan, replay
from ssl_jax.domains import (
    Domain,
    Fraction,
    NonEmptyText,
    PositiveInt,
    Settings,
    check_settings,
    numbers,
    unchecked,
)
from ssl_jax.errors import UserError
from ssl_jax.runs.configuration import restore_config
from ssl_jax.runs.listing import import_experiment
from ssl_jax.training import distributed
from tests.cases import SMALL


@dataclass(frozen=True)
class Inner(Settings):
    count: PositiveInt = 3
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer(Settings):
    rate: Fraction = 0.5
    most: PositiveInt | None = None
    widths: tuple[PositiveInt, ...] = (1, 2)
    pair: tuple[Fraction, Fraction] = (0.1, 0.2)
    early: bool | Literal["never"] = False
    name: NonEmptyText = "x"
    inner: Inner = Inner()
    parts: tuple[Inner, ...] = (Inner(), Inner())

    def check_relations(self):
        if self.inner.count % 3:
            raise UserError("inner.count must be a multiple of 3.")


WRONG = {
    "rate": [-1, -1e-9, 1, 1.5, math.nan, math.inf, -math.inf, "0.5", None, True, (0.5,)],
    "most": [0, -1, 2**31, 1.5, math.nan, True, "3"],
    "widths": [3, (0,), (1, -1), (1, None), (1.5,), ((1,),), (1,) * 20_000],
    "pair": [(0.1,), (0.1, 0.2, 0.3), (0.1, math.nan), 0.1],
    "early": ["always", 1, None, 0],
    "name": ["", "  ", "a\0b", "\udcff", None, 3],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in WRONG for value in WRONG[name]])
def test_a_value_out_of_its_domain_is_refused(name, value):
    with pytest.raises(UserError, match=rf"^Outer\.{name}\b.*expected"):
        Outer(**{name: value})
    with unchecked():
        settings = Outer(**{name: value})
    with pytest.raises(UserError, match=rf"^--{name}\b.*expected"):
        check_settings(settings)


@pytest.mark.parametrize(
    "right",
    [
        {"rate": 0},
        {"rate": 0.999},
        {"most": 1},
        {"most": None},
        {"widths": ()},
        {"widths": (2**31 - 1,)},
        {"early": True},
        {"early": "never"},
        {"name": "ä b"},
        {"parts": ()},
    ],
)
def test_a_value_in_its_domain_is_accepted(right):
    check_settings(Outer(**right))


def test_the_path_of_a_nested_value_is_named():
    with unchecked():
        settings = Outer(parts=(Inner(), Inner(kind="c")))
    with pytest.raises(UserError, match=r"^--parts\.1\.kind 'c': expected one of a, b\.$"):
        check_settings(settings)


def test_relations_are_checked_after_every_domain():
    with pytest.raises(UserError, match="multiple of 3"):
        Outer(inner=Inner(count=4))
    with unchecked():
        related = Outer(inner=Inner(count=4))
        both = replace(related, name="")
    with pytest.raises(UserError, match="multiple of 3"):
        check_settings(related)
    with pytest.raises(UserError, match="--name"):
        check_settings(both)


@pytest.mark.parametrize(
    ("domain", "inside", "outside"),
    [
        (numbers(0, 1), [0, 1], [-0.1, 1.1]),
        (numbers(0, 1, above=True), [0.1, 1], [0]),
        (numbers(0, 1, below=True), [0, 0.9], [1]),
    ],
)
def test_ends_of_an_interval(domain, inside, outside):
    assert all(map(domain.holds, inside))
    assert not any(map(domain.holds, outside))


def kinds(settings):
    """The classes of a configuration and of all that is nested in it."""
    yield type(settings)
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        for inner in value if isinstance(value, tuple) else (value,):
            if dataclasses.is_dataclass(inner):
                yield from kinds(inner)


def every_kind():
    presets = [
        preset
        for name in (
            *(*SMALL, "bart_noises", "compression", "contextual_similarity", "crosslingual_alignment"),
            *("embryology", "glue_benchmark", "language_vector", "pretrained_vs_scratch"),
            *("token_remap_arms", "zero_shot"),
        )
        for preset in import_experiment(f"experiments.{name}").PRESETS.values()
    ]
    commands = [convert, few_shot, generate, linear_eval, replay]
    found = {kind: None for preset in presets for kind in kinds(preset)}
    return [
        *found,
        cli.StudyOptions,
        cli.RunOptions,
        plan.Options,
        *(command.Arguments for command in commands),
    ]


def leaves(hint):
    """The single annotations in a hint; an Annotated one with a domain is one of them."""
    if typing.get_origin(hint) is Annotated:
        kind, *marks = typing.get_args(hint)
        domains = [mark for mark in marks if isinstance(mark, Domain)]
        return domains or leaves(kind)
    if typing.get_args(hint) and typing.get_origin(hint) is not Literal:
        return [leaf for of in typing.get_args(hint) if of is not ... for leaf in leaves(of)]
    return [hint]


@pytest.mark.parametrize("kind", every_kind(), ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_field_has_a_domain(kind):
    assert issubclass(kind, Settings)
    assert kind.__post_init__ is Settings.__post_init__, "relations belong into check_relations"
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        for leaf in leaves(hints[field.name]):
            assert leaf not in (int, float, str), f"{field.name}: {hints[field.name]} has no domain"


COMMANDS = {
    "generate": (generate.Arguments, ["RUN"]),
    "few_shot": (few_shot.Arguments, ["RUN", "--task", "a.tsv"]),
    "linear_eval": (linear_eval.Arguments, ["RUN"]),
    "replay": (replay.Arguments, ["RUN"]),
}


@pytest.mark.parametrize(
    ("command", "words", "named"),
    [
        ("generate", ["--temperature", "-1"], "--temperature -1.0"),
        ("generate", ["--temperature", "nan"], "--temperature nan"),
        ("generate", ["--top_k", "-1"], "--top_k -1"),
        ("generate", ["--top_p", "2"], "--top_p 2.0"),
        ("generate", ["--max_new_tokens", "-5"], "--max_new_tokens -5"),
        ("generate", ["--length_penalty", "nan", "--beams", "2"], "--length_penalty nan"),
        ("generate", ["--seed", str(2**63)], "--seed 9223372036854775808"),
        ("few_shot", ["--shots", "0", "-1"], "--shots -1"),
        ("few_shot", ["--task", ""], "--task ''"),
        ("linear_eval", ["--neighbours", "0"], "--neighbours 0"),
    ],
)
def test_options_of_commands_have_domains(command, words, named):
    kind, needed = COMMANDS[command]
    with pytest.raises(UserError, match=f"^{named}: expected"):
        cli.read_arguments(kind, [*needed, *words])


def test_a_positional_argument_is_named_as_in_the_help():
    with pytest.raises(UserError, match=r"^RUN '': expected"):
        cli.read_arguments(generate.Arguments, [""])


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--model.heads", "0"], "--model.heads 0: expected an integer from 1 to"),
        (["--train.seed", str(2**63)], "--train.seed"),
        (["--train.batch_size", "99999999999999"], "--train.batch_size"),
        (["--data.heldout_share", "nan"], "--data.heldout_share nan"),
        (["--phases.0.length", "-1"], "--phases.0.length -1"),
        (["--workdir", ""], "--workdir ''"),
        (["--profile", "-1"], "--profile -1"),
    ],
)
def test_a_command_line_names_the_field_and_its_domain(words, named):
    with pytest.raises(UserError, match=f"^{named}"):
        cli.parse(words, bert.PRESETS, "experiments.bert")


def test_the_help_shows_domains(capsys):
    with pytest.raises(SystemExit):
        cli.parse(["--help-all"], gpt2.PRESETS, "experiments.gpt2")
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for shown in ("--model.heads INT:1..4096", "--steps INT>=1", "--data.heldout_share FLOAT:0..1"):
        assert shown in text
    assert "--model.dtype {float32,bfloat16}" in text


@pytest.mark.parametrize(
    ("key", "value"), [("heads", 0), ("layers", 10**9), ("dropout", math.nan), ("dtype", "int8")]
)
def test_a_configuration_that_is_read_has_domains_too(key, value):
    default = bert.PRESETS["tiny"]
    stored = json.loads(json.dumps(dataclasses.asdict(default)))
    stored["model"][key] = value
    with pytest.raises(UserError, match=rf"config\.json: config\.model\.{key}\b"):
        restore_config(default, stored)


@pytest.mark.parametrize(
    "hosts",
    [
        "",
        "localhost",
        "localhost,0,1",
        "localhost:70000,0,1",
        "localhost:x,0,1",
        ":1,0,1",
        "localhost:1,-1,0",
        "localhost:1,0,0",
        "localhost:1,2,2",
        "localhost:1,nan,1",
        "localhost:1,0,99999999999",
    ],
)
def test_hosts_that_cannot_be(hosts):
    with pytest.raises(UserError, match=r"^--hosts .*: expected auto, or HOST:PORT,ID,COUNT"):
        distributed.join(hosts)
