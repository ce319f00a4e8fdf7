"""GLUE's tasks from folders in its own layout: columns, labels by name, scores, test sets, and damaged rows."""

import pytest

from ssl_jax.data.glue import TASKS, TFDS_COLUMNS, read_glue
from ssl_jax.data.labelled_text import label_set
from ssl_jax.errors import UserError

MNLI = "index promptID pairID genre sentence1_binary_parse sentence2_binary_parse sentence1_parse sentence2_parse"
MNLI += " sentence1 sentence2"
FILES = {
    "CoLA/train.tsv": "gj04\t1\t\tA \"quoted start.\ngj04\t0\t*\tIt's\u2028wrong.\n",
    "CoLA/dev.tsv": "gj04\t1\t\tFine.\n",
    "CoLA/test.tsv": "index\tsentence\n0\tUnknown.\n1\t\n",
    "SST-2/train.tsv": "sentence\tlabel\ngood film\t1\nbad film\t0\n",
    "SST-2/test.tsv": "index\tsentence\n0\tfilm\n",
    "MRPC/train.tsv": "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n1\t12\t13\tOne.\tTwo.\r\n0\t1\t2\ta\tb\r\n",
    "MRPC/test.tsv": "index\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t1\t2\tOne.\tTwo.\n",
    "QQP/dev.tsv": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n1\t2\t3\tWhy?\tHow?\t1\n",
    "QQP/test.tsv": "id\tquestion1\tquestion2\n0\tWhy?\tHow?\n",
    "STS-B/dev.tsv": "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
    "0\tg\tf\t2012\t1\tnone\tnone\tA man.\tA woman.\t3.800\n",
    "STS-B/test.tsv": "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\n"
    "0\tg\tf\t2012\t1\tnone\tnone\tA man.\tA woman.\n",
    "MNLI/train.tsv": "\t".join([*MNLI.split(), "label1", "gold_label"])
    + "\n"
    + "\t".join([*"0123abcd", "He left.", "He stayed.", "neutral", "contradiction"])
    + "\n",
    "MNLI/dev_mismatched.tsv": "\t".join([*MNLI.split(), "label1", "label2", "gold_label"])
    + "\n"
    + "\t".join([*"0123abcd", "He left.", "He went.", "neutral", "neutral", "entailment"])
    + "\n",
    "MNLI/test_matched.tsv": "\t".join(MNLI.split()) + "\n" + "\t".join([*"0123abcd", "Yes.", "No."]) + "\n",
    "QNLI/train.tsv": "index\tquestion\tsentence\tlabel\n0\tWho?\tHe did.\tnot_entailment\n",
    "RTE/dev.tsv": "index\tsentence1\tsentence2\tlabel\n0\tOne.\tTwo.\tentailment\n",
    "WNLI/train.tsv": "index\tsentence1\tsentence2\tlabel\n0\tHe saw it.\tIt saw.\t1\n",
    "diagnostic/diagnostic.tsv": "index\tsentence1\tsentence2\n0\tNo dog.\tA dog.\n",
}

EXPECTED = [
    ("cola", "train", [('A "quoted start.', None, "acceptable"), ("It's\u2028wrong.", None, "unacceptable")]),
    ("cola", "validation", [("Fine.", None, "acceptable")]),
    ("cola", "test", [("Unknown.", None, None), ("", None, None)]),
    ("sst2", "train", [("good film", None, "positive"), ("bad film", None, "negative")]),
    ("sst2", "test", [("film", None, None)]),
    ("mrpc", "train", [("One.", "Two.", "equivalent"), ("a", "b", "not_equivalent")]),
    ("mrpc", "test", [("One.", "Two.", None)]),
    ("qqp", "validation", [("Why?", "How?", "duplicate")]),
    ("qqp", "test", [("Why?", "How?", None)]),
    ("mnli", "train", [("He left.", "He stayed.", "contradiction")]),
    ("mnli", "validation_mismatched", [("He left.", "He went.", "entailment")]),
    ("mnli", "test_matched", [("Yes.", "No.", None)]),
    ("qnli", "train", [("Who?", "He did.", "not_entailment")]),
    ("rte", "validation", [("One.", "Two.", "entailment")]),
    ("wnli", "train", [("He saw it.", "It saw.", "entailment")]),
    ("ax", "test", [("No dog.", "A dog.", None)]),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("glue")
    for name, text in FILES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(text.encode())
    return root


@pytest.mark.parametrize(
    ("task", "split", "examples"), EXPECTED, ids=lambda value: value if type(value) is str else ""
)
def test_layouts(folder, task, split, examples):
    found = read_glue(str(folder), task, split)
    assert [(e.text, e.second, e.label) for e in found] == examples
    assert [e.score for e in found] == [None] * len(found)


def test_scores(folder):
    assert [e[:4] for e in read_glue(str(folder), "stsb", "validation")] == [
        ("A man.", "A woman.", None, 3.8)
    ]
    assert [e[:4] for e in read_glue(str(folder), "stsb", "test")] == [("A man.", "A woman.", None, None)]
    assert [task for task, kind in TASKS.items() if kind.scored] == ["stsb"]


def test_labels_are_numbered_as_in_tfds_whatever_the_files_number(folder):
    """As `tensorflow_datasets.text.glue` has them; the metrics need 1 to be the positive class."""
    from tensorflow_datasets.text.glue import Glue

    known = {config.name: config for config in Glue.BUILDER_CONFIGS}
    for task, kind in TASKS.items():
        assert list(kind.labels.values()) == (known[task].label_classes or []), task
        assert [name for name in TFDS_COLUMNS[task][:2] if name] == list(known[task].text_features), task
    examples = read_glue(str(folder), "mrpc", "train")
    found = label_set(examples, "train", tuple(TASKS["mrpc"].labels.values()))
    assert found.ids(examples).tolist() == [1, 0]


SCORED = "sentence1\tsentence2\tscore\na\tb\t"


@pytest.mark.parametrize(
    ("name", "text", "task", "split", "message"),
    [
        ("CoLA/train.tsv", "gj04\t2\t\tWhat?\n", "cola", "train", "line 1: the label '2'; expected '0' or '1'"),
        ("CoLA/train.tsv", "", "cola", "train", "it has no rows"),
        ("SST-2/train.tsv", "sentence\tlabel\n", "sst2", "train", "it has no rows"),
        ("SST-2/train.tsv", "text\tlabel\na\t1\n", "sst2", "train", "line 1: no column 'sentence'"),
        ("RTE/dev.tsv", "sentence1\tsentence2\na\tb\n", "rte", "validation", "no column 'label'"),
        ("STS-B/dev.tsv", f"{SCORED}nan\n", "stsb", "validation", "line 2: the score is 'nan'"),
        ("STS-B/dev.tsv", f"{SCORED}6\n", "stsb", "validation", "line 2: .* expected a number from 0 to 5"),
        ("QQP/test.tsv", "id\tquestion1\tquestion2\n0\ta\n", "qqp", "test", "line 2: fewer columns than the 3"),
        ("RTE/dev.tsv", "sentence1\tsentence2\tlabel\na\tb\tentailment\na\n", "rte", "validation", "line 3: fewer"),
        ("RTE/x.tsv", "", "rte", "train", "RTE/train.tsv': no such file"),
        ("RTE/x.tsv", "", "rte", "test_matched", "no split 'test_matched'; expected one of train, validation, test"),
        ("RTE/x.tsv", "", "xnli", "test", "GLUE task 'xnli': expected one of cola, sst2"),
        ("RTE/x.tsv", "", "ax", "train", "no split 'train'; expected one of test"),
    ],
)  # fmt: skip
def test_mistakes(tmp_path, name, text, task, split, message):
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        read_glue(str(tmp_path), task, split)


def test_a_few_damaged_rows_of_a_large_training_set_are_left_out(tmp_path):
    (tmp_path / "QQP").mkdir()
    rows = [
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
        *["1\t2\t3\tWhy?\tHow?\t1"] * 2000,
        "1\t2\tWhy?",
    ]
    (tmp_path / "QQP" / "train.tsv").write_text("\n".join(rows) + "\n")
    assert len(read_glue(str(tmp_path), "qqp", "train")) == 2000
