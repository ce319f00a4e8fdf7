"""Tiny models of random weights, and what they write without a cache: a whole forward pass for every token."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.decoding.decoder import Decoder, causal_decoder, source_decoder
from ssl_jax.decoding.prompts import pad_right
from ssl_jax.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from ssl_jax.models.gpt2 import Gpt2, Gpt2Config

VOCAB, WIDTH, START = 23, 16, 3
PROMPTS = [[5, 7, 2, 9, 11, 4], [6, 1], [8, 8, 3, 10]]
TOKENS, LENGTHS = pad_right(PROMPTS, 6)
NEW = 7


BART = EncoderDecoderConfig(
    vocab_size=VOCAB, positions=12, layers=1, decoder_layers=2, width=WIDTH, heads=2, mlp_width=24
)
T5 = dataclasses.replace(BART, norm="pre", biases=False, gated=True)
T5 = dataclasses.replace(T5, position_encoding="relative", relative_buckets=6, relative_distance=5)


class Writer(NamedTuple):
    """A decoder, its parameters, and `logits(prompts, written)`: float32 `[vocab]` for each row, without a cache."""

    decoder: Decoder
    params: dict
    logits: object

    def greedy(self, prompts, new):
        """Tokens `[batch, new]`, each the argmax of a pass over all before it."""
        written = [[] for _ in prompts]
        for _ in range(new):
            for row, logits in zip(written, self.logits(prompts, written), strict=True):
                row.append(int(logits.argmax()))
        return np.array(written)


def random_params(model, *inputs):
    """None of them where it starts, so that a forgotten bias or scale shows; kernels so large that inputs matter."""
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), *inputs))["params"]
    rng = np.random.default_rng(7)

    def draw(path, x):
        name = path[-1].key
        centre, stddev = {"scale": (1, 0.2), "bias": (0, 0.1)}.get(name, (0, 0.6))
        return jnp.asarray(centre + stddev * rng.standard_normal(x.shape), x.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def filled(rows, length):
    tokens = np.zeros((len(rows), length), np.int32)
    for row, values in zip(tokens, rows, strict=True):
        row[: len(values)] = values
    return tokens


@functools.cache
def make_gpt2():
    sizes = {"layers": 2, "width": WIDTH, "heads": 2, "mlp_width": 24}
    model = Gpt2(Gpt2Config(vocab_size=VOCAB, positions=16, **sizes))
    params = random_params(model, jnp.zeros((1, 2), jnp.int32))

    @jax.jit
    def forward(params, tokens, last):
        hidden, _ = model.apply({"params": params}, tokens)
        logits = model.apply({"params": params}, hidden, method="logits")
        return jnp.take_along_axis(logits, last[:, None, None], axis=1)[:, 0]

    def logits(prompts, written):
        rows = [[*prompt, *new] for prompt, new in zip(prompts, written, strict=True)]
        last = np.array([len(row) - 1 for row in rows])
        return np.asarray(forward(params, filled(rows, 16), last))

    return Writer(causal_decoder(model), params, logits)


@functools.cache
def make_encoder_decoder(config=BART):
    model = EncoderDecoder(config)
    token = jnp.zeros((1, 2), jnp.int32)
    params = random_params(model, token, token, token)

    @jax.jit
    def forward(params, source, present, target, last):
        logits = model.apply({"params": params}, source, present, target)
        return jnp.take_along_axis(logits, last[:, None, None], axis=1)[:, 0]

    def logits(prompts, written):
        rows = [[START, *new] for new in written]
        last = np.array([len(row) - 1 for row in rows])
        present = filled([[1] * len(prompt) for prompt in prompts], 8)
        return np.asarray(forward(params, filled(prompts, 8), present, filled(rows, 12), last))

    return Writer(source_decoder(model, START), params, logits)


@pytest.fixture(scope="session", params=["gpt2", "encoder-decoder"])
def writer(request):
    return make_gpt2() if request.param == "gpt2" else make_encoder_decoder()


@pytest.fixture(scope="session")
def gpt2():
    return make_gpt2()
