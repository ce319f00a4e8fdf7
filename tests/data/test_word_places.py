"""Tagged sentences found in running text, and classes of words."""

import pytest

from ssl_jax.data.labelled_text import TaggedWords
from ssl_jax.data.word_classes import coarse_class, read_classes, tag_by_lists
from ssl_jax.data.word_places import corpus_sentences, find_tagged
from ssl_jax.errors import UserError


def tagged(text, tags=None):
    words = tuple(text.split())
    return TaggedWords(words, tags or tuple(f"t{i}" for i in range(len(words))))


def found_words(found):
    return [found.texts[text][start:stop] for text, start, stop in found.places.tolist()]


def test_words_are_found_whatever_the_quotes_and_spaces():
    texts = ["He said “Don't, Jim” (twice).", "Not tagged.", "A ﬁsh ½ eaten ."]
    sentences = [
        tagged("He said `` Don't , Jim '' ( twice ) ."),
        tagged("A fish ½ eaten ."),
        tagged("Absent ."),
    ]
    found = find_tagged(sentences, texts)
    assert found.texts == [texts[0], texts[2]]
    assert found.found == 2
    assert found_words(found) == [
        *("He", "said", "“", "Don't", ",", "Jim", "”", "(", "twice", ")", "."),
        *("A", "ﬁsh", "½", "eaten", "."),
    ]
    assert found.tags == [f"t{i}" for i in (*range(11), *range(5))]


def test_a_sentence_that_is_there_twice_counts_once():
    found = find_tagged([tagged("Yes ."), tagged("yes .")], ["Yes.", "YES ."])
    assert (found.texts, found.found, len(found.tags)) == (["Yes."], 2, 2)


def test_the_sentences_of_a_corpus(make_corpus):
    class Letters:
        def decode(self, ids):
            return "".join(chr(i) for i in ids)

    corpus = make_corpus([[[97, 98], [99]], [[100]], [[101, 102]]]).select([0, 2])
    assert [*corpus_sentences(corpus, Letters())] == ["ab", "c", "ef"]


@pytest.mark.parametrize(
    ("tags", "name"),
    [
        ("NN NNS NN$ NN-TL NR NOUN", "noun"),
        ("NP NPS NNP NNPS NP$-HL PROPN", "proper noun"),
        ("VB VBD VBZ VBN-HL VERB", "verb"),
        ("BEDZ DOD HV* MD AUX", "auxiliary"),
        ("AT DT DTI AP PP$ PRP$ WDT", "determiner"),
        ("PPSS PPO PN WPS PRP EX PRON", "pronoun"),
        ("IN IN-TL ADP", "preposition"),
        ("CC CS CCONJ SCONJ", "conjunction"),
        ("RB RBR WRB QL ADV", "adverb"),
        ("CD OD NUM", "number"),
        (", . -- `` '' ( .-HL PUNCT", "punctuation"),
    ],
)
def test_parts_of_speech_by_their_tags(tags, name):
    assert {coarse_class(tag) for tag in tags.split()} == {name}


def test_classes_of_a_file(tmp_path):
    file = tmp_path / "classes.tsv"
    file.write_text("tag\tclass\nNN\tthing\nVB\tdeed\n")
    classes = read_classes(str(file))
    assert [classes(tag) for tag in ("NN", "VB", "UH")] == ["thing", "deed", None]
    file.write_text("tag\tclass\nNN\tthing\nNN\tdeed\n")
    with pytest.raises(UserError, match="the tag 'NN' is there twice"):
        read_classes(str(file))


def test_words_by_closed_lists():
    sentence = tag_by_lists("Which of the x.y values, if any, is 3.5?")
    assert dict(zip(sentence.words, sentence.tags, strict=True)) == {
        "Which": "pronoun",
        "of": "preposition",
        "the": "determiner",
        "x.y": "other word",
        "values": "other word",
        ",": "punctuation",
        "if": "conjunction",
        "any": "determiner",
        "is": "auxiliary",
        "3.5": "number",
        "?": "punctuation",
    }
