"""Symbols remapped to pieces: what of the encoder is kept, what is opened, and what a user may get wrong."""

import dataclasses

import jax
import numpy as np
import pytest
from etils import epath

from experiments.token_remap import PRESETS, build
from ssl_jax.data.tokenizers import train_sentencepiece
from ssl_jax.errors import UserError
from ssl_jax.recipes.symbol_sequences import SymbolsConfig, open_symbols
from ssl_jax.training.paths import named_leaves
from ssl_jax.training.sharding import MeshConfig, make_mesh

LAYERS = 2
DNA = "".join(f"{'ab'[i % 2]}\t{'GATC'[i % 4] * 3}{'ACG'[i % 3]}{'TC'[i // 3 % 2]}\n" for i in range(24))
HEADER = "label\tsequence\n"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = epath.Path(tmp_path_factory.mktemp("tokenizer"))
    return str(train_sentencepiece(["The cat and a dog, 1 2 3.", "Sentence of some."] * 4, 36).save(folder))


def small(weights):
    """The offline experiment with a BERT of two small layers."""
    tiny = PRESETS["tiny"]
    sizes = {"vocab_size": 50, "positions": 64, "layers": LAYERS, "width": 16, "heads": 2, "mlp_width": 32}
    model = dataclasses.replace(tiny.bert.model, **sizes)
    bert = dataclasses.replace(tiny.bert, model=model)
    train = dataclasses.replace(tiny.train, batch_size=2, seed=5)
    return dataclasses.replace(tiny, weights=weights, bert=bert, train=train)


def changed(weights):
    """(parameters that are loaded, those that the run begins with, those of a random start) by name."""
    experiment = build(small(weights))
    zeros = {name: np.zeros(x.shape, x.dtype) for name, x in experiment.phases[0].rows.items()}
    init = jax.jit(lambda seed: experiment.method.init(jax.random.key(seed), zeros))
    loaded, log = init(7), []
    mesh = make_mesh(MeshConfig())
    began = experiment.starts[-1].load(loaded, epath.Path(), mesh, log.append)
    assert len(log) == 1
    return [named_leaves(each["params"]) for each in (loaded, began, init(5))]


def test_entries_are_permuted_within_each_tensor_of_each_layer():
    loaded, began, _ = changed("shuffled")
    for name, before in loaded.items():
        if not name.startswith("encoder/"):
            np.testing.assert_array_equal(began[name], before)
            continue
        layered = name.startswith("encoder/layers/")
        parts = zip(before, began[name], strict=True) if layered else [(before, began[name])]
        for own, found in parts:
            np.testing.assert_array_equal(np.sort(own, None), np.sort(found, None), err_msg=name)
            if len({*np.ravel(own).tolist()}) > 9:  # not the ones of a normalisation
                assert np.mean(np.asarray(own) == np.asarray(found)) < 0.3, name
    first, second = (np.argsort(np.ravel(x)) for x in began["encoder/layers/mlp/up/kernel"])
    assert (first != second).any()


def test_new_word_embeddings_are_those_of_a_random_start():
    loaded, began, random = changed("new_embeddings")
    table = "encoder/embeddings/token/embedding"
    for name, found in began.items():
        np.testing.assert_array_equal(found, (random if name == table else loaded)[name], err_msg=name)
    assert (np.asarray(loaded[table]) != np.asarray(random[table])).all()


def opened(folder, tokenizer, **data):
    config = dataclasses.replace(
        PRESETS["tiny"], labels=("a", "b"), length=8, data=SymbolsConfig(tokenizer=tokenizer, **data)
    )
    folder.mkdir(exist_ok=True)
    return open_symbols(config, epath.Path(folder))


def test_symbols_of_the_training_sequences_have_a_piece(tmp_path, tokenizer, capsys):
    (tmp_path / "train.tsv").write_text(HEADER + DNA)
    (tmp_path / "test.tsv").write_text(f"{HEADER}a\tGNTNX\n")
    files = {"source": str(tmp_path / "train.tsv"), "heldout_source": str(tmp_path / "test.tsv")}
    data, other = (opened(tmp_path / f"run{seed}", tokenizer, map=seed, **files) for seed in (0, 1))
    assert (
        "3 symbols do not occur in the training data and are the unknown token: 'N' 2, 'X' 1"
        in capsys.readouterr().out
    )
    known = data.details
    assert [*known.splits] == ["validation", "heldout"]
    texts = [{*part.texts} for part in (known.train, known.splits["validation"])]
    assert all(texts)
    assert not texts[0] & texts[1]
    assert len(known.train.texts) + len(known.splits["validation"].texts) == 24
    (row,) = data.heldout[0]["heldout"]
    cls, *tokens, sep, _ = row["tokens"].tolist()
    assert tokens[1::2] == [1, tokens[3]]
    assert tokens[4] == 1
    assert len({*tokens}) == 3  # G, T and the unknown token
    (row,) = other.heldout[0]["heldout"]
    assert row["tokens"].tolist() != [cls, *tokens, sep, 0]
    assert [other.identity[name] == data.identity[name] for name in data.identity] == [True] * len(
        data.identity
    )


BAD = {
    "a sequence that is too long": (
        DNA + "a\tGATTACAGATTACA\n",
        (),
        "line 26: a sequence of 14 symbols, but rows of",
    ),
    "an empty sequence": (DNA + "a\t\n", (), "line 26: the sequence is empty. Leave this example out"),
    "no label": (DNA + "\tGAT\n", (), "line 26: no label in the column 'label'"),
    "another label": (
        DNA + "c\tGAT\n",
        (),
        "1 of its 3 labels are not among labels a b. Give --labels 'a' 'b' 'c'",
    ),
    "a single class": (DNA.replace("b\t", "a\t"), (), "the training data has only the label 'a'"),
    "more symbols than pieces": (
        DNA + "".join(f"a\t{''.join(map(chr, range(i, i + 5)))}\n" for i in range(200, 300, 5)),
        (),
        "different symbols, but the tokenizer has",
    ),
    "weights and none": (
        DNA,
        ("--weights", "shuffled", "--from_scratch", "True"),
        "weights shuffled: with from_scratch",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused(case, refused, tmp_path, tokenizer):
    text, more, message = BAD[case]
    (tmp_path / "train.tsv").write_text(HEADER + text)
    given = ("--bert.data.tokenizer", tokenizer, "--data.tokenizer", tokenizer, "--length", 12)
    source = ("--data.source", tmp_path / "train.tsv", "--data.validation_share", 0.3, "--labels", "a", "b")
    assert message in refused("token_remap", *source, *given, *more, "--workdir", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_labels_are_given_once():
    with pytest.raises(UserError, match="labels a a: expected at least two, each of them once"):
        dataclasses.replace(PRESETS["tiny"], labels=("a", "a"))
