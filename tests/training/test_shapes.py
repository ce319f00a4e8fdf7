"""Batches of a few shapes: each has its compiled step, and all else is as in a run of one shape."""

import grain
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from ssl_jax.method import Aux, Mean, Method
from ssl_jax.training import planning
from ssl_jax.training.checkpoints import Checkpoints
from ssl_jax.training.compiling import TrainSteps
from ssl_jax.training.experiment import Data, Phase, Shape
from ssl_jax.training.planning.text import as_json, describe
from tests.training import toys

LONG, SHORT = 4, 2


def length(number: int) -> int:
    """Features of the examples of a batch."""
    return LONG if number % 4 == 3 else SHORT


def example(index: int) -> dict[str, np.ndarray]:
    of_length = length(index // 16)
    return {name: value[:of_length] for name, value in toys.example(index).items()}


def scaling() -> Method:
    """Restores numbers of which some are dropped, each by itself: a method for any number of features."""

    def loss(params, extras, batch, rng):
        x, weight = batch["x"], batch["weight"] * batch["example_weight"][:, None]
        kept = jax.random.bernoulli(rng, 0.7, x.shape)
        error = jnp.square(params["w"] * x * kept - x)
        return {"error": Mean.of(error, weight)}, Aux({"size": Mean(x.sum(), jnp.float32(x.size))}, extras)

    return Method(lambda rng, batch: {"params": {"w": jax.random.normal(rng, ())}}, loss)


def experiment(data=example, steps: int = 8):
    made = toys.experiment(method=scaling(), train={"eval_every": 4, "save_every": 4, "keep_latest": 9})
    phase = Phase(
        steps,
        toys.shapes(16, LONG),
        ("numbers", 16 * LONG),
        smaller=(Shape(toys.shapes(16, SHORT), 16 * SHORT),),
    )
    training = grain.MapDataset.range(16 * steps).map(data)
    heldout = grain.MapDataset.range(1000, 1021).map(toys.example)
    return made._replace(
        phases=(phase,), open_data=lambda folder: Data((training,), ({"heldout": heldout},), {})
    )


def test_every_batch_keeps_its_shape_and_each_shape_is_compiled_once(tmp_path, capsys, caplog):
    jax.config.update("jax_log_compiles", True)  # for all threads
    try:
        with caplog.at_level("WARNING", "jax"):
            assert toys.train(experiment(), tmp_path) == 0
    finally:
        jax.config.update("jax_log_compiles", False)
    compiled = [record.getMessage() for record in caplog.records if "Compiling" in record.getMessage()]
    assert sum("train_step" in message for message in compiled) == 2
    lines = [line.split(" in ")[0] for line in capsys.readouterr().out.splitlines() if "compiled" in line]
    assert lines == [f"compiled the step for batches of {16 * n} numbers" for n in (SHORT, LONG)]
    for line in toys.log(tmp_path):
        if "split" not in line:
            number = line["step"] - 1
            x = np.stack(
                [toys.example(i)["x"][: length(number)] for i in range(16 * number, 16 * number + 16)]
            )
            np.testing.assert_allclose(line["size"], x.mean(), rtol=1e-4, atol=1e-6)
    work = Checkpoints(epath.Path(tmp_path / "checkpoints")).notes(8)["clock"]["work"]
    assert work == 16 * (2 * LONG + 6 * SHORT)


def test_a_run_goes_on_with_the_shapes_that_follow(tmp_path):
    toys.train(experiment(), tmp_path)
    wanted = toys.log(tmp_path)
    (tmp_path / "checkpoints" / "8").rename(tmp_path / "lost")
    toys.train(experiment(), tmp_path)
    assert toys.log(tmp_path) == wanted


def test_a_shape_that_was_not_named_is_refused(tmp_path):
    def data(index):
        return {name: value[:3] if index >= 32 else value for name, value in toys.example(index).items()}

    with pytest.raises(
        ValueError, match=r"\(16, 3\).* none of the shapes of the phase: .*\(16, 4\).*; .*\(16, 2\)"
    ):
        toys.train(experiment(data, steps=3), tmp_path)


def test_compiling_is_no_time_of_training_and_comes_before_a_profile(tmp_path, capsys, monkeypatch):
    """Two steps are too few to be traced, and have one shape, whose compilation says here that it took 1,000 s."""
    compile_step = TrainSteps.compile
    monkeypatch.setattr(TrainSteps, "compile", lambda self, batch: compile_step(self, batch) + 1000)
    toys.train(experiment(steps=2), tmp_path / "plain")
    assert Checkpoints(epath.Path(tmp_path / "plain" / "checkpoints")).notes(2)["clock"]["seconds"] < -500
    assert capsys.readouterr().out.count("compiled the step") == 1
    toys.train(experiment(steps=2), tmp_path / "profiled", profile=5)
    assert capsys.readouterr().out.count("compiled the step") == 2


def test_the_largest_batches_are_planned():
    made = experiment()
    plan = planning.plan_phase(made, made.phases[0], jax.devices(), step_only=True)
    assert "  as if all batches had 64 numbers; those of 32 numbers take less memory and time\n" in describe(
        plan
    )
    told = as_json(plan)
    assert (told["work_per_step"], told["work_of_smaller_batches"]) == (64, [32])
    # Two arrays of float32 and the weights of the examples.
    assert plan.memory["step"].batch * len(jax.devices()) == 4 * (2 * 16 * LONG + 16)
