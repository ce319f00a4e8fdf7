"""The best checkpoint by a held-out metric: chosen from the log, kept, reported; and the early end of a run."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from etils import epath

from ssl_jax.errors import UserError
from ssl_jax.method import Aux, Mean, Method
from ssl_jax.runs import prerequisites
from ssl_jax.runs.reference import RunReference, choose_step
from ssl_jax.training.best import Criterion
from ssl_jax.training.checkpoint_writer import CheckpointWriter
from ssl_jax.training.checkpoints import Checkpoints
from ssl_jax.training.experiment import Score, TrainConfig
from tests.training import toys

VALUES = {2: 0.1, 4: 0.9, 6: 0.5, 8: 0.9, 10: 0.3, 12: 0.95, 14: 0.2, 16: 0.2, 18: 0.2, 20: 0.2}
"""The metric `quality` of each evaluation."""


def counting() -> Method:
    """Its only parameter is the number of steps; `quality` depends on it alone."""
    table = jnp.array([VALUES.get(step, 0.0) for step in range(21)])

    def loss(params, extras, batch, rng):
        quality = Mean.of(
            table[params["w"].astype(int)] + 0 * batch["example_weight"], batch["example_weight"]
        )
        return params["w"], Aux({"quality": quality}, extras)

    return Method(lambda rng, batch: {"params": {"w": jnp.zeros(())}}, loss)


def experiment(**train):
    chosen = {"eval_every": 2, "keep_latest": 1, "best_metric": "quality", "best_is": "highest"}
    return toys.experiment(method=counting(), optimizer=optax.sgd(-1.0), train={**chosen, **train})


def train(made, folder, capsys, **options):
    """(what is printed, log, steps of the checkpoints), with the configuration as that of a real run."""
    settings = {"config": {"train": dataclasses.asdict(made.train)}}
    assert toys.train(made, folder, settings, **options) == 0
    kept = Checkpoints(epath.Path(folder) / "checkpoints").steps()
    return capsys.readouterr().out, toys.log(folder), kept


def line(step, split="heldout", **metrics):
    return {"step": step, "split": split, **metrics}


def test_the_best_value_of_a_log():
    lines = [{"step": 1, "f1": 9.0}, *(line(step, f1=value) for step, value in VALUES.items())]
    lines += [line(22, f1=math.nan), line(24), line(24, "other", f1=5.0)]
    highest = Criterion("f1", "heldout")
    assert highest.best(lines) == 12
    assert highest.best(lines, [2, 6, 8, 10]) == 8
    assert highest.best(lines, [4, 8]) == 4  # the earlier of equal ones
    assert highest.best(lines, [22, 24]) is None
    assert highest._replace(highest=False).best(lines) == 2
    assert highest._replace(split="other").best(lines) == 24
    assert Criterion("", "").best(lines) is None
    found = [step for step in (None, 2, 3, 6, 7) if highest._replace(patience=step or 0).ends(lines)]
    assert found == [
        2,
        3,
        6,
    ]  # the evaluations at 14, 16, 18, 20, and those at 22 and 24, which have no value
    assert Criterion("f1", "", patience=2).ends([line(2), line(4)])


@pytest.mark.parametrize(
    ("name", "highest"),
    [
        ("class_loss", False),
        ("loss", False),
        ("heldout/code_2_error", False),
        ("bits_per_byte", False),
        ("class_accuracy", True),
        ("matched/macro_f1", True),
        ("pearson", True),
        ("exact_match", True),
    ],
)
def test_which_values_are_the_best_is_known_of_usual_metrics(name, highest):
    assert Criterion.of(TrainConfig(best_metric=name)).highest is highest
    assert Criterion.of(TrainConfig(best_metric=name, best_is="highest")).highest
    assert not Criterion.of(TrainConfig(best_metric=name, best_is="lowest")).highest


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"best_metric": "perplexity"},
            r"best_metric perplexity: it is not known .* --train\.best_is highest",
        ),
        ({"patience": 3}, r"patience 3: counts evaluations .*--train\.best_metric"),
    ],
)
def test_settings_that_do_not_fit_together(settings, message):
    with pytest.raises(UserError, match=message):
        TrainConfig(**settings)


def test_the_best_checkpoint_is_kept_and_reported(tmp_path, capsys, monkeypatch):
    reported, complete = [], {}
    save = CheckpointWriter.save

    def watched(self, state, notes):
        save(self, state, notes)
        complete[int(state.step)] = Checkpoints(self.folder).steps()

    monkeypatch.setattr(CheckpointWriter, "save", watched)
    folder, made = epath.Path(tmp_path / "run"), experiment(keep_every=1000)
    out, log, kept = train(made._replace(report=reported.append), folder, capsys)
    assert {entry["step"]: entry["quality"] for entry in log if "split" in entry} == pytest.approx(VALUES)
    assert kept == [12, 20]
    # 2 and 4 are the best so far, and 12 later. While one is written, the best of those before it stays.
    assert [*complete] == [2, 4, 5, 10, 12, 15, 20]
    assert {4, 10} <= {*complete[12]}
    (report,) = reported
    assert (report.step, float(report.variables["params"]["w"])) == (12, 12.0)
    assert report.metrics == {"heldout": {"loss": 12.0, "quality": pytest.approx(0.95)}}
    assert f"the report is of step 12, with the best quality (0.95): {folder}@best\n" in out
    checkpoints = Checkpoints(folder / "checkpoints")
    assert choose_step(checkpoints, RunReference.parse(f"{folder}@best")) == 12
    assert choose_step(checkpoints, RunReference.parse(str(folder))) == 20


def test_without_a_metric_no_checkpoint_is_the_best(tmp_path, capsys):
    folder = epath.Path(tmp_path / "run")
    out, _, kept = train(experiment(best_metric="", keep_every=1000), folder, capsys)
    assert kept == [20]
    assert "best" not in out
    with pytest.raises(UserError, match=r"run@best: .* without --train\.best_metric.* name a step, of 20\."):
        choose_step(Checkpoints(folder / "checkpoints"), RunReference(folder, "best"))


@pytest.mark.parametrize("save_every", [4, 5])
def test_a_run_that_no_longer_improves_ends_and_stays_ended(save_every, tmp_path, capsys):
    """Whether the step at which it ends is one at which a checkpoint is due, or not."""
    folder, made = tmp_path / "run", experiment(patience=2, keep_every=1000, save_every=save_every)
    out, log, kept = train(made, folder, capsys)
    assert log[-1]["step"] == 8  # no better at 6 and 8 than at 4
    assert kept == [4, 8]
    assert "quality was no better in the last 2 evaluations: the run ends early\n" in out
    assert "finished 8 steps" in out
    again, same, _ = train(made, folder, capsys)
    assert same == log
    assert "compiled the step" not in again
    assert "the run ends early" in again

    settings = {"config": {"train": dataclasses.asdict(made.train)}}
    assert prerequisites._is_finished(epath.Path(folder), settings, made)
    (folder / "checkpoints" / "8").rename(tmp_path / "lost")
    assert not prerequisites._is_finished(epath.Path(folder), settings, made)
    assert train(made, folder, capsys)[1] == log  # from step 4


def test_the_metric_is_checked_before_the_first_step(tmp_path, capsys):
    made = experiment(best_metric="qualty")
    with pytest.raises(UserError, match=r"best_metric qualty: .* heldout has no such metric.* quality"):
        toys.train(made, tmp_path / "run")
    with pytest.raises(UserError, match=r"best_metric dev/quality: expected .* heldout/quality\."):
        toys.train(experiment(best_metric="dev/quality"), tmp_path / "run")
    assert "compiled" not in capsys.readouterr().out

    def two(folder):
        data = made.open_data(folder)
        return data._replace(heldout=({"a": data.heldout[0]["heldout"], "b": data.heldout[0]["heldout"]},))

    with pytest.raises(UserError, match="expected a held-out set and a metric of it, a/quality or b/quality"):
        toys.train(experiment()._replace(open_data=two), tmp_path / "two")
    scored = experiment(best_metric="median")._replace(
        score=Score(lambda *inputs: inputs[-1]["x"], lambda data, split, x: {"median": np.median(x)})
    )
    assert (
        toys.train(scored, tmp_path / "run") == 0
    )  # the folder, which has no checkpoint, takes other settings
