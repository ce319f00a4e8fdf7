"""Greedy and beam output against transformers' `generate`, token for token, on fresh random weights.

tests/parity/run.sh
"""

import itertools

import numpy as np
import pytest

from ssl_jax.decoding.beam import BeamConfig, beam_search
from ssl_jax.decoding.decoder import causal_decoder, source_decoder
from ssl_jax.decoding.generate import generate
from ssl_jax.decoding.prompts import move_padding_right, pad_right
from ssl_jax.hub.bart import load_bart
from ssl_jax.hub.gpt2 import load_gpt2
from ssl_jax.models.encoder_decoder import EncoderDecoder
from ssl_jax.models.gpt2 import Gpt2

torch = pytest.importorskip(
    "torch", reason="no PyTorch here; tests/parity/run.sh makes an environment with it"
)
pytestmark = pytest.mark.filterwarnings("default")  # PyTorch's warnings are not ours to make errors of

PAD, END, START = 1, 2, 2
VOCAB = 61
GPT2 = {
    "odd": {"n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 31, "activation_function": "gelu_new"},
    "deep": {"n_embd": 16, "n_layer": 4, "n_head": 2, "n_positions": 40, "activation_function": "gelu"},
}
_WIDE = {
    "encoder_attention_heads": 3,
    "decoder_attention_heads": 3,
    "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 40,
}
_FLAT = {
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 20,
    "decoder_ffn_dim": 20,
}
BART = {
    "odd": {"d_model": 24, "encoder_layers": 2, "decoder_layers": 3, **_WIDE},
    "flat": {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, **_FLAT},
}
BEAMS = [
    {"num_beams": 2},
    {"num_beams": 4, "length_penalty": 2.0, "early_stopping": True},
    {"num_beams": 3, "length_penalty": 0.3, "early_stopping": "never"},
    {"num_beams": 5, "length_penalty": -1.0, "min_new_tokens": 4},
]
NEW = 11


def randomise(model, seed):
    """Every parameter drawn: kernels so large that the choice of a token is clear, and depends on the input."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            one_dimensional = parameter.ndim == 1
            is_scale = one_dimensional and name.endswith("weight")
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_((1.0 if is_scale else 0.0) + (0.15 if one_dimensional else 0.5) * noise)
    return model.eval()


def save(model, folder):
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=GPT2)
def gpt2(request, tmp_path_factory):
    """(their model, our decoder, our parameters)."""
    from transformers import GPT2Config, GPT2LMHeadModel

    model = randomise(GPT2LMHeadModel(GPT2Config(vocab_size=VOCAB, **GPT2[request.param])), 11)
    config, params = load_gpt2(save(model, tmp_path_factory.mktemp("gpt2")))
    return model, causal_decoder(Gpt2(config)), params


@pytest.fixture(scope="module", params=BART)
def bart(request, tmp_path_factory):
    """The same of BART."""
    from transformers import BartConfig, BartForConditionalGeneration

    sizes = BART[request.param]
    ids = {"pad_token_id": PAD, "eos_token_id": END, "decoder_start_token_id": START, "bos_token_id": 0}
    config = BartConfig(
        vocab_size=VOCAB, max_position_embeddings=33, forced_eos_token_id=None, **ids, **sizes
    )
    model = randomise(BartForConditionalGeneration(config), 12)
    torch.nn.init.normal_(model.final_logits_bias, generator=torch.Generator().manual_seed(1))
    ours, params = load_bart(save(model, tmp_path_factory.mktemp("bart")))
    return model, source_decoder(EncoderDecoder(ours), START), params


def prompts(seed):
    """Token lists of different lengths."""
    rng = np.random.default_rng(seed)
    return [rng.integers(3, VOCAB, n).tolist() for n in (7, 3, 12, 1, 5)]


def theirs(model, tokens, present, end, **options):
    """What transformers writes, `[batch, NEW]`, filled up with `end` after the end; sources are not in it."""
    written = model.generate(
        torch.tensor(tokens, dtype=torch.long),
        attention_mask=torch.tensor(present, dtype=torch.long),
        do_sample=False,
        max_new_tokens=NEW,
        eos_token_id=end,
        pad_token_id=PAD,
        **options,
    ).numpy()
    written = written[:, 1:] if model.config.is_encoder_decoder else written[:, tokens.shape[1] :]
    written = np.pad(written, ((0, 0), (0, NEW - written.shape[1])), constant_values=PAD)
    ended = (np.cumsum(written == end, axis=1) - (written == end)) > 0
    return np.where(ended, end, written)


def padded_left(rows):
    tokens, lengths = pad_right(rows, max(map(len, rows)), PAD)
    turned = [[PAD] * (tokens.shape[1] - len(row)) + row for row in rows]
    present = np.arange(tokens.shape[1])[None] >= tokens.shape[1] - lengths[:, None]
    return np.array(turned), present


def padded_right(rows):
    tokens, lengths = pad_right(rows, max(map(len, rows)), PAD)
    return tokens, np.arange(tokens.shape[1])[None] < lengths[:, None]


def frequent_end(model, tokens, present):
    """A token that greedy writing reaches in some rows and not in others, so that ends are part of the comparison."""
    free = theirs(model, tokens, present, None)
    counts = {t: sum(t in row[1:-1] for row in free) for t in set(free[:, 1:-1].reshape(-1).tolist())}
    return min(counts, key=lambda token: (abs(counts[token] - len(free) / 2), token))


@pytest.mark.parametrize("seed", [0, 1])
def test_greedy_gpt2_on_prompts_padded_on_the_left(gpt2, seed):
    model, decoder, params = gpt2
    tokens, present = padded_left(prompts(seed))
    end = frequent_end(model, tokens, present)
    for stop in (None, end):
        expected = theirs(model, tokens, present, stop)
        assert len(np.unique(expected)) > 4, "a text of few different tokens shows little"
        ours = generate(decoder, params, *move_padding_right(tokens, present), max_new_tokens=NEW, end=stop)
        np.testing.assert_array_equal(ours.tokens, expected)


@pytest.mark.parametrize("seed", [0, 1])
def test_greedy_bart(bart, seed):
    model, decoder, params = bart
    tokens, present = padded_right(prompts(seed))
    for stop in (None, frequent_end(model, tokens, present)):
        expected = theirs(model, tokens, present, stop)
        ours = generate(decoder, params, tokens, present.sum(1), max_new_tokens=NEW, end=stop)
        np.testing.assert_array_equal(ours.tokens, expected)


@pytest.mark.parametrize(("options", "seed"), [*zip(BEAMS, itertools.count(), strict=False)], ids=str)
def test_beam_search_of_bart(bart, options, seed):
    model, decoder, params = bart
    tokens, present = padded_right(prompts(seed))
    end = frequent_end(model, tokens, present)
    compare_beams(model, decoder, params, (tokens, present), (tokens, present.sum(1)), end, options)


@pytest.mark.parametrize("options", BEAMS[:2], ids=str)
def test_beam_search_of_gpt2(gpt2, options):
    model, decoder, params = gpt2
    tokens, present = padded_left(prompts(7))
    end = frequent_end(model, tokens, present)
    compare_beams(
        model, decoder, params, (tokens, present), move_padding_right(tokens, present), end, options
    )


def compare_beams(model, decoder, params, theirs_in, ours_in, end, options):
    expected = theirs(model, *theirs_in, end, **options)
    settings = {"beams" if name == "num_beams" else name: value for name, value in options.items()}
    ours = beam_search(decoder, params, *ours_in, max_new_tokens=NEW, end=end, config=BeamConfig(**settings))
    np.testing.assert_array_equal(ours.tokens, expected)
