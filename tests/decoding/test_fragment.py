"""MASS writes into the place of its masks: what a whole pass for every token would write, blind to the masks."""

import jax
import numpy as np
import pytest

from ssl_jax.decoding.fragment import fragment_decoder
from ssl_jax.decoding.generate import generate
from ssl_jax.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from tests.decoding.conftest import random_params

END, MASK, LENGTH = 3, 4, 10
ROWS = [
    [2, MASK, MASK, MASK, 9, 11, 5, 3],  # the fragment begins the text
    [2, 8, 7, 10, MASK, MASK, 12, 6, 5, 3],
    [2, 6, 5, 7, MASK, MASK],  # and ends it
    [2, 6, 5, 8],  # without masks the text is continued
]


@pytest.fixture(scope="module", params=["absolute", "relative"])
def model(request):
    """With absolute positions, and with relative ones, for which a fragment begins at distance 0."""
    sizes = {"layers": 1, "decoder_layers": 2, "width": 16, "heads": 2, "mlp_width": 24}
    positions = {"position_encoding": request.param, "relative_buckets": 6, "relative_distance": 5}
    return EncoderDecoder(
        EncoderDecoderConfig(vocab_size=23, positions=LENGTH, norm="pre", **sizes, **positions)
    )


@pytest.fixture(scope="module")
def params(model):
    token = np.zeros((1, 2), np.int32)
    return random_params(model, token, token, token)


@pytest.fixture(scope="module")
def prompts():
    tokens = np.zeros((len(ROWS), LENGTH), np.int32)
    for row, values in zip(tokens, ROWS, strict=True):
        row[: len(values)] = values
    return tokens, np.array([len(row) for row in ROWS])


def test_each_token_is_that_of_a_whole_pass_at_the_original_places(model, params, prompts):
    tokens, lengths = prompts
    new = 3
    written = generate(
        fragment_decoder(model, MASK, END), params, tokens, lengths, max_new_tokens=new, end=None
    ).tokens

    @jax.jit
    def forward(source, present, inputs, positions, context_present):
        return model.apply(
            {"params": params}, source, present, inputs, positions, context_present=context_present
        )

    for row, source in enumerate(ROWS):
        first = ([*source, MASK]).index(MASK) - 1
        inputs = [source[first], *written[row, : new - 1]]
        present = np.arange(LENGTH) < len(source)
        size = source.count(MASK) or LENGTH - len(source)
        logits = forward(
            tokens[row][None],
            present[None],
            np.array(inputs)[None],
            np.arange(first, first + new)[None],
            (present & (tokens[row] != MASK))[None],
        )
        np.testing.assert_array_equal(np.argmax(logits[0], -1)[:size], written[row, :size])
        assert (written[row, size:] == END).all()


def test_a_text_ends_with_its_fragment(model, params, prompts):
    decoder = fragment_decoder(model, MASK, END)
    written = generate(decoder, params, *prompts, max_new_tokens=LENGTH, end=END)
    # With relative positions, the random weights end the first text before its place is full.
    first = {"absolute": 3, "relative": 2}[model.config.position_encoding]
    assert written.lengths.tolist() == [first, 2, 2, 6]
