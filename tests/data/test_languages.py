"""Several languages in one run: their shares, the artificial language, the vocabulary, and bad input."""

import dataclasses

import grain
import numpy as np
import pytest

from ssl_jax.data.languages import (
    LanguageRows,
    LanguagesConfig,
    heldout_rows,
    mixed_sentences,
    open_languages,
    sampling_shares,
    training_mixture,
)
from ssl_jax.data.pretraining_text import bert_rows
from ssl_jax.data.tokenizers import train_sentencepiece
from ssl_jax.data.vocabularies import begins_word
from ssl_jax.errors import UserError
from tests.cases import corpus


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """English of 60 documents with its shifted form, and a language of 6 documents."""
    folder = tmp_path_factory.mktemp("languages")
    text = corpus(folder)
    small = folder / "small.txt"
    small.write_text("\n\n".join(f"{'xyzw' * (i + 1)} vw.\nvw {'zyx' * (i + 1)}." for i in range(6)))
    config = LanguagesConfig(
        sources=(f"en={text}", "fake=shifted:en", f"other={small}"), heldout_share=0.2, heldout_rows=10
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_JAX_CACHE", str(folder / "cache"))
        return open_languages(config, folder / "run", vocab_size=240)


def test_shares_are_sizes_to_the_power_of_alpha(opened):
    sizes = [int(language.training.document_lengths.sum()) for language in opened.languages]
    weights = [size**0.7 for size in sizes]
    shares = [language.share for language in opened.languages]
    assert shares == pytest.approx([weight / sum(weights) for weight in weights])
    assert sampling_shares([3, 1], 1) == pytest.approx([0.75, 0.25])


def test_rows_are_drawn_by_their_shares(opened):
    rows = training_mixture(opened, bert_rows("none"), 16, batch_size=8, seed=0)
    drawn = [rows[i]["tokens"] for i in range(1000)]
    size = opened.tokenizer.vocab_size
    fake = np.mean([tokens.max() >= size for tokens in drawn])
    assert fake == pytest.approx(opened["fake"].share, abs=0.005)
    again = training_mixture(opened, bert_rows("none"), 16, batch_size=8, seed=0)
    np.testing.assert_array_equal(drawn[777], again[777]["tokens"])


def test_a_shifted_language_has_other_documents_and_the_same_held_out_ones(opened):
    english, fake = opened["en"], opened["fake"]
    assert not np.intersect1d(english.training.hashes, fake.training.hashes).size
    np.testing.assert_array_equal(english.heldout.hashes, fake.heldout.hashes)
    assert not np.intersect1d(english.training.hashes, english.heldout.hashes).size
    assert opened.ids == 2 * opened.tokenizer.vocab_size
    rows = heldout_rows(opened, bert_rows("none"), 16, 10)
    plain, shifted = (next(iter(rows[name])) for name in ("en", "fake"))
    special, size = opened.tokenizer.special, opened.tokenizer.vocab_size
    pieces = plain["tokens"] >= special.first_regular
    np.testing.assert_array_equal(shifted["tokens"], plain["tokens"] + size * pieces)
    assert plain["vocab_size"] == shifted["vocab_size"] == opened.ids


def test_positions_of_its_own(opened):
    rows = heldout_rows(opened, bert_rows("none"), 16, 10, own_positions=True)
    for number, name in enumerate(("en", "fake", "other")):
        positions = next(iter(rows[name]))["positions"]
        assert 16 * number <= positions.min() <= positions.max() < 16 * (number + 1)
    training = training_mixture(opened, bert_rows("none"), 16, batch_size=8, seed=0, own_positions=True)
    size = opened.tokenizer.vocab_size
    for row in (training[i] for i in range(30)):
        fake = row["tokens"].max() >= size
        own = row["positions"][row["segment_ids"] > 0]
        assert own.min() // 16 == own.max() // 16
        assert (own.min() // 16 == 1) == fake


def test_a_share_of_the_text(opened, tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path / "cache"))
    text = corpus(tmp_path)
    whole = LanguagesConfig(sources=(f"en={text}",), heldout_share=0.2)
    less = dataclasses.replace(whole, training_share=0.3)
    all_of_it, some = (
        open_languages(config, tmp_path / "run", vocab_size=120)["en"] for config in (whole, less)
    )
    assert 0 < len(some.training.hashes) < 0.6 * len(all_of_it.training.hashes)
    assert np.isin(some.training.hashes, all_of_it.training.hashes).all()
    np.testing.assert_array_equal(some.heldout.hashes, all_of_it.heldout.hashes)


class Listed:
    """A source of given documents."""

    name, fingerprint = "listed", "0"

    def __init__(self, documents):
        self._documents = documents

    def __len__(self):
        return len(self._documents)

    def __getitem__(self, index):
        return self._documents[index]


def test_the_vocabulary_reads_all_languages_in_their_shares():
    large, small = Listed([["a" * 99]] * 400), Listed([["b" * 99]] * 4)
    found = "".join(mixed_sentences([large, small], 0.5))
    assert found.count("a") == pytest.approx(400 * 99, rel=0.01)  # once
    assert found.count("b") / len(found) == pytest.approx(1 / 11, rel=0.02)
    assert not list(mixed_sentences([Listed([[]]), Listed([[]])], 1))


def test_chinese_characters_are_pieces_and_words():
    sentences = ["我们 学习 linux 系统 的 内核", "系统内核学习", "the linux system", "learn the system"] * 20
    tokenizer = train_sentencepiece(sentences, 60, single_cjk=True)
    pieces = tokenizer.pieces(tokenizer.encode("学习系统 linux"))
    assert [piece for piece in pieces if piece != "▁"][:4] == ["学", "习", "系", "统"]
    begins = tokenizer.starts_word[tokenizer.encode("学习系统")]
    assert begins.sum() >= 4
    assert begins_word("中".encode())
    assert not begins_word("か".encode())


def test_rows_pass_on_what_they_do_not_change():
    class One:
        def __len__(self):
            return 1

        def __call__(self, row, rng):
            return {
                "tokens": np.array([2, 9, 3, 0]),
                "words": np.array([-1, 0, -1, -1]),
                "vocab_size": np.int32(10),
            }

    from ssl_jax.data.special_tokens import SENTENCEPIECE

    rows = LanguageRows(One(), shift=10, ids=20, special=SENTENCEPIECE)
    (row,) = grain.MapDataset.range(1).seed(0).random_map(rows)
    assert row["tokens"].tolist() == [2, 19, 3, 0]
    assert row["words"].tolist() == [-1, 0, -1, -1]
    assert row["vocab_size"] == 20


@pytest.mark.parametrize(
    ("sources", "named"),
    [
        (("english.txt",), "expected NAME=SOURCE"),
        (("en=a.txt", "en=b.txt"), "the language en is named twice"),
        (("en=a.txt", "fake=shifted:de"), "de is not one of the languages with a source"),
        (("en=a.txt", "x=shifted:en", "y=shifted:en"), "shifted twice"),
        ((), "no language"),
    ],
)
def test_bad_sources(sources, named):
    with pytest.raises(UserError, match=named):
        LanguagesConfig(sources=sources)


def test_too_small_a_table(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path / "cache"))
    config = LanguagesConfig(sources=(f"en={corpus(tmp_path)}", "fake=shifted:en"))
    trained = open_languages(config, tmp_path / "run", vocab_size=240)
    file = tmp_path / "run" / "tokenizer.model"
    size = trained.tokenizer.vocab_size
    with pytest.raises(UserError, match=f"--model.vocab_size {2 * size}"):
        open_languages(
            dataclasses.replace(config, tokenizer=str(file)), tmp_path / "other", vocab_size=2 * size - 1
        )
    with pytest.raises(UserError, match="'de' is not a language of this run; expected one of en, fake"):
        trained["de"]
