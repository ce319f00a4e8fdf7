"""What moves, how fast, and what starts at random: frozen encoders, rates by layer, re-initialised top layers."""

import dataclasses

import jax
import numpy as np
import pytest

from ssl_jax.errors import UserError
from ssl_jax.recipes.fine_tuning import EncoderConfig
from ssl_jax.training.optimizers import OptimizerConfig, make_optimizer
from ssl_jax.training.paths import named_leaves
from tests.runs.test_encoders import TASK, encoder, source_config, tune, tuning
from tests.runs.test_warm_start import begin, cache  # noqa: F401

LAYERS = 2


def deep(folder):
    """A pretraining of two layers."""
    return source_config(folder, layers=LAYERS)


def top(layers):
    return dataclasses.replace(TASK.PRESETS["tiny"].encoder, reinitialised_layers=layers)


def test_top_layers_and_the_pooler_start_at_random(tmp_path, capsys):
    old = begin(tmp_path / "source", deep(tmp_path))
    scratch = tune(tmp_path / "scratch", tuning(tmp_path, bert=deep(tmp_path), from_scratch=True), save=False)
    capsys.readouterr()
    new = tune(tmp_path / "new", tuning(tmp_path, encoder=top(1)), tmp_path / "source", save=False)
    out = capsys.readouterr().out
    assert f"starting from {tmp_path / 'source'} and random top layers (1);" in out
    assert "  encoder: the top 1 of 2 layers and the pooler are initialised at random" in out

    found, pretrained, random = (named_leaves(encoder(run)) for run in (new, old, scratch))
    for name, values in found.items():
        if name.startswith("layers/"):
            np.testing.assert_array_equal(values[:-1], pretrained[name][:-1])
            np.testing.assert_array_equal(values[-1:], random[name][-1:])
        else:
            source = random if name.startswith("pooler/") else pretrained
            np.testing.assert_array_equal(values, source[name])
    kernel = "layers/mlp/up/kernel"
    assert (pretrained[kernel] != random[kernel]).all()
    assert {values.sharding for values in found.values()} == {values.sharding for values in random.values()}


def test_a_bert_that_is_trained_first_loses_its_top_layers_too(tmp_path):
    starts = TASK.build(tuning(tmp_path, bert=deep(tmp_path), encoder=top(2))).starts
    assert [start.replaceable for start in starts] == [True, False]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"encoder": top(3)}, r"reinitialised_layers 3: the encoder has 2 layers; give at most so many"),
        ({"encoder": top(1), "from_scratch": True}, r"with from_scratch, all layers start at random"),
        ({"encoder": top(1), "frozen_encoder": True}, r"with frozen_encoder, these layers would stay random"),
        ({"encoder": top(1), "shared": True}, r"the layers of this encoder share their parameters"),
    ],
    ids=["too many", "from scratch", "frozen", "shared"],
)
def test_settings_that_do_not_fit_together(fields, message, tmp_path):
    bert = deep(tmp_path)
    if fields.pop("shared", False):
        bert = dataclasses.replace(bert, model=dataclasses.replace(bert.model, share_layers=True))
    with pytest.raises(UserError, match=message):
        TASK.build(tuning(tmp_path, bert=bert, **fields))


def test_a_frozen_encoder_does_not_move_and_has_no_optimiser_state(tmp_path):
    config = tuning(tmp_path, frozen_encoder=True, encoder=EncoderConfig(dropout=0, attention_dropout=0))
    experiment = TASK.build(config)
    params = experiment.method.init(jax.random.key(0), zeros(experiment))["params"]
    batch = zeros(experiment)

    @jax.jit
    def step(params, state):
        def loss(params):
            losses, _ = experiment.method.loss(params, {}, batch, jax.random.key(1))
            return sum(mean.sum for mean in losses.values())

        updates, state = experiment.optimizer.update(jax.grad(loss)(params), state, params)
        return jax.tree.map(lambda p, u: p + u, params, updates), state

    state = experiment.optimizer.init(params)
    moved, after = step(*step(params, state))
    before, found = named_leaves(params), named_leaves(moved)
    trained = {"classifier/dense/kernel", "classifier/dense/bias"} | {
        f"encoder/pooler/{name}" for name in ("kernel", "bias")
    }
    assert {name for name in found if (found[name] != before[name]).any()} == trained
    sizes = {name: values.size for name, values in before.items()}
    kept = sum(leaf.size for leaf in jax.tree.leaves(after) if leaf.ndim)
    assert kept == 2 * sum(sizes[name] for name in trained)  # Adam's two means


def test_rates_fall_from_the_head_to_the_embeddings(tmp_path):
    """Head and pooler have the whole rate; each layer below has 0.8 times that of the one above it."""
    experiment = TASK.build(tuning(tmp_path, bert=deep(tmp_path)))
    shapes = jax.eval_shape(experiment.method.init, jax.random.key(0), zeros(experiment))["params"]
    ones = jax.tree.map(lambda x: np.ones(x.shape, x.dtype), shapes)
    config = OptimizerConfig(name="sgd", weight_decay=0, clip_norm=0, layer_decay=0.8)
    optimizer = make_optimizer(config, lambda step: 1.0)
    updates, _ = optimizer.update(ones, optimizer.init(ones), ones)
    for name, update in named_leaves(updates).items():
        rates = -np.asarray(update)
        if name.startswith("encoder/layers/"):
            np.testing.assert_allclose(rates[0], 0.8**2, rtol=1e-6)
            np.testing.assert_allclose(rates[1], 0.8, rtol=1e-6)
        else:
            expected = 0.8**3 if name.startswith("encoder/embeddings/") else 1
            np.testing.assert_allclose(rates, expected, rtol=1e-6, err_msg=name)


def zeros(experiment):
    """A batch of one sentence of four tokens, with the first label."""
    batch = {name: np.zeros(x.shape, x.dtype) for name, x in experiment.phases[0].batch.items()}
    batch["segment_ids"][:, :4] = 1
    batch["example_weight"][:] = 1
    return batch
