import concurrent.futures
import threading

import numpy as np
import pytest

from ssl_jax.data.corpus import TokenizedCorpus, split, tokenize_corpus
from ssl_jax.data.text_files import TextFiles
from ssl_jax.data.tokenizers import train_sentencepiece
from ssl_jax.errors import UserError

LETTERS = "abcdefghijklmnopqrstuvwxyz"
DOCUMENTS = [[f"Sentence {LETTERS[i % 26]} {j} of text {i}." for j in range(1 + i % 5)] for i in range(60)]


class Listed:
    name = "listed"

    def __init__(self, documents: list[list[str]], fingerprint: str = "0"):
        self.documents, self.fingerprint = documents, fingerprint

    def __len__(self) -> int:
        return len(self.documents)

    def __getitem__(self, index: int) -> list[str]:
        return self.documents[index]


@pytest.fixture(scope="module")
def tokenizer():
    return train_sentencepiece([s for document in DOCUMENTS for s in document], 60)


def texts(corpus: TokenizedCorpus, tokenizer) -> list[str]:
    return [tokenizer.decode(corpus.document(i)) for i in range(len(corpus.hashes))]


def test_holds_every_sentence_of_every_document(tokenizer):
    corpus = tokenize_corpus(Listed(DOCUMENTS), tokenizer)
    assert corpus.tokens.dtype == np.uint16
    for index, document in enumerate(DOCUMENTS):
        sentences = range(corpus.first_sentence[index], corpus.end_sentence[index])
        spans = [corpus.tokens[slice(*corpus.sentence_offsets[s : s + 2])].tolist() for s in sentences]
        assert spans == [tokenizer.encode(sentence) for sentence in document]
        assert corpus.document(index).tolist() == [token for span in spans for token in span]
    np.testing.assert_array_equal(corpus.document_lengths, [len(corpus.document(i)) for i in range(60)])


def test_is_tokenised_once_and_keyed_by_source_and_tokenizer(tokenizer, cache):
    calls = []
    first = tokenize_corpus(
        Listed(DOCUMENTS), tokenizer, progress=lambda done, total: calls.append((done, total))
    )
    assert calls[-1] == (60, 60)
    again = tokenize_corpus(Listed([], "0"), tokenizer)
    np.testing.assert_array_equal(first.tokens, again.tokens)
    assert again.fingerprint == first.fingerprint
    assert not again.tokens.flags.writeable
    other = train_sentencepiece([s for document in DOCUMENTS for s in document], 50)
    assert tokenize_corpus(Listed(DOCUMENTS), other).fingerprint != first.fingerprint
    assert tokenize_corpus(Listed(DOCUMENTS[1:], "1"), tokenizer).fingerprint != first.fingerprint
    assert tokenize_corpus(Listed(DOCUMENTS, "2"), tokenizer).fingerprint == first.fingerprint
    assert len(list((cache / "corpora").iterdir())) == 4


def test_an_interrupted_build_leaves_nothing(tokenizer, tmp_path, cache):
    path = tmp_path / "corpus.txt"
    path.write_bytes(b"Sentence one.\n\n\xff")
    with pytest.raises(UserError, match="offset 15 is not UTF-8"):
        tokenize_corpus(TextFiles(path), tokenizer)
    assert list((cache / "corpora").iterdir()) == []


def test_builds_at_the_same_time_agree(tokenizer, cache):
    barrier = threading.Barrier(4)

    class Together(Listed):
        def __getitem__(self, index: int) -> list[str]:
            if index == 0:
                barrier.wait(20)  # all four are building
            return super().__getitem__(index)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        corpora = list(pool.map(lambda _: tokenize_corpus(Together(DOCUMENTS), tokenizer), range(4)))
    assert all(texts(corpus, tokenizer) == texts(corpora[0], tokenizer) for corpus in corpora)
    assert len(list((cache / "corpora").iterdir())) == 1


@pytest.mark.parametrize("gap", [" ", ""])
def test_a_sentence_longer_than_any_limit(tokenizer, gap):
    long = gap.join(["Sentence"] * 20_000)
    corpus = tokenize_corpus(Listed([["Sentence a.", long, "Sentence b."]]), tokenizer)
    assert texts(corpus, tokenizer)[0].replace(" ", "") == ("Sentencea." + long + "Sentenceb.").replace(
        " ", ""
    )
    assert len(corpus.sentence_offsets) == 4


def test_empty_sentences_and_documents_are_left_out(tokenizer):
    corpus = tokenize_corpus(Listed([["", "Sentence a."], [], ["\u200b", ""], ["Sentence b."]]), tokenizer)
    assert len(corpus.hashes) == 2
    assert (np.diff(corpus.sentence_offsets) > 0).all()


def test_an_empty_corpus_and_a_cache_that_cannot_be_written(tokenizer, tmp_path):
    with pytest.raises(UserError, match="'listed': the corpus is empty"):
        tokenize_corpus(Listed([["", " "]]), tokenizer)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be written.*SSL_JAX_CACHE"):
        tokenize_corpus(Listed(DOCUMENTS), tokenizer, cache=tmp_path / "file")


def test_held_out_documents_are_whole_and_stay_held_out(tokenizer):
    def held_out(documents: list[list[str]], seed: int) -> set[str]:
        source = Listed(documents, str(len(documents)))
        training, other = split(tokenize_corpus(source, tokenizer), 0.3, seed)
        sides = set(texts(training, tokenizer)), set(texts(other, tokenizer))
        assert not sides[0] & sides[1]
        assert sides[0] | sides[1] == {" ".join(document) for document in documents}
        return sides[1]

    few, many = held_out(DOCUMENTS[10:40], 0), held_out(DOCUMENTS + DOCUMENTS[:5], 0)
    assert few == many & {" ".join(document) for document in DOCUMENTS[10:40]}
    assert held_out(DOCUMENTS, 1) != held_out(DOCUMENTS, 0)


def test_the_share_held_out_is_the_one_asked_for(make_corpus):
    corpus = make_corpus([[[5]]] * 20_000)
    for share in (0.01, 0.05, 0.5):
        held_out = len(split(corpus, share)[1].hashes) / 20_000
        assert abs(held_out - share) < 4 * np.sqrt(share * (1 - share) / 20_000)


def test_small_corpora_hold_out_two_documents_and_smaller_ones_are_refused(make_corpus):
    for documents in (4, 5, 9):
        sides = split(make_corpus([[[5]]] * documents), 0.01)
        assert [len(side.hashes) for side in sides] == [documents - 2, 2]
        assert len(split(make_corpus([[[5]]] * documents), 0.999)[0].hashes) >= 2
    with pytest.raises(UserError, match=r"3 distinct document\(s\); at least 4"):
        split(make_corpus([[[5]]] * 3), 0.5)
