"""The objectives of a summariser: how the generator learns from the critic and the reconstructor.

Each is a function of one `Turn` and of the two other networks. Its losses are without gradient for the networks that
they are not about: the reconstruction trains the reconstructor, and with soft words the generator too.
"""

import dataclasses
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from ssl_jax.decoding.pointer import Written, gumbel_noise
from ssl_jax.domains import NonNegativeFloat, NonNegativeInt, Probability, Settings, Temperature
from ssl_jax.errors import UserError
from ssl_jax.losses.adversarial import gradient_penalty, prefix_critic
from ssl_jax.losses.policy_gradient import (
    centred,
    copied_ngrams,
    discounted_returns,
    prefix_rewards,
    reinforce,
    repeated_ngrams,
)
from ssl_jax.method import Mean, Tree
from ssl_jax.models.quantization.straight_through import straight_through
from ssl_jax.ops.gradients import scale_gradient
from ssl_jax.transforms.summaries import Rows

constant = jax.lax.stop_gradient

Reconstruct = Callable[[Tree, jax.Array, jax.Array, Rows, jax.Array], jax.Array]
"""`(params, code, present, article, rng) -> [batch]` nats per token of the article."""
Judge = Callable[[Tree, jax.Array, jax.Array], jax.Array]
"""`(params, code, present) -> [batch, length]` scores of prefixes."""


@dataclasses.dataclass(frozen=True)
class ObjectiveConfig(Settings):
    """What is minimised."""

    name: Literal["paper", "wgan", "gumbel"] = "paper"
    """paper: the critic judges every prefix, and the generator learns by self-critical REINFORCE. wgan: soft words, and
    a Wasserstein critic with a gradient penalty (WGAN-GP). gumbel: drawn words with a straight-through gradient."""
    warmup_steps: NonNegativeInt = 300
    """Steps in which the generator learns to find a sentence among other words, and the reconstructor to rebuild
    articles from random words of them; no code is written."""
    adversarial_weight: NonNegativeFloat = 1.0
    """Weight of the critic's judgement in the generator's loss; 0 for codes that need not be readable."""
    reconstruction_weight: NonNegativeFloat = 5.0
    """Weight of the article's reconstruction, in nats per token, in the generator's loss."""
    language_weight: NonNegativeFloat = 0.0
    """Weight of how well each token follows those before it (SLOR, by a language model that learns the sentences) in
    the rewards of paper; the model is trained if the weight is not 0."""
    denoising_weight: NonNegativeFloat = 0.1
    """Weight of the warm-up's sentence task after the warm-up."""
    repeat_penalty: NonNegativeFloat = 1.0
    """Taken off the reward of a token that ends a pair of tokens which the code already has."""
    copy_penalty: NonNegativeFloat = 0.0
    """Taken off the reward of a token that ends four tokens in a row which the article has."""
    length_penalty: NonNegativeFloat = 0.0
    """Taken off the reward of a code for each token that it has more than the mean of its batch."""
    discount: Probability = 0.9
    """Of later rewards, per token."""
    word_dropout: Probability = 0.3
    """Share of the words that the reconstructor's decoder does not see in training, so that it needs the code."""
    temperature: Temperature = 1.0
    """Of the soft words whose gradient gumbel takes."""
    gradient_penalty: NonNegativeFloat = 10.0
    """Weight of the gradient penalty of wgan."""

    def check_relations(self) -> None:
        if self.language_weight and self.name != "paper":
            raise UserError(
                f"language_weight {self.language_weight:g}: is a reward, and {self.name} has none; expected 0, or name "
                "paper."
            )


class Turn(NamedTuple):
    """What the objectives of one step share.

    Attributes:
      params: of the three networks.
      article, sentence: rows of the batch.
      greedy, drawn: codes of the articles.
      log_probs: [batch, length, vocab] along the drawn codes, with the generator's gradient.
      weights: [batch], of the examples.
      keys: of random choices.
      fluency: [batch, length], of the drawn codes by a language model of sentences; None without.
    """

    params: Tree
    article: Rows
    sentence: Rows
    greedy: Written
    drawn: Written
    log_probs: jax.Array
    weights: jax.Array
    keys: jax.Array
    fluency: jax.Array | None = None


def score_of(logits: jax.Array) -> jax.Array:
    """The probability that a prefix is real."""
    return jax.nn.sigmoid(logits)


def of_tokens(log_probs: jax.Array, tokens: jax.Array) -> jax.Array:
    """The log-probabilities [batch, length] of the tokens themselves."""
    return jnp.take_along_axis(log_probs, tokens[..., None], axis=-1)[..., 0]


def _paper(
    config: ObjectiveConfig, turn: Turn, reconstruct: Reconstruct, judge: Judge
) -> tuple[dict[str, Mean], jax.Array]:
    """Per-prefix critic and self-critical REINFORCE."""
    params, drawn, weights = turn.params, turn.drawn, turn.weights
    nats = reconstruct(params["reconstructor"], *drawn, turn.article, turn.keys[1])
    baseline = reconstruct(constant(params["reconstructor"]), *turn.greedy, turn.article, turn.keys[1])
    logits = judge(params["critic"], *drawn)
    real = judge(params["critic"], *turn.sentence)
    advantages = code_advantages(config, turn.article, drawn, logits, baseline - nats, weights, turn.fluency)
    chosen = of_tokens(turn.log_probs, drawn.tokens)
    losses = {
        "reconstruction_loss": Mean.of(nats, weights),
        "generator_loss": reinforce(chosen, advantages, drawn.present, weights),
        "critic_loss": _both(
            prefix_critic(real, turn.sentence.present, weights, real=True),
            prefix_critic(logits, drawn.present, weights, real=False),
        ),
    }
    return losses, score_of(logits)


def code_advantages(
    config: ObjectiveConfig,
    article: Rows,
    code: Written,
    logits: jax.Array,
    better: jax.Array,
    weights: jax.Array,
    fluency: jax.Array | None = None,
) -> jax.Array:
    """Rewards minus baselines of every token of drawn codes, [batch, length], without gradient.

    Args:
      config: the weights of the rewards.
      article: the articles.
      code: the drawn codes.
      logits: [batch, length], the critic's.
      better: [batch], nats per token by which the article is predicted better than from the greedy code (self-critical,
        arXiv:1612.00563).
      weights: [batch], of the examples.
      fluency: [batch, length], by a language model, if it is a reward too.
    """
    penalty = config.repeat_penalty * repeated_ngrams(*code, 2)
    if config.copy_penalty:
        penalty += config.copy_penalty * copied_ngrams(*code, *article, 4)
    rewards = config.adversarial_weight * prefix_rewards(logits, code.present, weights) - penalty
    if fluency is not None:
        rewards += config.language_weight * centred(fluency, code.present, weights)
    returns = discounted_returns(rewards, code.present, config.discount)
    present = jnp.float32(code.present)
    lengths = present.sum(-1)
    longer = lengths - (lengths * weights).sum() / jnp.maximum(weights.sum(), 1)
    of_code = config.reconstruction_weight * better - config.length_penalty * longer
    return constant(returns + of_code[:, None]) * present


def _wgan(
    config: ObjectiveConfig, turn: Turn, reconstruct: Reconstruct, judge: Judge
) -> tuple[dict[str, Mean], jax.Array]:
    """Soft words: the distributions along the drawn code are what critic and reconstructor read."""
    params, drawn, weights = turn.params, turn.drawn, turn.weights
    vocab = turn.log_probs.shape[-1]
    soft = jnp.where(
        drawn.present[..., None],
        jnp.exp(turn.log_probs),
        jax.nn.one_hot(drawn.tokens, vocab, dtype=jnp.float32),
    )
    everywhere = jnp.ones(
        drawn.present.shape, bool
    )  # padding is a word of both sides, so that lengths are equal

    def score(own: Tree, words: jax.Array) -> jax.Array:
        return judge(own, words, everywhere).mean(-1)

    critic, real = params["critic"], jax.nn.one_hot(turn.sentence.tokens, vocab, dtype=jnp.float32)
    generated = score(critic, constant(soft))
    mix = jax.random.uniform(turn.keys[2], weights.shape, jnp.float32)
    penalty = gradient_penalty(lambda x: score(critic, x), real, soft, mix, weights)
    nats = reconstruct(
        params["reconstructor"],
        scale_gradient(soft, config.reconstruction_weight),
        drawn.present,
        turn.article,
        turn.keys[1],
    )
    losses = {
        "reconstruction_loss": Mean.of(nats, weights),
        "generator_loss": Mean.of(-score(constant(critic), soft), weights).scaled(config.adversarial_weight),
        "critic_loss": _both(
            Mean.of(generated - score(critic, real), weights), penalty.scaled(config.gradient_penalty)
        ),
    }
    return losses, jnp.broadcast_to(generated[:, None], drawn.present.shape)


def _gumbel(
    config: ObjectiveConfig, turn: Turn, reconstruct: Reconstruct, judge: Judge
) -> tuple[dict[str, Mean], jax.Array]:
    """Drawn words with the gradient of soft ones: straight-through Gumbel-softmax (arXiv:1611.01144)."""
    params, drawn, weights = turn.params, turn.drawn, turn.weights
    batch, length, vocab = turn.log_probs.shape
    noise = jnp.stack([gumbel_noise(turn.keys[0], place, batch, vocab) for place in range(length)], axis=1)
    soft = jax.nn.softmax((turn.log_probs + noise) / config.temperature, axis=-1)
    one_hot = jax.nn.one_hot(drawn.tokens, vocab, dtype=jnp.float32)
    words = jnp.where(drawn.present[..., None], straight_through(one_hot, soft), one_hot)
    nats = reconstruct(
        params["reconstructor"],
        scale_gradient(words, config.reconstruction_weight),
        drawn.present,
        turn.article,
        turn.keys[1],
    )
    judged = judge(params["critic"], *drawn)
    real = judge(params["critic"], *turn.sentence)
    fooled = judge(constant(params["critic"]), words, drawn.present)
    losses = {
        "reconstruction_loss": Mean.of(nats, weights),
        "generator_loss": prefix_critic(fooled, drawn.present, weights, real=True).scaled(
            config.adversarial_weight
        ),
        "critic_loss": _both(
            prefix_critic(real, turn.sentence.present, weights, real=True),
            prefix_critic(judged, drawn.present, weights, real=False),
        ),
    }
    return losses, score_of(judged)


def _both(first: Mean, second: Mean) -> Mean:
    """The sum of two means of the same examples."""
    return Mean(first.sum + second.sum, first.weight)


OBJECTIVES: dict[
    str, Callable[[ObjectiveConfig, Turn, Reconstruct, Judge], tuple[dict[str, Mean], jax.Array]]
] = {
    "paper": _paper,
    "wgan": _wgan,
    "gumbel": _gumbel,
}
"""By name: `(config, turn, reconstruct, judge) -> (losses, scores [batch, length] of the drawn codes)`."""
