"""Quantisers as a method needs them: with their parameters, their state, and the losses that go with them."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssl_jax.errors import UserError
from ssl_jax.losses.quantization import codebook_loss, commitment_loss, entropy_penalty
from ssl_jax.method import Mean, Tree
from ssl_jax.models.codebook import CodebookConfig, look_up, nearest
from ssl_jax.models.codebook_state import ema_update, init_codebook, observe, restart_update, start
from ssl_jax.models.quantizers import (
    FsqConfig,
    Quantized,
    check_bits,
    check_width,
    finite_scalar,
    finite_scalar_vectors,
    lookup_free,
    lookup_free_vectors,
    straight_through,
)

Extras = Mapping[str, Tree]


class Quantizing(NamedTuple):
    """A quantiser of vectors `x [..., width]`, whose `weights [...]` are 0 for what does not count.

    In training: `begin`, `quantize` and `observe`, in a loss, and `after_update` once a step. In evaluation `quantize`
    alone, so that no state changes.

    width: of the vectors. codes: how many there are.
    init: `(rng) -> (params, extras)`, both dictionaries.
    quantize: `(params, extras, x, weights) -> (quantized, losses)`; the losses are added to those of the method.
    look_up: `(params, extras, codes [...]) -> [..., width]`.
    begin: `(extras, rng, x, weights) -> extras`, before the first batch is quantised.
    observe: `(extras, rng, x, codes, weights) -> extras`.
    after_update: `(params, extras) -> extras`.
    """

    width: int
    codes: int
    init: Callable[[jax.Array], tuple[dict[str, Tree], dict[str, Tree]]]
    quantize: Callable[[Tree, Extras, jax.Array, jax.Array], tuple[Quantized, dict[str, Mean]]]
    look_up: Callable[[Tree, Extras, jax.Array], jax.Array]
    begin: Callable[[Extras, jax.Array, jax.Array, jax.Array], Extras] = lambda extras, rng, x, weights: {}
    observe: Callable[[Extras, jax.Array, jax.Array, jax.Array, jax.Array], Extras] = (
        lambda extras, rng, x, codes, weights: {}
    )
    after_update: Callable[[Tree, Extras], Extras] = lambda params, extras: {}


def ema_codebook(config: CodebookConfig, commitment: float) -> Quantizing:
    """A codebook of moving averages (arXiv:1711.00937, appendix A.1), in the extras as `codebook`.

    commitment: weight of the commitment loss, the paper's beta.
    """

    def quantize(
        params: Tree, extras: Extras, x: jax.Array, weights: jax.Array
    ) -> tuple[Quantized, dict[str, Mean]]:
        vectors = extras["codebook"].vectors
        codes = nearest(vectors, x)
        chosen = look_up(vectors, codes)
        losses = {"commitment_loss": scaled(commitment, commitment_loss(x, chosen, weights))}
        return Quantized(straight_through(chosen, x), codes), losses

    return _with_state(
        config,
        init=lambda rng: ({}, {"codebook": init_codebook(rng, config)}),
        quantize=quantize,
        look_up=lambda params, extras, codes: look_up(extras["codebook"].vectors, codes),
        after_update=lambda params, extras: {"codebook": ema_update(config, extras["codebook"])},
    )


def gradient_codebook(config: CodebookConfig, commitment: float) -> Quantizing:
    """A codebook moved by its loss (arXiv:1711.00937, equation 3).

    It is the sum of a state in the extras and of a parameter, both named `codebook`; see
    ssl_jax/models/codebook_state.py.
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
            "commitment_loss": scaled(commitment, commitment_loss(x, chosen, weights)),
        }
        return Quantized(straight_through(chosen, x), codes), losses

    def init(rng: jax.Array) -> tuple[dict[str, Tree], dict[str, Tree]]:
        state = init_codebook(rng, config)
        return {"codebook": jnp.zeros_like(state.vectors)}, {"codebook": state}

    return _with_state(
        config,
        init=init,
        quantize=quantize,
        look_up=lambda params, extras, codes: look_up(vectors(params, extras), codes),
        after_update=lambda params, extras: {
            "codebook": restart_update(config, extras["codebook"], params["codebook"])
        },
    )


def _with_state(config: CodebookConfig, **own: Callable) -> Quantizing:
    """The quantiser of a codebook with a state in the extras; `own` is what the ways to learn it do not share."""
    return Quantizing(
        config.width,
        config.codes,
        begin=lambda extras, rng, x, weights: {
            "codebook": start(config, extras["codebook"], rng, x, weights)
        },
        observe=lambda extras, rng, x, codes, weights: {
            "codebook": observe(config, extras["codebook"], rng, x, codes, weights)
        },
        **own,
    )


def fsq(config: FsqConfig) -> Quantizing:
    """Finite scalars (arXiv:2309.15505), which need no loss."""
    return Quantizing(
        config.width,
        config.codes,
        init=lambda rng: ({}, {}),
        quantize=lambda params, extras, x, weights: (finite_scalar(config, x), {}),
        look_up=lambda params, extras, codes: finite_scalar_vectors(config, codes),
    )


@dataclasses.dataclass(frozen=True)
class LookupFreeConfig:
    """Signs as bits of a code (MAGVIT-v2, arXiv:2310.05737)."""

    bits: int = 9
    """Channels; there are 2^bits codes. MAGVIT-v2 has 18."""
    temperature: float = 1.0
    """Of the probabilities whose entropies are the loss."""
    entropy: float = 0.1
    """Weight of the entropy penalty."""
    commitment: float = 0.25
    """Weight of the squared distance to -1 or 1."""

    def __post_init__(self) -> None:
        check_bits("lookup_free.bits: a quantiser", self.bits)
        if not self.temperature > 0 or self.entropy < 0 or self.commitment < 0:
            raise UserError(
                f"lookup_free.temperature {self.temperature} must be above 0, entropy {self.entropy} and commitment "
                f"{self.commitment} at least 0."
            )


def signs(config: LookupFreeConfig) -> Quantizing:
    """Lookup-free quantisation with its entropy penalty and its commitment."""

    def quantize(
        params: Tree, extras: Extras, x: jax.Array, weights: jax.Array
    ) -> tuple[Quantized, dict[str, Mean]]:
        check_width("lookup-free quantisation", x, config.bits, "lookup_free.bits")
        quantized = lookup_free(x)
        losses = entropy_penalty(x, weights, temperature=config.temperature)
        losses = {name: scaled(config.entropy, loss) for name, loss in losses.items()}
        distance = commitment_loss(x, quantized.vectors, weights)
        return quantized, {**losses, "commitment_loss": scaled(config.commitment, distance)}

    return Quantizing(
        config.bits,
        2**config.bits,
        init=lambda rng: ({}, {}),
        quantize=quantize,
        look_up=lambda params, extras, codes: lookup_free_vectors(codes, config.bits),
    )


def scaled(factor: float, pair: Mean) -> Mean:
    """A mean times a factor."""
    return factor * pair[0], pair[1]
