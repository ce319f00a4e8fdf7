"""The command that plans a run, on the devices at hand."""

import re

import pytest

from ssl_jax import plan
from ssl_jax.errors import UserError
from tests import processes


def test_plans_minimal_on_the_devices_at_hand(capsys):
    assert plan.main(["experiments.minimal", "--mesh.fsdp", "2"]) == 0
    out = capsys.readouterr().out
    assert "1,000 steps of 64 examples" in out
    assert "8 x cpu" in out
    assert "all-reduce" in out


def test_parameters_that_the_mesh_does_not_divide_are_named(capsys):
    arguments = [
        "experiments.bert",
        "tiny",
        "--model.heads",
        "2",
        "--model.vocab_size",
        "4001",
        "--mesh.tensor",
        "4",
    ]
    assert plan.main(arguments) == 0
    out = capsys.readouterr().out
    assert "attention/qkv/kernel (2 over tensor 4)" in out
    assert "embeddings/token/embedding (4001 over tensor 4)" in out
    assert "mlp/up" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["experiments.brt"],
            r"experiments\.brt: there is no such experiment\. Did you mean experiments\.bert\?",
        ),
        (["ssl_jax.plan"], r"ssl_jax\.plan is not an experiment"),
        (["experiments.bert", "bsae"], r"unknown preset 'bsae'\. Did you mean base\?"),
        (["experiments.bert", "--topology", "v5e:nonsense"], r"Expected a slice such as v5e:4x4"),
        (["experiments.minimal", "--mesh.fsdp", "3"], r"does not make the 8 devices at hand"),
        (["--topology", "v5e:4x4", "experiments.bert"], r"name the experiment first"),
        ([], r"name the experiment first"),
    ],
)
def test_mistakes_are_explained(arguments, message):
    with pytest.raises(UserError, match=message):
        plan.main(arguments)


@pytest.mark.parametrize("arguments", [["--help"], ["experiments.bert", "base", "--help"]])
def test_help(arguments, capsys):
    code, out, err = processes.run("ssl_jax.plan", arguments)
    assert (code, err) == (0, "")
    assert "--topology" in out
    assert ("--model.layers INT" in out) == ("base" in arguments)


def test_every_run_of_a_study_is_planned(capsys):
    assert plan.main(["tests.toy_study", "--each.mesh.fsdp", "2"]) == 0
    out = capsys.readouterr().out
    assert re.findall(r"^(\S+):$", out, re.MULTILINE) == ["noise-0.1", "noise-0.3"]
    assert out.count("40 steps of 64 examples (64 images) on 8 x cpu") == 2
