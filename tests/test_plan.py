"""The command that plans a run, on the devices at hand."""

import functools
import json
import re

import pytest

from ssl_jax import plan
from ssl_jax.errors import UserError
from ssl_jax.training.planning import CHIPS, Chip, communication
from tests import processes


def test_plans_minimal_on_the_devices_at_hand(capsys):
    assert plan.main(["experiments.minimal", "--mesh.fsdp", "2"]) == 0
    out, progress = capsys.readouterr()
    assert "1,000 steps of 64 examples" in out
    assert "8 x cpu in 1 host, mesh data 4 x fsdp 2" in out
    assert re.search(r"all-reduce +data x fsdp", out)
    for name in ("step", "initialisation", "evaluation"):
        assert re.search(rf"{name} +\d", out), "its memory"
        assert f"compiling the {name} ..." in progress
    assert "estimated" not in out, "nothing is known of the speed of these devices"


def test_a_plan_as_json_is_one_object_and_nothing_else(capsys, monkeypatch):
    """Of a chip that is known and has too little memory: the plan says so, and the command returns 1."""
    chip = Chip(memory=1000, flops=1e9, clock=1e9, hbm=1e9, link=1e9, wraps=4, network=1e9)
    monkeypatch.setitem(CHIPS, "cpu", chip)
    monkeypatch.setattr(communication, "_seconds", lambda kind, size, devices: 0.25)
    arguments = ["experiments.minimal", "--steps", "7200", "--price_per_chip_hour", "2"]
    assert plan.main([*arguments, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    (phase,) = told["phases"]
    assert (told["experiment"], told["preset"], told["fits"]) == ("experiments.minimal", "digits", False)
    assert phase["memory"]["step"]["available"] == 1000 < phase["memory"]["step"]["total"]
    seconds = phase["step_seconds"]["estimate"]
    assert seconds == pytest.approx(0.25 * sum(each["count"] for each in phase["collectives"]), abs=0.01)
    assert phase["chip_hours"] == pytest.approx(8 * 2 * seconds)
    assert phase["price"] == pytest.approx(2 * phase["chip_hours"])
    assert phase["rows_per_second_and_host"] == pytest.approx(64 / seconds)
    assert phase["mfu"] == pytest.approx(phase["flops"] / 1e9 / seconds)


def test_what_does_not_fit_is_told_with_what_to_try(capsys, monkeypatch):
    monkeypatch.setitem(CHIPS, "cpu", Chip(1000, 1e9, 1e9, 1e9, 1e9, 4, 1e9))
    monkeypatch.setattr(communication, "_seconds", lambda kind, size, devices: 0.25)
    assert plan.main(["experiments.minimal"]) == 1
    out = capsys.readouterr().out
    assert re.search(r"step .*: does NOT fit, 0\.\d\d GiB too much", out)
    assert (
        "Try --train.micro_batches 2, --mesh.fsdp 8, a slice of more chips, alone or together; or --search"
        in out
    )


def test_parameters_that_the_mesh_does_not_divide_are_named(capsys, monkeypatch):
    monkeypatch.setattr(plan, "plan_phase", functools.partial(plan.plan_phase, step_only=True))
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
        (["experiments.minimal", "--slices", "2"], r"--slices 2: name the slice as well"),
        (["experiments.minimal", "--search"], r"--search: takes an experiment .* and a TPU slice"),
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
