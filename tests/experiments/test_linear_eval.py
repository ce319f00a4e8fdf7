"""Probes on a finished run, over its checkpoints, and fine-tuning that starts from it."""

import json
from dataclasses import replace

import jax
import matplotlib.image
import numpy as np
import pytest
from etils import epath

from experiments import image_classifier, linear_eval, simclr
from ssl_jax.errors import UserError
from ssl_jax.models.projection import MlpConfig
from ssl_jax.models.resnet import ResNetConfig
from ssl_jax.runs.configuration import run_settings
from ssl_jax.runs.opening import open_run
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
    return open_run(epath.Path(run))


@pytest.fixture
def command(monkeypatch, opened):
    """`main` of the command; the run is opened, and its network compiled, once for all tests."""
    monkeypatch.setattr(linear_eval, "open_run", lambda folder: opened)
    return lambda *arguments: linear_eval.main([*map(str, arguments), f"--examples={EXAMPLES}"])


def figures_in(folder):
    return json.loads((folder / "probes.json").read_text())


def test_over_all_checkpoints_and_again_over_each(run, command, capsys):
    assert command(run, "--curve") == 0
    output = run / "linear_eval"
    assert f"figures and plots are in {output}" in capsys.readouterr().out
    curve = figures_in(output)
    assert list(curve) == ["step 0", "step 2", "step 4", "raw pixels"]
    assert all(
        set(row) >= METRICS and all(0 <= value <= 1 for value in row.values()) for row in curve.values()
    )
    assert curve["step 0"] != curve["step 4"] != curve["raw pixels"]
    pixels = matplotlib.image.imread(output / "plots" / "curve.png")
    assert min(pixels.shape[:2]) > 300
    assert pixels[..., :3].std() > 0.05

    # The same images were probed when the run ended, by the trained encoder and by an untrained one.
    report = figures_in(run)
    for ours, theirs in (("step 0", "random encoder"), ("step 4", "trained"), ("raw pixels", "raw pixels")):
        assert curve[ours] == report[theirs]

    for name, step in ((run, 4), (f"{run}@2", 2)):
        assert command(name) == 0
        assert figures_in(output) == {n: curve[n] for n in ("step 0", f"step {step}", "raw pixels")}
    assert min(matplotlib.image.imread(output / "plots" / "probes.png").shape[:2]) > 300


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["@7"], r"@7: has no such checkpoint; there are \[2, 4\]"),
        (["", "--neighbours=61"], "k is 61, but the bank has 60 examples"),
        (["", "--neighbours=0"], "k is 0"),
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
        loop.Run(experiment, epath.Path(tmp_path / name), {}, init_from=source)
        for name, source in (("tuned", str(run)), ("scratch", None))
    )
    lines = capsys.readouterr().out.splitlines()[1:]
    assert (
        lines[0]
        == f"warm start from {run}: {len(jax.tree.leaves(wanted))} of {len(jax.tree.leaves(wanted)) + 2} arrays"
    )
    assert lines[1] == "  initialised anew: params/head/bias, params/head/kernel"
    unused = lines[2].removeprefix("  unused: ").split(", ")
    assert {name.split("/")[1] for name in unused} == {"projector", "probe"}
    for leaf, own, anew in zip(
        *(jax.tree.leaves(tree) for tree in (wanted, encoder(tuned), encoder(scratch))), strict=True
    ):
        np.testing.assert_array_equal(own, leaf)
        assert (np.asarray(anew) != np.asarray(leaf)).any()

    heldout = tuned.data.heldout[0]["heldout"]
    first = tuned.evaluator(tuned.state.params, tuned.state.extras, heldout)
    assert tuned.train() == 0
    last = metrics.read(tmp_path / "tuned")[-1]
    assert (last["step"], last["split"]) == (2, "heldout")
    assert first["class_loss"] == pytest.approx(np.log(10), rel=1e-6)  # the classifier starts at zero
    assert last["class_loss"] != first["class_loss"]
    scratch.checkpoints.close()


def encoder(run):
    return run.state.params["encoder"], run.state.extras["batch_stats"]["encoder"]
