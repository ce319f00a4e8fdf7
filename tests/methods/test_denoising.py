"""Denoising text: metrics against NumPy, uneven rows, and what the model of each experiment is given to read."""

import functools
from dataclasses import replace

import flax.linen as nn
import jax
import numpy as np
import pytest

from experiments import bart, mass, t5
from ssl_jax.data.corpus import TokenizedCorpus
from ssl_jax.data.passages import Passages
from ssl_jax.data.tokenizers import SENTENCEPIECE
from ssl_jax.models.encoder_decoder import EncoderDecoder
from ssl_jax.training.step import gradients, step_rng

VOCAB, LENGTH, ROWS = 60, 24, 8
PAD, BOS, EOS, MASK = SENTENCEPIECE.pad, SENTENCEPIECE.cls, SENTENCEPIECE.sep, SENTENCEPIECE.mask
MODULES = {"bart": bart, "mass": mass, "t5": t5}


def test_the_last_share_of_the_steps_has_no_dropout():
    config = small(bart)
    config = replace(config, share_without_dropout=0.25, model=replace(config.model, dropout=0.5), steps=8)
    experiment = bart.build(config)
    first, last = experiment.phases
    assert (first.steps, first.method, last.steps) == (6, None, 2)
    assert first.batch == last.batch
    rows = {**batch(LENGTH), "example_weight": np.ones(ROWS, np.float32)}

    @jax.jit
    def token_losses(key):
        """Of the last steps, of the evaluation with the same noise, and of the first steps."""
        params = experiment.method.init(key, rows)["params"]
        trained, before = (
            method.loss(params, {}, rows, key)[0] for method in (last.method, experiment.method)
        )
        evaluated = experiment.method.evaluate(params, {}, rows, jax.random.split(key)[0])
        return [losses["token_loss"].sum for losses in (trained, evaluated, before)]

    trained, evaluated, before = token_losses(jax.random.key(0))
    np.testing.assert_allclose(trained, evaluated, rtol=1e-6)
    assert abs(before - trained) > 1e-3 * abs(trained)


def small(module):
    """The offline preset with a model of two narrow layers, drawn so wide that predictions differ."""
    config = module.PRESETS["tiny"]
    sizes = {"layers": 1, "decoder_layers": 1, "width": 16, "heads": 2, "mlp_width": 32}
    model = replace(config.model, vocab_size=VOCAB, positions=LENGTH, initializer_stddev=0.3, **sizes)
    return replace(
        config, length=LENGTH, steps=10, model=model, schedule=replace(config.schedule, warmup_steps=1)
    )


@functools.cache
def batch(length):
    """Rows of one to five sentences, most of them not full."""
    rng = np.random.default_rng(0)
    sentences = rng.integers(1, 9, 40)
    ends = np.sort(rng.choice(np.arange(1, 40), 11, replace=False))
    corpus = TokenizedCorpus(
        name="random",
        fingerprint="0",
        tokens=rng.integers(5, VOCAB - 5, sentences.sum()),
        sentence_offsets=np.concatenate([[0], np.cumsum(sentences)]),
        first_sentence=np.concatenate([[0], ends]),
        end_sentence=np.concatenate([ends, [40]]),
        hashes=np.arange(12, dtype=np.uint64),
        text_bytes=np.ones(12, np.int64),
        source_index=np.arange(12),
    )
    passages = Passages(corpus, length, SENTENCEPIECE, rng.random(VOCAB) < 0.6)
    rows = [passages(row) for row in range(ROWS)]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


@functools.cache
class Seen:
    """An experiment, its parameters, and what the model reads in one evaluation."""

    def __init__(self, name):
        self.experiment = MODULES[name].build(small(MODULES[name]))
        length = self.experiment.phases[0].batch["tokens"].shape[1]
        self.batch = {**batch(length), "example_weight": np.arange(ROWS, dtype=np.float32) % 3}
        self.params = jax.jit(self.experiment.method.init)(jax.random.key(0), self.batch)["params"]
        self.metrics, (self.arguments, self.settings) = self.evaluate(self.batch)

    @functools.cached_property
    def compiled(self):
        @jax.jit
        def evaluation(params, batch, rng):
            calls = []

            def spy(call, arguments, settings, context):
                if isinstance(context.module, EncoderDecoder) and context.method_name == "predict":
                    calls.append((arguments, {"context_present": settings["context_present"]}))
                return call(*arguments, **settings)

            with nn.intercept_methods(spy):
                metrics = self.experiment.method.evaluate(params, {}, batch, rng)
            return metrics, calls[0]

        return evaluation

    def evaluate(self, batch):
        return jax.device_get(self.compiled(self.params, batch, jax.random.key(5)))


@pytest.fixture(scope="module", params=MODULES)
def seen(request):
    return request.param, Seen(request.param)


def targets_of(name, seen, row):
    """The tokens to write, from what the decoder reads, the original, and nothing else."""
    inputs, positions = (array[row] for array in seen.arguments[2:])
    original = seen.batch["tokens"][row][seen.batch["present"][row]].tolist()
    if name == "bart":
        return original
    if name == "mass":
        fragment = max(1, round(0.5 * (len(original) - 2)))
        return [original[place + 1] for place in positions[:fragment]]
    ends = int((inputs != PAD).sum())  # the start is padding as well, so this counts up to the final sentinel
    return [*inputs[1 : ends + 1].tolist(), EOS]


def test_metrics_are_those_of_each_row_alone_in_numpy(seen):
    """Each row without its padding, alone: the sum of its cross-entropies, times the row's weight."""
    name, seen = seen
    apply = jax.jit(
        lambda source, present, inputs, positions, context: EncoderDecoder(small(MODULES[name]).model).apply(
            {"params": seen.params}, source, present, inputs, positions, context_present=context
        )
    )
    logits = np.asarray(apply(*seen.arguments, seen.settings["context_present"]), np.float64)
    loss = hits = exact = weight = rows = 0.0
    for row, example in enumerate(seen.batch["example_weight"]):
        targets = np.array(targets_of(name, seen, row))
        scores = logits[row, : len(targets)]
        losses = np.log(np.exp(scores).sum(-1)) - scores[np.arange(len(targets)), targets]
        right = scores.argmax(-1) == targets
        loss, hits = loss + example * losses.sum(), hits + example * right.sum()
        weight += example * len(targets)
        exact, rows = exact + (example > 0) * right.all(), rows + (example > 0)
    assert float(seen.metrics["token_loss"][0]) == pytest.approx(loss, rel=1e-4)
    assert float(seen.metrics["token_loss"][1]) == weight
    assert [float(x) for x in seen.metrics["token_accuracy"]] == [hits, weight]
    assert [float(x) for x in seen.metrics["exact_accuracy"]] == [exact, rows]


def test_padding_of_source_and_target_is_never_seen(seen):
    _, seen = seen
    padded = {**seen.batch, "tokens": np.where(seen.batch["present"], seen.batch["tokens"], 17)}
    metrics, _ = seen.evaluate(padded)
    for name, (total, weight) in seen.metrics.items():
        assert metrics[name][0] == pytest.approx(total, rel=1e-5), name
        assert metrics[name][1] == weight


def test_evaluation_is_the_same_each_time(seen):
    _, seen = seen
    again, _ = seen.evaluate(seen.batch)
    jax.tree.map(np.testing.assert_array_equal, again, seen.metrics)


def test_bart_reads_masks_and_starts_with_the_end():
    source, present, inputs, positions = Seen("bart").arguments
    tokens = Seen("bart").batch["tokens"]
    assert (inputs[:, 0] == EOS).all()
    np.testing.assert_array_equal(np.where(inputs[:, 1:] != PAD, tokens[:, :-1], PAD), inputs[:, 1:])
    np.testing.assert_array_equal(positions, np.broadcast_to(np.arange(LENGTH), positions.shape))
    assert (source[present] == MASK).any()


def test_mass_hides_masks_from_the_decoder_and_keeps_places():
    seen = Seen("mass")
    source, present, inputs, positions = seen.arguments
    context = seen.settings["context_present"]
    masked = present & (source == MASK)
    assert masked.sum() > ROWS
    assert masked[present & ~context].all()
    assert (masked & context).sum() <= 2  # a random token may be the mask too; such slots are seen
    tokens = seen.batch["tokens"]
    for row in range(ROWS):
        fragment = max(1, round(0.5 * (seen.batch["words"][row] >= 0).sum()))
        places = positions[row, :fragment]
        np.testing.assert_array_equal(np.diff(places), 1)
        np.testing.assert_array_equal(inputs[row, :fragment], tokens[row, places])
        assert set(np.flatnonzero(masked[row])) <= set(places + 1)


def test_t5_writes_what_was_cut_out_after_its_sentinels():
    seen = Seen("t5")
    source, present, inputs, _ = seen.arguments
    assert (inputs[:, 0] == PAD).all()
    assert seen.experiment.phases[0].batch["tokens"].shape[1] > source.shape[1] == LENGTH
    for row in range(ROWS):
        text = seen.batch["tokens"][row][seen.batch["words"][row] >= 0].tolist()
        *written, end = targets_of("t5", seen, row)
        assert end == EOS
        sentinels = [token for token in written if token > VOCAB - 6]
        assert sentinels == [VOCAB - 1 - i for i in range(len(sentinels))]
        assert written[0] == sentinels[0]
        assert written[-1] == sentinels[-1]
        starts = [written.index(sentinel) for sentinel in sentinels]
        spans = {
            sentinel: written[start + 1 : stop]
            for sentinel, start, stop in zip(sentinels[:-1], starts, starts[1:], strict=False)
        }
        read = source[row][present[row]].tolist()
        assert read[-1] == EOS
        assert [t for token in read[:-1] for t in spans.get(token, [token])] == text


def test_micro_batches_of_uneven_rows_give_the_gradient_of_all_targets_at_once():
    """The noise of a micro-batch has its own key; with none of it, the parts must add up to the whole."""
    config = small(bart)
    still = replace(config, noise=replace(config.noise, permutation=0.0, infilling=0.0))
    method, params = bart.build(still).method, Seen("bart").params
    rows = {**batch(LENGTH), "example_weight": np.ones(ROWS, np.float32)}
    assert len(set(rows["present"].sum(1).tolist())) > 1

    @functools.partial(jax.jit, static_argnums=0)
    def whole(parts):
        rngs = jax.numpy.stack([step_rng(0, 1, part) for part in range(parts)])
        grads, loss, metrics, _ = gradients(method, params, {}, rows, rngs)
        return grads, loss, metrics

    together, apart = whole(1), whole(4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), together, apart)
