"""The command line: presets, fields, help, and what a user's mistake looks like."""

import dataclasses
import json
import re
import subprocess
import sys

import pytest

from experiments import bert, glue_benchmark, minimal
from ssl_jax import cli
from ssl_jax.errors import UserError
from ssl_jax.other_names import OTHER_NAMES
from ssl_jax.runs.configuration import restore_config
from ssl_jax.short_help import wrapped
from tests import processes


def parse(*arguments):
    return cli.parse(list(arguments), bert.PRESETS, "python -m experiments.bert", bert.__doc__)


def test_first_preset_is_the_default():
    asked = parse()
    assert asked.preset == "tiny"
    assert asked.config == bert.PRESETS["tiny"]
    assert str(asked.options.folder) == "runs/bert-tiny"
    assert (asked.options.init_from, asked.options.hosts, asked.options.profile) == (None, "auto", 0)


def test_fields_are_set_by_their_path():
    config = parse(
        "base", "--model.layers", "3", "--phases.1.length", "256", "--data.lowercase", "False"
    ).config
    assert config.model.layers == 3
    assert config.phases[1].length == 256
    assert config.data.lowercase is False
    assert config.phases[0] == bert.PRESETS["base"].phases[0]


def test_misspelt_preset_gets_a_suggestion():
    with pytest.raises(UserError, match=r"unknown preset 'bsae'. Did you mean base\?"):
        parse("bsae")


@pytest.mark.parametrize(
    ("word", "here"),
    [("--epochs", "--steps"), ("--lr=0.1", "--schedule.learning_rate"), ("--output-dir", "--workdir")],
)
def test_an_option_of_another_library_is_named_as_it_is_here(word, here):
    with pytest.raises(UserError, match=f"is no option here; .*{here}"):
        parse(word, "3")


def test_the_options_that_stand_for_those_of_other_libraries_exist():
    text = " ".join(OTHER_NAMES.values())
    options = {"workdir", "resume", "init_from", "wandb"}
    for name in {*re.findall(r"--([\w.]+)", text)} - options - {"encoder.dtype"}:
        value = bert.PRESETS["tiny"]
        for part in name.split("."):
            value = getattr(value, part)
    assert options <= {field.name for field in dataclasses.fields(cli.RunOptions)}


def test_an_option_of_its_own_may_have_such_a_name():
    asked = cli.parse(["--epochs", "1"], glue_benchmark.PRESETS, "x", options=cli.StudyOptions)
    assert asked.config.epochs == 1


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--model.layer", "3"], "--model.layers"),
        (["--train.bach_size", "3"], "--train.batch_size"),
        (["--model.layers", "three"], "'three'"),
        (["--optimizer.name", "adam"], "adamw"),
    ],
)
def test_misspelt_field_or_wrong_type_exits_with_a_hint(arguments, hint, capsys):
    with pytest.raises(SystemExit) as exit:
        parse(*arguments)
    assert exit.value.code == 2
    assert hint in "".join(capsys.readouterr())


def test_the_preset_may_be_anywhere_but_is_no_value_of_an_option():
    assert parse("--steps", "9", "base").preset == "base"
    asked = parse("--steps=9", "base", "--train.seed", "3")
    assert (asked.preset, asked.config.steps, asked.config.train.seed) == ("base", 9, 3)
    asked = parse("--workdir", "base", "longer", "--with_optimizer", "--init_from", "run@3")
    assert (asked.preset, str(asked.options.folder), asked.options.with_optimizer) == ("longer", "base", True)
    assert parse("--data.source", "small").preset == "tiny"
    with pytest.raises(UserError, match=r"the presets base and small are named; give one\."):
        parse("base", "--steps", "9", "small")


def short_help(capsys, *arguments):
    with pytest.raises(SystemExit) as exit:
        parse(*arguments, "--help")
    assert exit.value.code == 0
    return capsys.readouterr().out


def test_help_shows_presets_and_the_fields_that_matter_in_80_columns(capsys):
    text = short_help(capsys, "--steps", "7", "longer")
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert "Presets: tiny (default), longer, mini, small, base, large" in lines
    assert "  --steps INT                   Optimiser steps of the whole run. [14000]" in lines
    assert "  --data.format                 Of text files. {lines, raw, verbatim} [lines]" in lines
    fields = [line for line in lines if line.startswith("  --")]
    assert 18 <= len(fields) <= 27
    for name in ("--workdir", "--resume", "--init_from", "--data.source", "--train.batch_size"):
        assert any(line.split()[0] == name for line in fields)
    assert not any("--masking" in line or "--no_" in line for line in fields)
    assert "--help-all shows all 84 fields, and examples." in lines


def test_help_all_lists_presets_and_every_field_with_its_meaning(capsys):
    with pytest.raises(SystemExit) as exit:
        parse("base", "--help-all")
    assert exit.value.code == 0
    text = capsys.readouterr().out
    assert all(preset in text for preset in bert.PRESETS)
    words = " ".join(text.replace("│", " ").split())
    for field in (
        "--train.micro_batches INT:1..1048576 Parts in which",
        "--masking.rate FLOAT:0..1 Share of a row",
    ):
        assert field in words


def test_what_a_help_says_first_is_wrapped_and_a_long_comment_goes_above_its_command():
    document = f"{'word ' * 30}\n\n    python -m x    # short\n    python -m y {'z' * 40}    # {'w' * 30}\n"
    lines = wrapped(document).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[-3:] == ["    python -m x    # short", f"    # {'w' * 30}", f"    python -m y {'z' * 40}"]


@pytest.mark.parametrize("module", [bert, minimal])
def test_configuration_survives_its_json(module):
    for preset in module.PRESETS.values():
        stored = json.loads(json.dumps(dataclasses.asdict(preset)))
        assert restore_config(preset, stored) == preset


def test_configuration_of_another_version_is_named():
    stored = dataclasses.asdict(minimal.PRESETS["digits"])
    stored["depth"] = stored.pop("width")
    with pytest.raises(UserError, match="fields depth, width do not fit Config"):
        restore_config(minimal.PRESETS["digits"], stored)


def test_what_is_slow_to_import_is_not_imported_at_the_start():
    """Help and refusals come at once, and a killed run goes on the sooner."""
    code = (
        "import sys, experiments.bert, experiments.minimal;"
        "print({'sklearn', 'scipy', 'matplotlib', 'tensorflow_datasets'} & sys.modules.keys())"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], env=processes.environment(), cwd=processes.ROOT, capture_output=True
    )
    assert (found.stdout, found.stderr) == (b"set()\n", b"")


@pytest.mark.parametrize(
    "command", ["-m experiments", "-m experiments.bert --help", "-m experiments.bert --help-all"]
)
def test_a_reader_that_stops_early_gets_no_traceback(command):
    done = subprocess.run(
        f"{sys.executable} {command} | head -n 1",
        shell=True,
        env=processes.environment(),
        cwd=processes.ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
