"""Text as the code of an autoencoder (Wang & Lee 2018, arXiv:1810.02851): summaries that are learnt without pairs.

A generator writes a short text, the code, from an article; a reconstructor predicts the article from the code; a critic
that reads real sentences keeps the code readable. Generator and reconstructor can copy what they read. The loss is one
sum: each network's terms are without gradient for the others. The three networks are at `generator`, `reconstructor`
and `critic` of the parameters, for an optimiser with groups.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssl_jax.decoding.pointer import Writing, Written, write_texts
from ssl_jax.losses.adversarial import mean_over_text
from ssl_jax.losses.metrics import accuracy
from ssl_jax.losses.policy_gradient import copied_ngrams, repeated_ngrams
from ssl_jax.method import Aux, Batch, Extras, Mean, Method, Tree
from ssl_jax.methods.summary_objectives import (
    OBJECTIVES,
    ObjectiveConfig,
    Turn,
    constant,
    of_tokens,
    score_of,
)
from ssl_jax.models.critic import Critic
from ssl_jax.models.encoder_decoder import EncoderDecoderConfig
from ssl_jax.models.gpt2 import Gpt2, Gpt2Config
from ssl_jax.models.pointer import PointerGenerator
from ssl_jax.transforms.summaries import Rows, noisy_sentence, random_extract


class Networks(NamedTuple):
    """The modules, and the form of codes; `language` is a language model of sentences, if it judges codes too."""

    generator: PointerGenerator
    reconstructor: PointerGenerator
    critic: Critic
    writing: Writing
    mask_id: int
    language: Gpt2 | None = None


def make_networks(
    model: EncoderDecoderConfig, writing: Writing, mask_id: int, language: bool = False
) -> Networks:
    """The networks, all of one size.

    Args:
      model: their size.
      writing: the form of codes.
      mask_id: stands for words that the reconstructor's decoder does not see.
      language: whether there is a language model of sentences.
    """
    layers = dataclasses.replace(model.encoder, causal=True)
    critic = Critic(layers, model.vocab_size, writing.length)
    size = {
        name: getattr(model, name)
        for name in ("vocab_size", "layers", "width", "heads", "mlp_width", "dtype")
    }
    reader = Gpt2(Gpt2Config(positions=writing.length, dropout=0.0, attention_dropout=0.0, **size))
    return Networks(
        PointerGenerator(model),
        PointerGenerator(model),
        critic,
        writing,
        mask_id,
        reader if language else None,
    )


def summarization(networks: Networks, config: ObjectiveConfig) -> Method:
    """The method. A batch is of `ssl_jax.data.summary_rows`.

    Metrics: `reconstruction_loss` (nats per token of the article), `critic_score`, the mean probability that a prefix
    of a code is real (with wgan: its score), `code_tokens`, `repeated`, the share of tokens that end a repeated pair,
    `copied`, the share of tokens that end four tokens of the article; with a language model `code_fluency`, the mean of
    `fluency` over the tokens of codes. Rewards are known when the warm-up is over.
    """
    writing = networks.writing
    ids = {"begin_id": writing.begin, "end_id": writing.end, "pad_id": writing.pad}
    vocab = networks.generator.config.vocab_size

    def init(rng: jax.Array, batch: Batch) -> dict[str, Tree]:
        keys = jax.random.split(rng, 4)
        article, sentence = unpaired_rows(batch)
        params = {
            "generator": networks.generator.init(keys[0], *article, sentence.tokens)["params"],
            "reconstructor": networks.reconstructor.init(keys[1], *sentence, article.tokens)["params"],
            "critic": networks.critic.init(keys[2], *sentence)["params"],
        }
        extras: Extras = {"finished_steps": jnp.zeros((), jnp.int32)}
        if networks.language:
            params["language"] = networks.language.init(keys[3], sentence.tokens)["params"]
            extras |= {"token_counts": jnp.zeros(vocab, jnp.float32)}
        return {"params": params, **extras}

    def policy(params: Tree, source: Rows, tokens: jax.Array, used: jax.Array) -> jax.Array:
        """Log-probabilities [batch, length, vocab] of every token of a code, given those before it."""
        allowed = writing.allowed(vocab, used, jnp.arange(writing.length, dtype=jnp.int32))
        return networks.generator.apply({"params": params}, *source, writing.inputs(tokens), allowed)

    def reconstruct(
        params: Tree, code: jax.Array, present: jax.Array, article: Rows, rng: jax.Array
    ) -> jax.Array:
        """Nats per token [batch] of the article, of whose words the decoder does not see some."""
        inputs = article.tokens[:, :-1]
        hidden = jax.random.bernoulli(rng, config.word_dropout, inputs.shape) & (inputs != writing.begin)
        inputs = jnp.where(hidden, networks.mask_id, inputs)
        return reconstruction(networks, params, code, present, article, inputs)[1]

    def judge(params: Tree, tokens: jax.Array, present: jax.Array) -> jax.Array:
        return networks.critic.apply({"params": params}, tokens, present)

    def language_loss(params: Tree, sentence: Rows, weights: jax.Array) -> dict[str, Mean]:
        if not networks.language:
            return {}
        nats = -log_likelihoods(networks, params["language"], sentence.tokens)
        return {"language_loss": Mean.of(mean_over_text(nats, sentence.present), weights)}

    def denoising(params: Tree, article: Rows, sentence: Rows, batch: Batch, rng: jax.Array) -> jax.Array:
        """Nats per token [batch] of each sentence, found among words of an unrelated article."""
        source = noisy_sentence(rng, sentence, article, article.tokens.shape[1], **ids)
        log_probs = policy(params, source, sentence.tokens, batch["vocab_size"])
        tokens = sentence.tokens
        known = (tokens >= writing.first_regular) | (tokens == writing.end)  # [UNK] is never written
        return mean_over_text(-of_tokens(log_probs, tokens), sentence.present & known)

    def warm_up(
        params: Tree, extras: Extras, batch: Batch, rng: jax.Array
    ) -> tuple[dict[str, Mean], dict[str, Mean]]:
        article, sentence = unpaired_rows(batch)
        examples = batch["example_weight"]
        keys = jax.random.split(rng, 3)
        code = random_extract(keys[0], article, writing.length, **ids)
        nats = reconstruct(params["reconstructor"], *code, article, keys[1])
        denoised = denoising(params["generator"], article, sentence, batch, keys[2])
        losses = {
            "reconstruction_loss": Mean.of(nats, examples),
            "denoising_loss": Mean.of(denoised, examples),
            "generator_loss": Mean.of(jnp.zeros_like(nats), jnp.zeros_like(nats)),  # no code is written
            "critic_loss": Mean.of(jnp.zeros_like(nats), jnp.zeros_like(nats)),
            **language_loss(params, sentence, examples),
        }
        unknown = Mean.of(jnp.zeros_like(nats), jnp.zeros_like(nats))
        metrics = {"critic_score": unknown} | ({"code_fluency": unknown} if networks.language else {})
        return losses, _code_metrics(Written(*code), article, examples) | metrics

    def adversarial(
        params: Tree, extras: Extras, batch: Batch, rng: jax.Array
    ) -> tuple[dict[str, Mean], dict[str, Mean]]:
        article, sentence = unpaired_rows(batch)
        keys = jax.random.split(rng, 5)
        greedy, drawn = write_texts(
            networks.generator, params["generator"], *article, batch["vocab_size"], writing, keys[0]
        )
        log_probs = policy(params["generator"], article, drawn.tokens, batch["vocab_size"])
        weights = batch["example_weight"]
        turn = Turn(params, article, sentence, greedy, drawn, log_probs, weights, keys)
        metrics = _code_metrics(drawn, article, weights)
        if networks.language:
            fluent = constant(fluency(networks, params["language"], extras["token_counts"], drawn))
            turn = turn._replace(fluency=fluent)
            metrics["code_fluency"] = Mean.of(mean_over_text(fluent, drawn.present), weights)
        losses, scores = OBJECTIVES[config.name](config, turn, reconstruct, judge)
        losses |= language_loss(params, sentence, weights)
        denoised = denoising(params["generator"], article, sentence, batch, keys[4])
        losses["denoising_loss"] = Mean.of(denoised, weights).scaled(config.denoising_weight)
        metrics["critic_score"] = Mean.of(mean_over_text(constant(scores), drawn.present), weights)
        return losses, metrics

    def loss(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> tuple[dict[str, Mean], Aux]:
        if networks.language:
            sentence = unpaired_rows(batch)[1]
            counts = extras["token_counts"].at[sentence.tokens].add(jnp.float32(sentence.present))
            extras = {**extras, "token_counts": counts}
        if config.warmup_steps:
            warm = extras["finished_steps"] < config.warmup_steps
            losses, metrics = jax.lax.cond(warm, warm_up, adversarial, params, extras, batch, rng)
        else:  # one branch takes half of the time to compile
            losses, metrics = adversarial(params, extras, batch, rng)
        return losses, Aux(metrics, extras)

    def evaluate(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> dict[str, Mean]:
        article, sentence = unpaired_rows(batch)
        examples = batch["example_weight"]
        code, _ = write_texts(networks.generator, params["generator"], *article, batch["vocab_size"], writing)
        log_probs, nats = reconstruction(networks, params["reconstructor"], *code, article)
        counted = jnp.float32(article.present[:, 1:]) * examples[:, None]
        scores = judge(params["critic"], *code)
        real = judge(params["critic"], *sentence)
        own = score_of if config.name != "wgan" else (lambda x: x)
        return {
            "reconstruction_loss": Mean.of(nats, examples),
            "reconstruction_accuracy": accuracy(log_probs, article.tokens[:, 1:], counted),
            "denoising_loss": Mean.of(
                denoising(params["generator"], article, sentence, batch, rng), examples
            ),
            "real_score": Mean.of(mean_over_text(own(real), sentence.present), examples),
            "critic_score": Mean.of(mean_over_text(own(scores), code.present), examples),
            **_code_metrics(code, article, examples),
        }

    def after_update(params: Tree, extras: Extras, step: jax.Array) -> Extras:
        return {**extras, "finished_steps": jnp.asarray(step, jnp.int32)}

    return Method(init, loss, evaluate, after_update)


def reconstruction(
    networks: Networks,
    params: Tree,
    code: jax.Array,
    present: jax.Array,
    article: Rows,
    inputs: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """What the reconstructor makes of codes.

    Args:
      networks: the modules.
      params: of the reconstructor.
      code: int [batch, code_length], or float [batch, code_length, vocab] of soft words.
      present: [batch, code_length].
      article: rows of articles.
      inputs: int [batch, length - 1], what the decoder reads before each token; None for the article itself.

    Returns:
      log-probabilities [batch, length - 1, vocab] of all tokens of the article but the first, and their mean nats
      [batch].
    """
    inputs = article.tokens[:, :-1] if inputs is None else inputs
    log_probs = networks.reconstructor.apply({"params": params}, code, present, inputs)
    losses = -of_tokens(log_probs, article.tokens[:, 1:])
    return log_probs, mean_over_text(losses, article.present[:, 1:])


def log_likelihoods(networks: Networks, params: Tree, tokens: jax.Array) -> jax.Array:
    """Of each token [batch, length], given those before it, by the language model of sentences."""
    hidden, _ = networks.language.apply({"params": params}, networks.writing.inputs(tokens))
    logits = networks.language.apply({"params": params}, hidden, method="logits")
    return of_tokens(jax.nn.log_softmax(logits.astype(jnp.float32)), tokens)


def fluency(networks: Networks, params: Tree, counts: jax.Array, code: Written) -> jax.Array:
    """How well each token [batch, length] follows those before it: SLOR (arXiv:1809.08731), whose mean judges a text.

    Its log-probability by the language model, minus that by its frequency. Without the second term, a text would gain
    by frequent words alone. A frequency is the mean of that in sentences and of that of each token in a uniform choice:
    a token that sentences hardly ever have, to which the model gives more than its share, must not gain by being rare.
    It is 0 for a token that ends a repeated pair, however much the model expects a row of full stops to go on.

    Args:
      networks: the modules.
      params: of the language model.
      counts: [vocab], how often each token occurs in sentences.
      code: the texts.
    """
    frequencies = (counts / counts.sum() + 1 / len(counts)) / 2
    expected = log_likelihoods(networks, params, code.tokens) - jnp.log(frequencies)[code.tokens]
    return expected * (1 - repeated_ngrams(*code, 2))


def unpaired_rows(batch: Batch) -> tuple[Rows, Rows]:
    """(articles, sentences) of a batch."""
    return (
        Rows(batch["tokens"], batch["present"]),
        Rows(batch["sentence"], batch["sentence_present"]),
    )


def _code_metrics(code: Written, article: Rows, examples: jax.Array) -> dict[str, Mean]:
    present = jnp.float32(code.present) * examples[:, None]
    return {
        "code_tokens": Mean.of(jnp.float32(code.present).sum(-1), examples),
        "repeated": Mean.of(repeated_ngrams(code.tokens, code.present, 2), present),
        "copied": Mean.of(copied_ngrams(*code, *article, 4), present),
    }
