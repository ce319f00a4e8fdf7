"""Probes on a finished run, over its checkpoints, and fine-tuning that starts from it."""

import copy
import json
from dataclasses import replace

import jax
import matplotlib.image
import numpy as np
import pytest
from etils import epath

from experiments import image_classifier, simclr
from ssl_jax import linear_eval
from ssl_jax.errors import UserError
from ssl_jax.models.projection import MlpConfig
from ssl_jax.models.resnet import ResNetConfig
from ssl_jax.runs.configuration import run_settings
from ssl_jax.runs.opening import DataPlaces, open_run
from ssl_jax.runs.reference import RunReference, choose_step
from ssl_jax.runs.warm_start import start_from
from ssl_jax.training import loop, metrics
from ssl_jax.training.schedules import ScheduleConfig

EXAMPLES = 60
ENCODER = ResNetConfig(blocks=(1,), bottleneck=False, width=8, stem="small")
METRICS = {"linear_probe", "knn"}


def tiny(config, steps):
    """Few steps of a tiny network, which an evaluation and a checkpoint follow after every second."""
    every = dict.fromkeys(("log_every", "eval_every", "save_every", "keep_every"), 2)
    return replace(
        config,
        steps=steps,
        probe_examples=EXAMPLES,
        encoder=ENCODER,
        schedule=ScheduleConfig(learning_rate=0.03, warmup_steps=0, decay="constant"),
        train=replace(config.train, batch_size=32, **every),
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """SimCLR on digits with checkpoints 2 and 4."""
    folder = tmp_path_factory.mktemp("simclr") / "run"
    config = tiny(simclr.PRESETS["digits"], 4)
    views = tuple(replace(view, rotate=0.0, jitter=0.0) for view in config.views)
    config = replace(config, views=views, projector=MlpConfig(hidden=(16,), features=8))
    settings = run_settings("experiments.simclr", "digits", config)
    assert loop.train(simclr.build(config), epath.Path(folder), settings) == 0
    return folder


@pytest.fixture(scope="module")
def opened(run):
    return open_run(RunReference(epath.Path(run)))


@pytest.fixture
def command(monkeypatch, opened):
    """`main` of the command; the run is opened, and its network compiled, once for all tests."""

    def reopen(reference, places):
        assert places == DataPlaces()
        run = copy.copy(opened)  # with its data and program
        vars(run)["step"] = choose_step(opened.checkpoints, reference)
        return run

    monkeypatch.setattr(linear_eval, "open_run", reopen)
    return lambda *arguments: linear_eval.main([*map(str, arguments), f"--examples={EXAMPLES}"])


def metrics_in(folder):
    return json.loads((folder / "probes.json").read_text())


def test_without_options_the_figures_are_those_of_the_report(run, command):
    """The same images, the same seed: the report has fitted its probes to `probe_examples` of them."""
    reported = metrics_in(run)
    assert linear_eval.main([str(run)]) == 0
    again = metrics_in(run / "linear_eval")
    assert again == {
        "step 0": reported["random init"],
        "step 4": reported["trained"],
        "raw pixels": reported["raw pixels"],
    }
    assert again["step 4"]["linear_probe_labels"] == EXAMPLES
    assert linear_eval.main([str(run), "--seed", "1"]) == 0
    assert metrics_in(run / "linear_eval")["raw pixels"] != reported["raw pixels"]


def test_over_all_checkpoints_and_again_over_each(run, command, capsys):
    assert command(run, "--curve") == 0
    output = run / "linear_eval"
    assert f"metrics and plots are in {output}" in capsys.readouterr().out
    curve = metrics_in(output)
    assert list(curve) == ["step 0", "step 2", "step 4", "raw pixels"]
    assert all(set(row) >= METRICS and row["knn_labels"] == EXAMPLES for row in curve.values())
    assert all(
        0 <= value <= 1
        for row in curve.values()
        for name, value in row.items()
        if not name.endswith("_labels")
    )
    assert curve["step 0"] != curve["step 4"] != curve["raw pixels"]
    pixels = matplotlib.image.imread(output / "plots" / "curve.png")
    assert min(pixels.shape[:2]) > 300
    assert pixels[..., :3].std() > 0.05

    # The same images were probed when the run ended, by the trained encoder and by one at random initialisation.
    report = metrics_in(run)
    for ours, theirs in (("step 0", "random init"), ("step 4", "trained"), ("raw pixels", "raw pixels")):
        assert curve[ours] == report[theirs]

    for name, step in ((run, 4), (f"{run}@2", 2)):
        assert command(name) == 0
        assert metrics_in(output) == {n: curve[n] for n in ("step 0", f"step {step}", "raw pixels")}
    assert min(matplotlib.image.imread(output / "plots" / "probes.png").shape[:2]) > 300


def test_the_papers_protocol_trains_a_classifier_on_the_frozen_encoder(run, opened, command, capsys):
    options = ("--protocol=paper", "--epochs=1", "--learning_rate=3")
    assert command(f"{run}@4", *options) == 0
    folder = run / "linear_eval" / "paper_4"
    found = json.loads((folder / "accuracy.json").read_text())
    heldout = len(opened.data.labelled["heldout"])
    assert (found["fitted"], found["scored"]) == (len(opened.data.labelled["train"]), heldout)
    printed = capsys.readouterr().out
    assert f"linear evaluation: {found['accuracy']:.1%} of {heldout} held-out images are right" in printed
    assert metrics.read(folder)[-1]["class_accuracy"] == pytest.approx(found["accuracy"])
    settings = {"epochs": 1, "optimizer": "sgd", "learning_rate": 3.0}
    experiment = linear_eval.linear_evaluation(opened, **settings)
    again = loop.Run(experiment, epath.Path(folder), {"run": str(run), "step": 4, "config": settings})
    assert again.step == experiment.steps == round(found["fitted"] / 32)
    assert np.abs(again.state.params["head"]["kernel"]).max() > 0.1  # it starts at some 0.01
    for own, theirs in zip(
        jax.tree.leaves(again.state.extras["frozen"]["params"]),
        jax.tree.leaves(opened.restore(4)["params"]["encoder"]),
        strict=True,
    ):
        np.testing.assert_array_equal(own, theirs)
    again.checkpoints.close()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["@7"], r"has no checkpoint of step 7; there are 2, 4\."),
        (["", "--neighbours=61"], "k is 61, but the bank has 60 examples"),
        (["", "--protocol=paper", "--curve"], "a single checkpoint is measured"),
        (["", "--neighbours=0"], "--neighbours 0: expected an integer from 1"),
    ],
)
def test_what_cannot_be_asked_of_it(run, command, arguments, named):
    suffix, *options = arguments
    with pytest.raises(UserError, match=named):
        command(f"{run}{suffix}", *options)


def test_fine_tuning_takes_the_encoder_with_its_statistics(run, opened, tmp_path, capsys, monkeypatch):
    pretrained = opened.restore(4)
    wanted = pretrained["params"]["encoder"], pretrained["batch_stats"]["encoder"]
    config = replace(tiny(image_classifier.PRESETS["digits"], 2), labels_per_class=5)
    experiment = image_classifier.build(config)._replace(report=None)
    tuned, scratch = (
        loop.Run(built, epath.Path(tmp_path / name), {})
        for name, built in (
            ("tuned", start_from(experiment, RunReference(epath.Path(run)))),
            ("scratch", experiment),
        )
    )
    lines = capsys.readouterr().out.splitlines()
    params, statistics = (len(jax.tree.leaves(tree)) for tree in wanted)
    assert f"warm start from {run}: {params + statistics} of {params + statistics + 2} arrays" in lines
    assert f"  encoder: {params} of {params} arrays loaded" in lines
    assert f"  batch_stats/encoder: {statistics} of {statistics} arrays loaded" in lines
    assert "  head: new (2 arrays)" in lines
    unused = {line.split(":")[0].strip() for line in lines if ": unused (" in line}
    assert unused == {"projector", "probe", "batch_stats/projector"}
    for leaf, own, anew in zip(
        *(jax.tree.leaves(tree) for tree in (wanted, encoder(tuned), encoder(scratch))), strict=True
    ):
        np.testing.assert_array_equal(own, leaf)
        assert (np.asarray(anew) != np.asarray(leaf)).any()

    first = tuned.evaluator(tuned.state.params, tuned.state.extras, tuned.data, "heldout")
    assert tuned.train() == 0
    last = metrics.read(tmp_path / "tuned")[-1]
    assert (last["step"], last["split"]) == (2, "heldout")
    assert first["class_loss"] == pytest.approx(np.log(10), rel=1e-6)  # the classifier starts at zero
    assert last["class_loss"] != first["class_loss"]
    scratch.checkpoints.close()


def encoder(run):
    return run.state.params["encoder"], run.state.extras["batch_stats"]["encoder"]
