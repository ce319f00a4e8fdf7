"""BART, MASS and T5 as commands: presets for pods by their shapes, and bad input."""

import dataclasses
import json
import runpy
import sys

import jax
import numpy as np
import pytest
from etils import epath

from experiments import bart, mass, t5
from ssl_jax.data.tokenizers import train_sentencepiece
from ssl_jax.runs.configuration import restore_config
from ssl_jax.training.compiling import Program
from tests.cases import corpus

MODULES = {"bart": bart, "mass": mass, "t5": t5}
PRESETS = [
    ("bart", "large"),
    ("mass", "base"),
    ("t5", "base"),
]  # the others are run, or differ in numbers only
SIZES = {"positions": 32, "layers": 1, "decoder_layers": 1, "width": 16, "heads": 2, "mlp_width": 32}
SMALL = [
    "--model.vocab_size=120",
    *(f"--model.{name}={value}" for name, value in SIZES.items()),
    "--steps=2",
    "--length=32",
    "--schedule.warmup_steps=1",
    "--train.batch_size=8",
    "--data.heldout_share=0.2",
    "--data.heldout_rows=12",
]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs `python -m experiments.NAME` with arguments; returns (exit code, stdout, stderr)."""

    def run(name, *arguments):
        command = [name, *SMALL, f"--workdir={tmp_path / 'run'}", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", command)
        monkeypatch.delitem(sys.modules, f"experiments.{name}", raising=False)
        with pytest.raises(SystemExit) as exit:
            runpy.run_module(f"experiments.{name}", run_name="__main__", alter_sys=True)
        out, err = capsys.readouterr()
        return exit.value.code, out, err

    return run


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_presets_have_sound_shapes_and_survive_json(name, preset):
    config = MODULES[name].PRESETS[preset]
    experiment = MODULES[name].build(config)
    state = Program(experiment, jax.make_mesh((1, 1, 1), ("data", "fsdp", "tensor"))).state
    assert state.params["token"]["embedding"].shape == (config.model.vocab_size, config.model.width)
    stored = json.loads(json.dumps(dataclasses.asdict(config)))
    assert restore_config(config, stored) == config


def test_the_steps_without_dropout_read_the_rows_that_follow(tmp_path):
    tiny = bart.PRESETS["tiny"]
    config = dataclasses.replace(
        tiny,
        steps=4,
        share_without_dropout=0.5,
        data=dataclasses.replace(tiny.data, source=str(corpus(tmp_path)), heldout_share=0.2),
        model=dataclasses.replace(tiny.model, vocab_size=120),
        schedule=dataclasses.replace(tiny.schedule, warmup_steps=1),
        train=dataclasses.replace(tiny.train, batch_size=3),
    )
    data = bart.build(config).open_data(epath.Path(tmp_path))
    first, last = data.train
    assert len(data.heldout) == 2
    for row in range(3):
        jax.tree.map(np.testing.assert_array_equal, last[row], first[2 * 3 + row])
    assert any(np.any(last[0][name] != first[0][name]) for name in first[0])


@pytest.mark.parametrize(
    ("name", "arguments", "named"),
    [
        ("bart", ["--noise.masking=1.5"], "noise.masking"),
        ("mass", ["--noise.share=0"], "noise.share"),
        ("t5", ["--noise.density=1"], "noise.density"),
        ("bart", ["--length=64"], "model's 32 positions"),
        ("bart", ["--length=2"], "length of 2"),
        ("bart", ["--data.tokenizer=/nowhere/vocab.txt"], "/nowhere/vocab.txt"),
        ("bart", ["--train.batch_size=2000"], "fewer than one batch"),
    ],
)
def test_bad_settings_are_named(run, tmp_path, name, arguments, named):
    code, _, error = run(name, f"--data.source={corpus(tmp_path)}", *arguments)
    assert code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert named in error


def test_a_vocabulary_without_room_for_the_sentinels_is_refused_with_the_size_to_give(run, tmp_path):
    file = corpus(tmp_path)
    tokenizer = train_sentencepiece(file.read_text().splitlines(), 120, "bpe")
    arguments = [f"--data.source={file}", f"--data.tokenizer={tokenizer.save(tmp_path)}"]
    code, _, error = run("t5", *arguments, "--model.vocab_size=120")
    assert code == 2
    assert f"--model.vocab_size {120 + t5.SpanConfig().sentinels(36)}" in error
