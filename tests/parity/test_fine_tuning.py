"""Fine-tuning against Hugging Face's four BERT heads on PyTorch, live: loss, gradients, and 20 steps of AdamW."""

import pathlib
from dataclasses import replace

import jax
import numpy as np
import optax
import pytest

from ssl_jax.hub.bert import load_bert
from ssl_jax.methods.fine_tuning import fine_tuning
from ssl_jax.training.optimizers import OptimizerConfig, make_optimizer
from ssl_jax.training.schedules import ScheduleConfig, make_schedule

torch = pytest.importorskip(
    "torch", reason="no PyTorch here; tests/parity/run.sh makes an environment with it"
)
pytestmark = pytest.mark.filterwarnings("default")  # PyTorch's warnings are not ours to make errors of

ARCHITECTURES = {
    "class": ("sequence", {"num_labels": 5}),
    "score": ("sequence", {"num_labels": 1}),
    "tags": ("token", {"num_labels": 3}),
    "answer": ("question", {}),
}
STEPS, WARMUP, RATE = 20, 4, 5e-3


@pytest.fixture(scope="module")
def reference():
    import transformers

    from tests.parity import parity_reference

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return parity_reference


def made_case(reference, task, folder: pathlib.Path):
    """(their model, our method, our parameters, batches by seed) with the same random weights, without dropout."""
    name, fields = ARCHITECTURES[task]
    case = reference.CASES[name]
    case = case._replace(batch=4, fields={**case.fields, **fields})
    reference.save_random_model(case, 3000 + [*ARCHITECTURES].index(task), folder)
    theirs = reference.load_model(folder, case.architecture)
    for module in theirs.modules():
        if isinstance(module, torch.nn.Embedding):
            module.padding_idx = None  # by default transformers drops the gradient of one token
    config, params = load_bert(folder)
    config = replace(config, dropout=0.0, attention_dropout=0.0)
    ours = fine_tuning(config, task, fields.get("num_labels", 1), head_dropout=0.0)

    def batch(seed):
        inputs, rng = reference.random_inputs(case, seed), np.random.default_rng(seed)
        if task == "tags":
            labels = {"label": rng.integers(-1, 3, inputs["tokens"].shape, dtype=np.int32)}
            labels["label"][inputs["segment_ids"] == 0] = -1
        elif task == "answer":
            inputs["segment_ids"] = np.ones_like(
                inputs["segment_ids"]
            )  # they would answer with padding as well
            labels = {name: rng.integers(0, case.length, 4, dtype=np.int32) for name in ("start", "end")}
        elif task == "class":
            labels = {"label": rng.integers(0, 5, 4, dtype=np.int32)}
        else:
            labels = {"label": rng.normal(size=4).astype(np.float32)}
        return {**inputs, **labels, "example_weight": np.ones(4, np.float32)}

    return theirs, ours, params, batch


def their_loss(theirs, batch):
    names = {"tokens": "input_ids", "token_type_ids": "token_type_ids", "segment_ids": "attention_mask"}
    names |= {"start": "start_positions", "end": "end_positions"}
    arguments = {names[n]: torch.from_numpy(v).long() for n, v in batch.items() if n in names}
    if (labels := batch.get("label")) is not None:
        labels = np.where(labels == -1, -100, labels) if labels.ndim == 2 else labels
        arguments["labels"] = (
            torch.from_numpy(labels) if labels.dtype == np.float32 else torch.from_numpy(labels).long()
        )
    return theirs(**arguments).loss


def our_loss(ours, batch):
    def loss(params):
        losses, _ = ours.method.loss(params, {}, batch, jax.random.key(0))
        (mean,) = losses.values()
        return mean.sum / mean.weight

    return loss


def assert_gradients_equal(theirs, gradients, tmp_path):
    """Theirs is read as a model of our layout, whose parameters are then their gradients."""
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
    theirs.save_pretrained(tmp_path)
    _, expected = load_bert(tmp_path)
    assert jax.tree.structure(expected) == jax.tree.structure(gradients)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-4), gradients, expected)


@pytest.mark.parametrize("task", ARCHITECTURES)
def test_loss_and_gradients(task, reference, tmp_path):
    theirs, ours, params, batches = made_case(reference, task, tmp_path / "model")
    batch = batches(4000)
    loss = their_loss(theirs, batch)
    loss.backward()
    found, gradients = jax.jit(jax.value_and_grad(our_loss(ours, batch)))(params)
    assert float(found) == pytest.approx(loss.item(), abs=1e-4)
    assert_gradients_equal(theirs, gradients, tmp_path / "gradients")


@pytest.mark.parametrize("task", ARCHITECTURES)
def test_twenty_steps_have_the_same_losses(task, reference, tmp_path):
    """With the warm-up, the linear decay, the weight decay and the clipping of transformers' Trainer."""
    import transformers

    theirs, ours, params, batches = made_case(reference, task, tmp_path)
    unlike = ("bias", "LayerNorm.weight")
    groups = [
        {
            "params": [p for n, p in theirs.named_parameters() if n.endswith(unlike) == exempt],
            "weight_decay": decay,
        }
        for exempt, decay in ((False, 0.1), (True, 0.0))
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.999), eps=1e-6)
    scheduler = transformers.get_linear_schedule_with_warmup(optimizer, WARMUP, STEPS)
    expected = []
    for seed in range(STEPS):
        loss = their_loss(theirs, batches(seed))
        expected.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        optimizer.step()
        scheduler.step()

    schedule = make_schedule(ScheduleConfig(learning_rate=RATE, warmup_steps=WARMUP), STEPS)
    rule = make_optimizer(OptimizerConfig(name="adamw", weight_decay=0.1), schedule)

    @jax.jit
    def step(params, state, batch):
        loss, gradients = jax.value_and_grad(our_loss(ours, batch))(params)
        updates, state = rule.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, loss

    loss_of = jax.jit(lambda params, batch: our_loss(ours, batch)(params))
    untrained = [float(loss_of(params, batches(seed))) for seed in range(STEPS)]
    state, found = rule.init(params), []
    for seed in range(STEPS):
        params, state, loss = step(params, state, batches(seed))
        found.append(float(loss))
    np.testing.assert_allclose(found, expected, atol=1e-3, rtol=1e-3)
    assert np.abs(np.subtract(untrained, expected)).max() > 0.05  # the steps make the difference
