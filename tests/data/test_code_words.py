"""Which words of the documentation are code: their tags, and nothing left of the marks that gave them."""

import pytest

from ssl_jax.data import code_words, pydocs
from ssl_jax.data.docstrings import CODE

BEGIN, END = CODE


def test_words_and_tags():
    text = f"If {BEGIN}axis = None{END}, it isn't ({BEGIN}x.y{END}) sum-like.{BEGIN} {END}"
    assert list(code_words.tagged_words(text)) == [
        ("If", "O"),
        ("axis", "B-code"),
        ("=", "I-code"),
        ("None", "I-code"),
        (",", "O"),
        ("it", "O"),
        ("isn't", "O"),
        ("(", "O"),
        ("x.y", "B-code"),
        (")", "O"),
        ("sum-like", "O"),
        (".", "O"),
    ]


def test_code_is_cut_into_words_as_prose_is():
    """Otherwise the form of a word would give its tag away."""
    code, prose = (
        list(code_words.tagged_words(text)) for text in (f"{BEGIN}f(x, a.b)=='c'{END}", "f(x, a.b)=='c'")
    )
    assert [word for word, _ in code] == [word for word, _ in prose]
    assert [tag for _, tag in code] == ["B-code", *["I-code"] * 10]


def test_sentences_with_code_of_both_parts(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path))
    made = [
        pydocs.Document(
            [pydocs.Sentence(f"Sentence {i}.", "")] * 4, [], [f"See {BEGIN}f{i} x{END} at once.", "a " * 81]
        )
        for i in range(100)
    ]
    monkeypatch.setattr(pydocs, "read_packages", lambda: made)
    train, heldout = code_words.code_words()
    assert len(train) + len(heldout) == 100
    monkeypatch.setattr(code_words, "LABELLED", 20)
    few, same = code_words.code_words()
    assert (len(few), same) == (20, heldout)
    assert {*few} < {*train}
    assert 2 <= len(heldout) < 20
    for sentence in [*train, *heldout]:
        assert sentence.tags == ("O", "B-code", "I-code", "O", "O", "O")
        assert not {*CODE} & {*"".join(sentence.words)}
    assert not {sentence.document for sentence in train} & {sentence.document for sentence in heldout}


@pytest.mark.parametrize("marked", [f"{BEGIN}a", f"a{END} b", f"{END}{BEGIN}", f"{BEGIN}{BEGIN}a{END}{END}"])
def test_marks_that_a_sentence_cut_apart_are_no_words(marked):
    words = [word for word, _ in code_words.tagged_words(marked)]
    assert not {*CODE} & {*"".join(words)}
