"""Labelled text from real TFDS data sets with the fields of GLUE, SQuAD and CoNLL 2003: labels by name."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from ssl_jax.data.glue import read_glue
from ssl_jax.data.labelled_tables import Columns, read_labelled_text
from ssl_jax.data.labelled_text import Answer
from ssl_jax.data.squad import read_squad
from ssl_jax.data.tagged_words import TagColumns, read_tagged_words
from ssl_jax.errors import UserError

Text, Label = tfds.features.Text, tfds.features.ClassLabel
TWO_WAY = ("entailment", "not_entailment")
FEATURES = {
    "rte": {"sentence1": Text(), "sentence2": Text(), "label": Label(names=TWO_WAY), "idx": np.int32},
    "stsb": {"sentence1": Text(), "sentence2": Text(), "label": np.float32, "idx": np.int32},
    "conll": {
        "tokens": tfds.features.Sequence(Text()),
        "ner": tfds.features.Sequence(Label(names=["O", "B-PER"])),
    },
    "squad": {
        "id": np.str_,
        "title": Text(),
        "context": Text(),
        "question": Text(),
        "answers": tfds.features.Sequence({"text": Text(), "answer_start": np.int32}),
    },
}
RECORDS = {
    "rte": [
        {"sentence1": f"One {i}.", "sentence2": "Zwei ü.", "label": TWO_WAY[i % 2], "idx": i}
        for i in range(6)
    ],
    "stsb": [{"sentence1": "a", "sentence2": "b", "label": 2.5, "idx": 0}],
    "conll": [{"tokens": ["Ä", "b"], "ner": ["B-PER", "O"]}, {"tokens": ["c"], "ner": ["O"]}],
    "squad": [
        {
            "id": "a",
            "title": "T",
            "context": "Größe 🙂 x",
            "question": "?",
            "answers": {"text": ["🙂", "x"], "answer_start": [6, 8]},
        },
        {
            "id": "b",
            "title": "T",
            "context": "y",
            "question": "?",
            "answers": {"text": [], "answer_start": []},
        },
    ],
}


class TinyLabelled(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name) for name in FEATURES]  # noqa: RUF012

    def _info(self):
        features = tfds.features.FeaturesDict(FEATURES[self.builder_config.name])
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, _):
        return {"train": self._generate_examples(False), "test": self._generate_examples(True)}

    def _generate_examples(self, hidden):
        for i, record in enumerate(RECORDS[self.builder_config.name]):
            yield str(i), {**record, "label": -1} if hidden and "label" in record else record


@pytest.fixture(scope="module", autouse=True)
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    tfds.disable_progress_bar()
    for config in FEATURES:
        TinyLabelled(data_dir=folder, config=config, file_format="array_record").download_and_prepare()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tfds.core.constants, "DATA_DIR", str(folder))
        yield


def test_glue_in_the_order_of_submissions():
    found = read_glue("tfds:tiny_labelled", "rte", "train")
    assert [(e.text, e.second, e.label) for e in found] == [
        (f"One {i}.", "Zwei ü.", TWO_WAY[i % 2]) for i in range(6)
    ]
    hidden = read_glue("tfds:tiny_labelled", "rte", "test")
    assert [(e.text, e.label) for e in hidden] == [(f"One {i}.", None) for i in range(6)]


def test_glue_scores():
    assert [e.score for e in read_glue("tfds:tiny_labelled", "stsb", "train")] == [2.5]
    assert [e.score for e in read_glue("tfds:tiny_labelled", "stsb", "test")] == [None]


def test_columns_of_any_data_set():
    columns = Columns("sentence1", "sentence2")
    found = read_labelled_text("tfds:tiny_labelled/rte:train", columns)
    assert {(e.text, e.label) for e in found} == {(f"One {i}.", TWO_WAY[i % 2]) for i in range(6)}
    scored = read_labelled_text("tfds:tiny_labelled/stsb:train", columns, scored=True)
    assert [e.score for e in scored] == [2.5]
    with pytest.raises(UserError, match=r"record 1: no label in the column 'label'.*test splits"):
        read_labelled_text("tfds:tiny_labelled/rte:test", columns)
    with pytest.raises(UserError, match="expected a field 'text'; it has"):
        read_labelled_text("tfds:tiny_labelled/rte:train", Columns())
    with pytest.raises(UserError, match="names no split; give tfds:tiny_labelled/rte:train"):
        read_labelled_text("tfds:tiny_labelled/rte", columns)


def test_words_and_tags():
    found = read_tagged_words("tfds:tiny_labelled/conll:train", TagColumns("tokens", "ner"))
    assert {(s.words, s.tags) for s in found} == {(("Ä", "b"), ("B-PER", "O")), (("c",), ("O",))}


def test_questions():
    found = sorted(read_squad("tfds:tiny_labelled/squad:train"))
    assert [(q.id, q.answers, q.document) for q in found] == [
        ("a", (Answer("🙂", 6), Answer("x", 8)), "T"),
        ("b", (), "T"),
    ]
