"""The objectives of a summariser: which network learns from what, and rewards that cannot be raised by tricks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.decoding.pointer import Writing, Written
from ssl_jax.method import Mean, split_variables
from ssl_jax.methods.summarization import fluency, log_likelihoods, make_networks, summarization
from ssl_jax.methods.summary_objectives import OBJECTIVES, ObjectiveConfig, Turn, code_advantages
from ssl_jax.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from ssl_jax.recipes.summarization import from_denoiser
from ssl_jax.training.paths import named_leaves
from ssl_jax.training.step import objective
from ssl_jax.transforms.summaries import Rows

VOCAB, LENGTH, CODE, BATCH = 20, 12, 5, 4
WRITING = Writing(length=CODE, begin=2, end=3, pad=0, first_regular=5)
MODEL = EncoderDecoderConfig(
    vocab_size=VOCAB,
    positions=12,
    layers=1,
    decoder_layers=1,
    width=8,
    heads=2,
    mlp_width=8,
    dropout=0.0,
    attention_dropout=0.0,
    norm="pre",
    initializer_stddev=0.3,
)
NETWORKS = make_networks(MODEL, WRITING, mask_id=4, language=True)


def batch():
    chance = np.random.default_rng(0)
    tokens = chance.integers(5, VOCAB, (BATCH, LENGTH)).astype(np.int32)
    tokens[:, 0], tokens[:, -1] = 2, 3
    sentence = chance.integers(5, VOCAB, (BATCH, CODE)).astype(np.int32)
    sentence[:, 3:] = 3, 0
    return {
        "tokens": tokens,
        "present": np.ones(tokens.shape, bool),
        "sentence": sentence,
        "sentence_present": sentence != 0,
        "vocab_size": np.full(BATCH, VOCAB, np.int32),
        "example_weight": np.ones(BATCH, np.float32),
    }


@functools.cache
def started():
    method = summarization(NETWORKS, ObjectiveConfig())
    return split_variables(jax.jit(method.init)(jax.random.key(0), batch()))


@functools.cache
def step():
    """The losses and gradients of a step of the paper's objective, with no reward of the generator."""
    config = ObjectiveConfig(
        warmup_steps=5,
        denoising_weight=0.0,
        repeat_penalty=0.0,
        adversarial_weight=0.0,
        reconstruction_weight=0.0,
    )
    method = summarization(NETWORKS, config)

    def total(params, extras, rows):
        losses, aux = method.loss(params, extras, rows, jax.random.key(1))
        return objective(losses), (losses, aux.extras)

    return jax.jit(jax.value_and_grad(total, has_aux=True))


def learning(finished_steps=10, rows=None):
    """(losses, norm of the gradient of each network) of one step."""
    params, extras = started()
    extras = {**extras, "finished_steps": jnp.int32(finished_steps)}
    (_, (losses, _)), grads = step()(params, extras, rows or batch())
    norms = {name: squared_norm(tree) for name, tree in grads.items()}
    return {name: Mean(*mean) for name, mean in losses.items()}, norms


def squared_norm(tree):
    return float(sum(jnp.square(x).sum() for x in jax.tree.leaves(tree)))


def test_no_gradient_passes_through_the_words_of_the_paper():
    """With all rewards off, the other networks learn and the generator does not; the words are discrete."""
    _, norms = learning()
    assert norms.pop("generator") == 0
    assert all(norm > 0 for norm in norms.values())


@pytest.mark.parametrize("name", ["gumbel", "wgan"])
def test_through_soft_words_the_reconstruction_reaches_the_generator(name):
    """With a generator that is a table of logits, and networks that are linear."""
    config = ObjectiveConfig(name=name, adversarial_weight=0.0)
    rows, chance = batch(), jax.random.split(jax.random.key(0), 8)
    article, sentence = (
        Rows(rows["tokens"], rows["present"]),
        Rows(rows["sentence"], rows["sentence_present"]),
    )
    written = Written(rows["sentence"], rows["sentence_present"])
    shapes = {
        "generator": (BATCH, CODE, VOCAB),
        "reconstructor": (VOCAB, LENGTH - 1, VOCAB),
        "critic": (VOCAB,),
    }
    start = {
        part: jax.random.normal(key, shape)
        for key, (part, shape) in zip(chance, shapes.items(), strict=False)
    }

    def one_hot(words):
        return words if words.ndim == 3 else jax.nn.one_hot(words, VOCAB)

    def reconstruct(own, words, present, article, rng):
        log_probs = jax.nn.log_softmax(jnp.einsum("blv,vtw->btw", one_hot(words), own))
        return -jnp.take_along_axis(log_probs, article.tokens[:, 1:, None], axis=-1).mean((1, 2))

    def total(params):
        log_probs = jax.nn.log_softmax(params["generator"])
        turn = Turn(params, article, sentence, written, written, log_probs, jnp.ones(BATCH), chance)
        losses, _ = OBJECTIVES[name](config, turn, reconstruct, lambda own, words, _: one_hot(words) @ own)
        return objective(losses), losses

    grads, losses = jax.grad(total, has_aux=True)(start)
    assert all(squared_norm(grads[part]) > 0 for part in start)
    assert all(np.isfinite(mean.sum) for mean in losses.values())
    assert losses["generator_loss"].sum == 0


def test_the_warm_up_writes_no_code():
    losses, norms = learning(finished_steps=4)
    assert losses["generator_loss"].weight == losses["critic_loss"].weight == 0
    assert norms.pop("critic") == 0
    assert all(norm > 0 for norm in norms.values())


def test_an_unknown_word_of_a_sentence_is_not_learnt():
    """It may not be written, so that its log-probability is no loss of use."""
    rows = batch()
    rows["sentence"][:, 0] = 1
    losses, _ = learning(finished_steps=4, rows=rows)
    assert 0 < losses["denoising_loss"].sum / BATCH < 20


def test_generator_and_reconstructor_can_start_from_a_denoiser_of_their_size():
    params, _ = started()
    tokens = jnp.zeros((1, CODE), jnp.int32)
    bart = jax.eval_shape(EncoderDecoder(MODEL).init, jax.random.key(0), tokens, tokens, tokens)["params"]
    ours = {name: leaf.shape for name, leaf in named_leaves(params).items()}
    found = {name: leaf.shape for name, leaf in named_leaves(from_denoiser(bart)).items()}
    assert found.items() <= ours.items()
    assert len(found) == 2 * len(named_leaves(bart))
    ours = {name: shape for name, shape in ours.items() if name.startswith(("generator/", "reconstructor/"))}
    new = {name.split("/")[1] for name in ours.keys() - found.keys()}
    assert new == {"copy_query", "copy_key", "gate"}
    assert from_denoiser(params) is params


ARTICLE = Rows(np.array([[2, 5, 6, 7, 8, 9, 10, 3]]), np.ones((1, 8), bool))


def advantages(tokens, logits=0.0, better=0.0, fluency=None, **objectives):
    """Of one code that ends with its first [EOS]."""
    tokens = np.array([tokens])
    present = np.arange(tokens.shape[1])[None] <= (tokens == 3).argmax(-1)[:, None]
    config = ObjectiveConfig(**objectives)
    values = jnp.full(tokens.shape, logits)
    weights = np.ones(1, np.float32)
    return np.asarray(
        code_advantages(
            config, ARTICLE, Written(tokens, present), values, jnp.full(1, better), weights, fluency
        )
    )[0]


def test_what_follows_the_end_changes_no_advantage():
    plain = advantages([5, 9, 3, 0, 0], better=0.5)
    np.testing.assert_array_equal(advantages([5, 9, 3, 11, 12], better=0.5), plain)
    assert plain[:3].all()
    assert not plain[3:].any()


def test_repeating_and_copying_have_a_price():
    assert advantages([11, 12, 11, 12, 3])[3] < advantages([11, 12, 13, 14, 3])[3]
    start, scattered = [5, 6, 7, 8, 3], [5, 7, 9, 6, 3]
    np.testing.assert_array_equal(advantages(start), advantages(scattered))
    assert advantages(start, copy_penalty=1.0)[0] < advantages(scattered, copy_penalty=1.0)[0]


def test_tokens_that_a_language_model_expects_are_reinforced():
    """Of each token and those after it, beside the mean of the batch; what follows the end does not count."""
    fluency = jnp.array([[-1.0, -2.0, -3.0, -100.0]])
    found = advantages([11, 12, 3, 0], fluency=fluency, language_weight=0.5, discount=0.0)
    np.testing.assert_allclose(found, [0.5, 0.0, -0.5, 0.0])


def everywhere(tokens):
    return Written(tokens, np.ones(np.shape(tokens), bool))


def test_what_is_repeated_is_not_fluent():
    """A model may expect a row of full stops to go on; the third one ends a repeated pair. Nothing else is changed."""
    params = started()[0]["language"]
    counts = np.arange(1, VOCAB + 1, dtype=np.float32)
    tokens = np.tile(np.int32([11, 11, 11, 11, 3]), (BATCH, 1))
    found = fluency(NETWORKS, params, counts, everywhere(tokens))
    assert not found[:, 2:4].any()
    apart = Written(tokens, np.arange(5) < np.full((BATCH, 1), 2))  # pairs within the text alone are repeated
    expected = fluency(NETWORKS, params, counts, apart)
    np.testing.assert_array_equal(found[:, [0, 1, 4]], expected[:, [0, 1, 4]])
    assert expected.all()


def test_a_token_is_fluent_as_far_as_the_model_expects_it_more_than_its_frequency_says():
    """Against float64; a word that is likely for its frequency alone is not fluent."""
    params, _ = started()
    tokens = batch()["sentence"]
    counts = np.random.default_rng(1).integers(0, 50, VOCAB).astype(np.float32)
    likely = np.asarray(log_likelihoods(NETWORKS, params["language"], tokens), np.float64)
    frequencies = np.log((np.float64(counts) / counts.sum() + 1 / VOCAB) / 2)
    found = fluency(NETWORKS, params["language"], counts, everywhere(tokens))
    np.testing.assert_allclose(found, likely - frequencies[tokens], atol=1e-5)
    hidden, _ = NETWORKS.language.apply({"params": params["language"]}, WRITING.inputs(tokens))
    logits = NETWORKS.language.apply({"params": params["language"]}, hidden, method="logits")
    expected = np.float64(np.exp(logits)) / np.float64(np.exp(logits)).sum(-1, keepdims=True)
    np.testing.assert_allclose(
        likely, np.log(expected)[np.arange(BATCH)[:, None], np.arange(CODE), tokens], atol=1e-5
    )


def test_no_token_is_fluent_because_sentences_hardly_ever_have_it():
    """By a model that knows nothing, a token that sentences never have gains log 2 at most, however many there are."""
    params = jax.tree.map(jnp.zeros_like, started()[0]["language"])
    counts = np.zeros(VOCAB, np.float32)
    counts[5:10] = 1e6
    tokens = np.tile(np.int32([5, 11, 12, 11, 3]), (BATCH, 1))
    found = fluency(NETWORKS, params, counts, everywhere(tokens))
    np.testing.assert_allclose(found[:, 1:], np.log(2), atol=1e-5)
    assert (found[:, 0] < 0).all()


@pytest.mark.parametrize("finished_steps", [4, 10])
def test_the_tokens_of_sentences_are_counted(finished_steps):
    rows = batch()
    params, extras = started()
    (_, (_, extras)), _ = step()(params, {**extras, "finished_steps": jnp.int32(finished_steps)}, rows)
    seen = rows["sentence"][rows["sentence_present"]]
    np.testing.assert_array_equal(extras["token_counts"], np.bincount(seen, minlength=VOCAB))


def test_a_length_penalty_is_for_codes_that_are_longer_than_others():
    tokens = np.array([[11, 3, 0, 0], [11, 12, 13, 3]])
    article = Rows(*(np.repeat(x, 2, axis=0) for x in ARTICLE))
    values = code_advantages(
        ObjectiveConfig(length_penalty=0.5),
        article,
        Written(tokens, tokens != 0),
        jnp.zeros((2, 4)),
        jnp.zeros(2),
        jnp.ones(2),
    )
    np.testing.assert_allclose(values, [[0.5, 0.5, 0, 0], [-0.5] * 4])


def test_a_code_that_helps_the_reconstruction_more_than_the_greedy_one_is_reinforced():
    assert (advantages([5, 9, 3], better=0.2, repeat_penalty=0.0) > 0).all()
    assert (advantages([5, 9, 3], better=-0.2, repeat_penalty=0.0) < 0).all()
