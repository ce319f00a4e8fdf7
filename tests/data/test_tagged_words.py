"""Sentences of words with tags: CoNLL, CoNLL-U, lists in JSON; each mistake names the file and the line."""

import json

import pytest

from ssl_jax.data.labelled_text import TaggedWords
from ssl_jax.data.tagged_words import TagColumns, read_tagged_words
from ssl_jax.errors import UserError
from tests.data.test_labelled_text import written

TREEBANK = """\
# newdoc id = n1
# text = Zum Haus
1-2\tZum\t_\t_\t_\t_\t_\t_\t_\t_
1\tzu\tzu\tADP\tAPPR\t_\t3\tcase\t_\t_
2\tdem\tder\tDET\tART\t_\t3\tdet\t_\t_
3\tHaus\tHaus\tNOUN\tNN\t_\t0\troot\t_\t_
3.1\tleer\t_\tVERB\tVV\t_\t_\t_\t_\t_

# newdoc
1\tIn Kürze\tin\tADV\tADV\t_\t0\troot\t_\t_

1\tEnde\tEnde\tNOUN\tNN\t_\t0\troot\t_\t_
"""


@pytest.mark.parametrize(
    "text",
    [
        "The\tAT\nnew york\tNN\n\t\n#\tB-X\n",
        "\ufeffThe\tAT\r\nnew york\tNN\r\n \r\n\r\n#\tB-X",
    ],
)
def test_words_and_tags_by_line(tmp_path, text):
    found = read_tagged_words(written(tmp_path, text, "data.conll"))
    assert [(s.words, s.tags) for s in found] == [(("The", "new york"), ("AT", "NN")), (("#",), ("B-X",))]
    assert found[1].place.endswith(("line 4", "line 5"))


def test_four_columns_and_documents(tmp_path):
    text = "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects  VBZ B-VP O\n\n. . O O\n\n-DOCSTART- -X- O O\na DT O O\n"
    file = written(tmp_path, text, "eng.train")
    found = read_tagged_words(file)
    assert [(s.words, s.tags) for s in found] == [
        (("EU", "rejects"), ("B-ORG", "O")),
        ((".",), ("O",)),
        (("a",), ("O",)),
    ]
    assert [(s.document, s.place[-6:]) for s in found] == [
        ("document 1", "line 3"),
        ("document 1", "line 6"),
        ("document 2", "line 9"),
    ]
    assert read_tagged_words(file, TagColumns(column=2))[0].tags == ("NNP", "VBZ")
    assert read_tagged_words(file, TagColumns(column=0))[0].tags is None
    only_words = written(tmp_path, "a\nb\n", "words.txt")
    assert read_tagged_words(only_words, TagColumns(column=0)) == [
        TaggedWords(("a", "b"), None, "", f"data source {only_words!r}, line 1")
    ]


def test_a_treebank_has_its_syntactic_words(tmp_path):
    file = written(tmp_path, TREEBANK, "data.conllu")
    found = read_tagged_words(file)
    assert [(s.words, s.tags) for s in found] == [
        (("zu", "dem", "Haus"), ("ADP", "DET", "NOUN")),
        (("In Kürze",), ("ADV",)),
        (("Ende",), ("NOUN",)),
    ]
    assert [s.document for s in found] == ["n1", "line 9", "line 9"]
    assert read_tagged_words(file, TagColumns(treebank="xpos"))[0].tags == ("APPR", "ART", "NN")


def test_lists_in_lines_of_json(tmp_path):
    rows = [{"words": ["a", "b"], "tags": ["X", "Y"]}, {"words": [], "tags": []}]
    found = read_tagged_words(written(tmp_path, "\n".join(map(json.dumps, rows)), "data.jsonl"))
    assert [(s.words, s.tags) for s in found] == [(("a", "b"), ("X", "Y"))]
    other = written(tmp_path, json.dumps({"tokens": ["a"]}), "other.jsonl")
    assert read_tagged_words(other, TagColumns("tokens", ""))[0].tags is None


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.conll", "The\tAT\ndog\n", r"line 2: 1 column\(s\), 'dog'; expected a word and a tag"),
        ("a.conll", "x\ty\n\nThe\tAT\n\tNN\n", "line 4: a word or a tag is empty"),
        ("a.conll", "The\t\n", "line 1: a word or a tag is empty"),
        ("a.conll", "\n\n", "it has no sentence"),
        ("a.conllu", "# text\n1\tThe\tDET\n", "line 2: 3 columns; expected the 10 of CoNLL-U"),
        ("a.conllu", "# text\n", "it has no sentence"),
        ("a.jsonl", '{"words": ["a", "b"], "tags": ["X"]}\n', "line 1: 2 words and 1 tags"),
        ("a.jsonl", '{"words": "a", "tags": ["X"]}\n', "line 1: 'words' is not a list of texts"),
        ("a.jsonl", '{"words": ["a"], "tags": [1]}\n', "line 1: 'tags' is not a list of texts"),
        ("a.jsonl", '{"words": ["a"]}\n', "line 1: no 'tags'"),
        ("a.jsonl", '{"words": [], "tags": []}\n', "it has no sentence"),
    ],
)
def test_mistakes(tmp_path, name, text, message):
    with pytest.raises(UserError, match=message) as error:
        read_tagged_words(written(tmp_path, text, name))
    assert name in str(error.value)
