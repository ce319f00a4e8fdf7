"""Quantisers as a method uses them: with their parameters, their state and their losses."""

import dataclasses
from collections.abc import Callable
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from ssl_jax.domains import NonNegativeFloat, Settings, Temperature, integers
from ssl_jax.losses.quantization import codebook_loss, commitment_loss, entropy_penalty
from ssl_jax.method import Extras, Mean, Tree
from ssl_jax.models.quantization.codebook import CodebookConfig, look_up, nearest
from ssl_jax.models.quantization.fsq import FsqConfig, fsq, fsq_vectors
from ssl_jax.models.quantization.lookup_free import lookup_free, lookup_free_vectors
from ssl_jax.models.quantization.state import (
    accumulate,
    ema_update,
    init_state,
    initialize_from_batch,
    restart_update,
)
from ssl_jax.models.quantization.straight_through import Quantized, check_width, straight_through


class Quantizer(NamedTuple):
    """A quantiser of vectors `x [..., width]`, whose `weights [...]` are 0 for padding.

    In training, a loss calls `initialize_from_batch`, `quantize` and `accumulate`, and `after_update` runs once per
    step. An evaluation calls `quantize` alone, so that no state changes.

    Attributes:
      width: of the vectors.
      codes: number of codes.
      init: `(rng) -> (params, extras)`, both dictionaries.
      quantize: `(params, extras, x, weights) -> (quantized, losses)`; the losses are added to those of the method.
      look_up: `(params, extras, codes [...]) -> [..., width]`.
      initialize_from_batch: `(extras, rng, x, weights) -> extras`, before a batch is quantised; only the first batch
        changes the extras.
      accumulate: `(extras, rng, x, codes, weights) -> extras`, after a batch was quantised.
      after_update: `(params, extras) -> extras`.
    """

    width: int
    codes: int
    init: Callable[[jax.Array], tuple[dict[str, Tree], dict[str, Tree]]]
    quantize: Callable[[Tree, Extras, jax.Array, jax.Array], tuple[Quantized, dict[str, Mean]]]
    look_up: Callable[[Tree, Extras, jax.Array], jax.Array]
    initialize_from_batch: Callable[[Extras, jax.Array, jax.Array, jax.Array], Extras] = (
        lambda extras, rng, x, weights: {}
    )
    accumulate: Callable[[Extras, jax.Array, jax.Array, jax.Array, jax.Array], Extras] = (
        lambda extras, rng, x, codes, weights: {}
    )
    after_update: Callable[[Tree, Extras], Extras] = lambda params, extras: {}


def ema_quantizer(config: CodebookConfig, commitment: float) -> Quantizer:
    """A codebook learnt by moving averages (arXiv:1711.00937, appendix A.1), in the extras as `codebook`.

    Args:
      config: of the codebook.
      commitment: weight of the commitment loss, the paper's beta.
    """

    def quantize(
        params: Tree, extras: Extras, x: jax.Array, weights: jax.Array
    ) -> tuple[Quantized, dict[str, Mean]]:
        vectors = extras["codebook"].vectors
        codes = nearest(vectors, x)
        chosen = look_up(vectors, codes)
        losses = {"commitment_loss": commitment_loss(x, chosen, weights).scaled(commitment)}
        return Quantized(straight_through(chosen, x), codes), losses

    return _codebook_quantizer(
        config,
        init=lambda rng: ({}, {"codebook": init_state(rng, config)}),
        quantize=quantize,
        look_up=lambda params, extras, codes: look_up(extras["codebook"].vectors, codes),
        after_update=lambda params, extras: {"codebook": ema_update(config, extras["codebook"])},
    )


def gradient_quantizer(config: CodebookConfig, commitment: float) -> Quantizer:
    """A codebook learnt by the gradient of its loss (arXiv:1711.00937, equation 3).

    It is the sum of a state in the extras and of a parameter, both named `codebook`; see
    `ssl_jax.models.quantization.state`.

    Args:
      config: of the codebook.
      commitment: weight of the commitment loss, the paper's beta.
    """

    def vectors(params: Tree, extras: Extras) -> jax.Array:
        return extras["codebook"].vectors + params["codebook"]

    def quantize(
        params: Tree, extras: Extras, x: jax.Array, weights: jax.Array
    ) -> tuple[Quantized, dict[str, Mean]]:
        codebook = vectors(params, extras)
        codes = nearest(codebook, x)
        chosen = look_up(codebook, codes)
        losses = {
            "codebook_loss": codebook_loss(x, chosen, weights),
            "commitment_loss": commitment_loss(x, chosen, weights).scaled(commitment),
        }
        return Quantized(straight_through(chosen, x), codes), losses

    def init(rng: jax.Array) -> tuple[dict[str, Tree], dict[str, Tree]]:
        state = init_state(rng, config)
        return {"codebook": jnp.zeros_like(state.vectors)}, {"codebook": state}

    return _codebook_quantizer(
        config,
        init=init,
        quantize=quantize,
        look_up=lambda params, extras, codes: look_up(vectors(params, extras), codes),
        after_update=lambda params, extras: {
            "codebook": restart_update(config, extras["codebook"], params["codebook"])
        },
    )


def _codebook_quantizer(config: CodebookConfig, **functions: Callable) -> Quantizer:
    """A quantiser with a codebook state in the extras; `functions` are those in which the two ways to learn differ."""
    return Quantizer(
        config.width,
        config.codes,
        initialize_from_batch=lambda extras, rng, x, weights: {
            "codebook": initialize_from_batch(config, extras["codebook"], rng, x, weights)
        },
        accumulate=lambda extras, rng, x, codes, weights: {
            "codebook": accumulate(config, extras["codebook"], rng, x, codes, weights)
        },
        **functions,
    )


def fsq_quantizer(config: FsqConfig) -> Quantizer:
    """Finite scalar quantisation (arXiv:2309.15505), which needs no loss."""
    return Quantizer(
        config.width,
        config.codes,
        init=lambda rng: ({}, {}),
        quantize=lambda params, extras, x, weights: (fsq(config, x), {}),
        look_up=lambda params, extras, codes: fsq_vectors(config, codes),
    )


@dataclasses.dataclass(frozen=True)
class LookupFreeConfig(Settings):
    """Lookup-free quantisation: signs as the bits of a code (MAGVIT-v2, arXiv:2310.05737)."""

    bits: Annotated[int, integers(1, 31)] = 9
    """Number of channels; there are 2^bits codes. MAGVIT-v2 has 18."""
    temperature: Temperature = 1.0
    """Temperature of the probabilities in the entropy penalty."""
    entropy: NonNegativeFloat = 0.1
    """Weight of the entropy penalty."""
    commitment: NonNegativeFloat = 0.25
    """Weight of the commitment loss, the squared distance to -1 or 1."""


def lookup_free_quantizer(config: LookupFreeConfig) -> Quantizer:
    """Lookup-free quantisation (arXiv:2310.05737) with its entropy penalty and its commitment loss."""

    def quantize(
        params: Tree, extras: Extras, x: jax.Array, weights: jax.Array
    ) -> tuple[Quantized, dict[str, Mean]]:
        check_width("lookup-free quantisation", x, config.bits, "lookup_free.bits")
        quantized = lookup_free(x)
        losses = entropy_penalty(x, weights, temperature=config.temperature)
        losses = {name: loss.scaled(config.entropy) for name, loss in losses.items()}
        distance = commitment_loss(x, quantized.vectors, weights)
        return quantized, {**losses, "commitment_loss": distance.scaled(config.commitment)}

    return Quantizer(
        config.bits,
        2**config.bits,
        init=lambda rng: ({}, {}),
        quantize=quantize,
        look_up=lambda params, extras, codes: lookup_free_vectors(codes, config.bits),
    )
