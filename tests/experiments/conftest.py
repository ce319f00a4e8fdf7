"""Experiments run in this process, as their commands."""

import dataclasses
import json
import runpy
import sys

import jax
import jax.numpy as jnp
import pytest

from ssl_jax.recipes import datasets
from ssl_jax.runs.configuration import restore_config


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs `python -m experiments.NAME`, or any module with a dot in its name; returns (exit code, stdout, stderr)."""

    def command(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        module = name if "." in name else f"experiments.{name}"
        with monkeypatch.context() as patch:
            # runpy imports it itself; experiments that are built on it need it again.
            patch.delitem(sys.modules, module, raising=False)
            with pytest.raises(SystemExit) as exit:
                runpy.run_module(module, run_name="__main__", alter_sys=True)
        return (exit.value.code, *capsys.readouterr())

    return command


@pytest.fixture
def refused(command):
    """Runs an experiment that is refused; returns what it says."""

    def refused(name, *arguments):
        code, _, error = command(name, *arguments)
        assert code == 2
        assert "Traceback" not in error
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        return error

    return refused


@pytest.fixture
def code_of_preset(monkeypatch):
    """Builds an experiment with codes of images, checks it by its shapes, and returns the shape and type of a code."""

    def code_of_preset(module, preset):
        def never(config):
            raise AssertionError("build reads data")

        monkeypatch.setattr(datasets, "open_images", never)
        config = module.PRESETS[preset]
        experiment = module.build(config)
        (phase,) = experiment.phases
        extras = dict(jax.eval_shape(experiment.method.init, jax.random.key(0), phase.batch))
        params = extras.pop("params")
        assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
        batch = {n: jax.ShapeDtypeStruct((4, *x.shape[1:]), x.dtype) for n, x in phase.batch.items()}
        losses, aux = jax.eval_shape(experiment.method.loss, params, extras, batch, jax.random.key(0))
        scalars = jax.tree.leaves((losses, aux.metrics))
        assert {(leaf.shape, leaf.dtype) for leaf in scalars} == {((), jnp.dtype("float32"))}
        assert {*experiment.headline} - {"loss"} <= {*losses, *aux.metrics}
        after = jax.eval_shape(experiment.method.after_update, params, aux.extras, jnp.int32(1))
        assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(
            lambda x: (x.shape, x.dtype), extras
        )
        values = json.loads(json.dumps(dataclasses.asdict(config)))
        assert restore_config(config, values) == config
        return jax.eval_shape(experiment.represent, params, extras, batch)

    return code_of_preset
