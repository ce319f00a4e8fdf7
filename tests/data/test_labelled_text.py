"""Labels by name, tables of labelled text, and held-out sets by hash; each mistake names the file and the line."""

import json
import math

import numpy as np
import pytest

from ssl_jax.data.labelled_tables import Columns, read_labelled_text
from ssl_jax.data.labelled_text import (
    LabelledText,
    Question,
    TaggedWords,
    fingerprint,
    label_set,
    scores,
    split_by_hash,
    texts,
)
from ssl_jax.errors import UserError

PAIRS = Columns("one", "two", "class")


def written(folder, text, name="data.tsv"):
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(file)


@pytest.mark.parametrize(
    "text",
    [
        'one\ttwo\tclass\n"so" he\'s\ta, "b\tyes\n\u2028x \t\tno\n',
        '\ufeffone\ttwo\tclass\r\n"so" he\'s\ta, "b\tyes\r\n\u2028x \t\tno\r\n',
        'class\ttwo\tmore\tone\nyes\ta, "b\t1\t"so" he\'s\n\nno\t\t2\t\u2028x ',
    ],
    ids=["plain", "mark and crlf", "other order"],
)
def test_tables_without_quoting(tmp_path, text):
    found = read_labelled_text(written(tmp_path, text), PAIRS)
    assert [(e.text, e.second, e.label) for e in found] == [
        ('"so" he\'s', 'a, "b', "yes"),
        ("\u2028x ", "", "no"),
    ]
    assert found[1].place.endswith(("line 3", "line 4"))
    assert texts(found) == (['"so" he\'s', "\u2028x "], ['a, "b', ""])


def test_columns_by_number_for_files_without_a_header(tmp_path):
    file = written(tmp_path, "gj\t1\t\tFirst one.\ngj\t0\t*\tSecond one.\n")
    found = read_labelled_text(file, Columns("4", "", "2"))
    assert [(e.text, e.second, e.label, e.place[-6:]) for e in found] == [
        ("First one.", None, "1", "line 1"),
        ("Second one.", None, "0", "line 2"),
    ]
    assert texts(found) == (["First one.", "Second one."], None)
    with pytest.raises(UserError, match="line 1: no column '5'; its columns are 1, 2, 3, 4"):
        read_labelled_text(file, Columns("5", "", "2"))


def test_lines_of_json(tmp_path):
    rows = [{"one": "a\tb", "two": "c", "class": 1}, {"two": "", "one": "é", "class": "x", "document": "d"}]
    file = written(tmp_path, "\ufeff" + "\r\n\r\n".join(map(json.dumps, rows)), "data.jsonl")
    found = read_labelled_text(file, PAIRS)
    assert [(e.text, e.second, e.label) for e in found] == [("a\tb", "c", "1"), ("é", "", "x")]
    assert found[1].place.endswith("line 3")


def test_scores(tmp_path):
    file = written(tmp_path, "text\tlabel\na\t3.5\nb\t-1e2\n")
    found = read_labelled_text(file, Columns(), scored=True)
    assert scores(found).tolist() == [3.5, -100.0]
    assert math.isnan(scores([LabelledText("a")])[0])
    assert [e.label for e in found] == [None, None]


def test_labels_are_optional_where_nothing_asks_for_them(tmp_path):
    [example] = read_labelled_text(written(tmp_path, "text\na\n"), Columns(label=""))
    assert (example.label, example.score) == (None, None)


@pytest.mark.parametrize(
    ("name", "text", "scored", "message"),
    [
        ("a.tsv", "text\tclass\na\tx\n", False, "line 1: no column 'label'; its columns are text, class"),
        ("a.tsv", "", False, "it has no rows"),
        ("a.tsv", "text\tlabel\n", False, "it has no rows"),
        ("a.tsv", "text\tlabel\na\tx\nb\t\n", False, "line 3: no label in the column 'label'"),
        ("a.tsv", "text\tlabel\na\tx\nb\n", False, "line 3: 1 columns; expected 2"),
        ("a.tsv", "text\tlabel\n\na\tnan\n", True, "line 3: the score 'label' is 'nan'; expected a finite"),
        ("a.tsv", "text\tlabel\na\tinf\n", True, "line 2: the score"),
        ("a.tsv", "text\tlabel\na\tgood\n", True, "line 2: the score 'label' is 'good'"),
        ("a.jsonl", "", False, "it has no rows"),
        ("a.jsonl", '{"text": "a"}\n', False, "line 1: no 'label'; it has text"),
        ("a.jsonl", '{"text": "a", "label": null}\n', False, "line 1: no label"),
        ("a.jsonl", '{"text": "a", "label": 1.5}\n', False, "line 1: the label 'label' is 1.5; expected a text"),
        ("a.jsonl", '{"text": "a", "label": true}\n', True, "line 1: the score 'label' is True"),
        ("a.jsonl", '{"text": "a", "label": NaN}\n', True, "line 1: the score 'label' is nan"),
        ("a.jsonl", '{"text": 3, "label": "x"}\n', False, "line 1: 'text' is 3; expected a text"),
        ("a.jsonl", '{"text": "a",\n', False, "line 1: not JSON"),
        ("a.jsonl", '["a"]\n', False, "line 1: expected a JSON object"),
        ("a.txt", "a", False, "expected a .tsv file, a .jsonl file"),
    ],
)  # fmt: skip
def test_mistakes_in_a_table(tmp_path, name, text, scored, message):
    with pytest.raises(UserError, match=message) as error:
        read_labelled_text(written(tmp_path, text, name), Columns(), scored)
    assert name in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    for name in ("a.tsv", "a.jsonl"):
        with pytest.raises(UserError, match=f"{name}': no such file"):
            read_labelled_text(str(tmp_path / name), Columns())


EXAMPLES = [LabelledText(str(i), label="ba"[i % 3 > 1], place=f"file, line {i}") for i in range(9)]


def test_labels_are_counted_and_numbered_by_name():
    found = label_set(EXAMPLES, "file")
    assert (found.names, found.counts) == (("a", "b"), (3, 6))
    assert str(found) == "2 labels: a 3, b 6"
    assert found.ids(EXAMPLES[:3]).tolist() == [1, 1, 0]
    assert found.ids([LabelledText("x")]).tolist() == [-1]
    assert label_set(EXAMPLES, "file", ("c", "b", "a")).counts == (0, 6, 3)
    words = [TaggedWords(("x", "y"), ("O", "B-X")), TaggedWords(("z",), ("I-X",))]
    tags = label_set(words, "file")
    assert tags.names == ("B-X", "I-X", "O")
    assert tags.tag_ids([*words, TaggedWords(("a", "b"))]).tolist() == [2, 0, 1, -1, -1]
    assert tags.tag_ids(words).dtype == np.int32
    many = [TaggedWords(tuple("abcdefghijklmnopqrstuvwxyz"), tuple("abcdefghijklmnopqrstuvwxyz"))]
    assert str(label_set(many, "file")).endswith("t 1, and 6 more")


@pytest.mark.parametrize(
    ("examples", "names", "message"),
    [
        (EXAMPLES[:2], (), "'train.tsv': the training data has only the label 'b'; expected at least two"),
        ([], (), "has no label"),
        ([TaggedWords(("a",), ("O",))], (), "only the label 'O'"),
        ([*EXAMPLES, LabelledText("x", place="file, line 9")], (), "file, line 9: it has no label"),
        ([TaggedWords(("a",), place="here")], (), "here: it has no label"),
        (EXAMPLES, ("a", "c"), "file, line 0: the label 'b'; expected one of a, c"),
    ],
)
def test_training_data_that_nothing_can_be_learned_from(examples, names, message):
    with pytest.raises(UserError, match=message):
        label_set(examples, "train.tsv", names)


def test_a_label_that_training_does_not_have():
    found = label_set(EXAMPLES, "train.tsv")
    message = r"dev, line 7: the label 'c' does not occur in the training data 'train.tsv', which has a, b"
    with pytest.raises(UserError, match=message):
        found.ids([*EXAMPLES, LabelledText("x", label="c", place="dev, line 7")])
    with pytest.raises(UserError, match=message):
        found.tag_ids([TaggedWords(("x", "y"), ("a", "c"), place="dev, line 7")])


def test_held_out_by_hash():
    examples = [LabelledText(str(i), label="a", document=f"document {i // 2}") for i in range(400)]
    training, heldout = split_by_hash(examples, 0.25)
    assert sorted(training + heldout) == sorted(examples)
    assert not {e.document for e in training} & {e.document for e in heldout}
    assert 70 < len(heldout) < 130
    assert split_by_hash(examples[::-1], 0.25)[1] == heldout[::-1]
    assert set(split_by_hash(examples[:200], 0.25)[1]) == {e for e in heldout if e in examples[:200]}
    assert split_by_hash(examples, 0.25, seed=1)[1] != heldout
    folds = [split_by_hash(examples, 0.25, fold=fold)[1] for fold in range(4)]
    assert folds[0] == heldout
    assert sorted(e for fold in folds for e in fold) == sorted(examples)
    with pytest.raises(UserError, match="fold 4: there are 4 folds"):
        split_by_hash(examples, 0.25, fold=4)


def test_equal_examples_are_held_out_together():
    words = [TaggedWords((str(i % 20), "x"), ("O", "O"), place=str(i)) for i in range(40)]
    asked = [Question(str(i), "?", f"context {i % 20}") for i in range(40)]
    pairs = [LabelledText(str(i % 20), "b", str(i)) for i in range(40)]
    for examples, key in ((words, 0), (asked, 2), (pairs, 0)):
        training, heldout = split_by_hash(examples, 0.4)
        assert len(heldout) % 2 == 0
        assert not {e[key] for e in training} & {e[key] for e in heldout}


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_a_split_with_an_empty_part_is_refused(share):
    with pytest.raises(
        UserError, match=r"file, line 0: of 9 document\(s\), a held-out share .* leaves none to"
    ):
        split_by_hash(EXAMPLES, share)


def test_a_fingerprint_is_of_the_content_not_of_the_place():
    moved = [example._replace(place="elsewhere") for example in EXAMPLES]
    assert fingerprint(EXAMPLES) == fingerprint(moved)
    assert fingerprint(EXAMPLES) != fingerprint(EXAMPLES[::-1])
    assert fingerprint(EXAMPLES) != fingerprint(EXAMPLES, {"length": 3})
