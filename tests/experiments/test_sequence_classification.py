"""Labelled sentences of the user: what is read of them, and what is refused before anything is trained."""

import dataclasses

import numpy as np
import pytest
from etils import epath

from experiments.sequence_classification import PRESETS, Config, build
from ssl_jax.data.section_labels import section_sentences
from ssl_jax.data.tokenizers import train_sentencepiece
from ssl_jax.errors import UserError
from ssl_jax.recipes.labelled_text import LabelledTextConfig, open_labelled_text

WORDS = ("cat", "dog", "fox", "owl", "hen")
HEADER = "sentence\tkind"


def table(file, lines, header=HEADER):
    file.write_text("\n".join([*([header] if header else []), *lines, ""]))
    return str(file)


@pytest.fixture
def training(tmp_path):
    return [
        f"A {word} and {number} more.\t{'few' if number < 3 else 'many'}"
        for word in WORDS
        for number in range(6)
    ]


@pytest.fixture
def tokenizer(tmp_path):
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    return str(train_sentencepiece([f"A {word} and 0 1 2 3 4 5 more." for word in WORDS], 40).save(folder))


def opened(folder, tokenizer="train", labels=("few", "many"), length=24, **data):
    config = dataclasses.replace(
        PRESETS["tiny"],
        labels=labels,
        length=length,
        data=LabelledTextConfig(text="sentence", label="kind", tokenizer=tokenizer, **data),
    )
    return open_labelled_text(config, epath.Path(folder), section_sentences)


def test_columns_by_name_and_a_held_out_file(tmp_path, training, tokenizer, capsys):
    heldout = table(tmp_path / "dev.tsv", ["many\tAn owl and 5 more.", "few\tA hen alone."], "kind\tsentence")
    source = table(tmp_path / "train.tsv", training)
    run = tmp_path / "run"
    run.mkdir()
    data = opened(run, tokenizer, source=source, heldout_source=heldout)
    assert [int(row["label"]) for row in data.heldout[0]["heldout"]] == [1, 0]
    assert [example.text for example in data.details.heldout.examples] == [
        "An owl and 5 more.",
        "A hen alone.",
    ]
    shown = capsys.readouterr().out
    steps = PRESETS["tiny"].steps
    assert (
        "30 training and 2 held-out examples, 2 labels: few 15, many 15; "
        f"{steps} steps are {steps * 32 / 30:.1f} epochs" in shown
    )
    first = [data.train[0][i]["tokens"].tolist() for i in range(30)]
    assert len({*map(tuple, first)}) == 30  # an epoch has every sentence once
    assert first != [data.train[0][30 + i]["tokens"].tolist() for i in range(30)]
    reordered = opened(run, tokenizer, ("many", "few"), source=source, heldout_source=heldout)
    assert [int(row["label"]) for row in reordered.heldout[0]["heldout"]] == [0, 1]


def test_batches_have_the_shapes_that_are_named(tmp_path, training, tokenizer):
    """Rows of up to 60 tokens, by the lengths of their sentences; the held-out rows have one length that all fit in."""
    sentences = [f"{'A hen and 1 more. ' * (n % 3)}{line}" for n, line in enumerate(8 * training)]
    source = table(tmp_path / "train.tsv", sentences)
    heldout = table(tmp_path / "dev.tsv", [training[0], "A hen and 2 more.\tfew"])
    run = tmp_path / "run"
    run.mkdir()
    data = opened(run, tokenizer, source=source, heldout_source=heldout, length=60)
    (phase,) = build(dataclasses.replace(PRESETS["tiny"], labels=("few", "many"), length=60)).phases
    named = {shape.rows["tokens"].shape[1]: shape for shape in phase.shapes}
    assert {length: shape.work for length, shape in named.items()} == {60: 32 * 60, 32: 32 * 32}
    seen = []
    for number in range(8):
        examples = [data.train[0][32 * number + i] for i in range(32)]
        arrays = {name: np.stack([example[name] for example in examples]) for name in examples[0]}
        seen.append(arrays["tokens"].shape[1])
        rows = named[seen[-1]].rows
        assert {name: (x.shape, x.dtype) for name, x in arrays.items()} == {
            name: (x.shape, x.dtype) for name, x in rows.items()
        }
    assert set(seen) == {32, 60}
    assert {len(row["tokens"]) for row in data.heldout[0]["heldout"]} == {32}


def test_a_share_is_held_out_by_hash(tmp_path, training, tokenizer):
    run = tmp_path / "run"
    run.mkdir()
    source = table(tmp_path / "train.tsv", training)
    found = opened(run, tokenizer, source=source, heldout_share=0.3).details
    assert 3 <= len(found.heldout.examples) <= 15
    assert not {*found.train.texts} & {*found.heldout.texts}
    assert len(found.train.examples) + len(found.heldout.examples) == 30
    shuffled = table(tmp_path / "other.tsv", [training[i] for i in np.random.default_rng(0).permutation(30)])
    again = opened(run, tokenizer, source=shuffled, heldout_share=0.3).details
    assert {*again.heldout.texts} == {*found.heldout.texts}


def test_a_choice_of_the_training_examples(tmp_path, training, tokenizer):
    run = tmp_path / "run"
    run.mkdir()
    source = table(tmp_path / "train.tsv", training)
    whole, some = (opened(run, tokenizer, source=source, examples=n).details for n in (99, 10))
    assert len(some.train.examples) == len(some.train.labels) == 10
    assert {*some.train.texts} < {*whole.train.texts}
    assert some.heldout.texts == whole.heldout.texts


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"labels": ("a", "b")},
            r"2 of its 2 labels are not among labels a b\. Give --labels 'few' 'many', whose",
        ),
        ({"label": "class"}, r"train\.tsv.*'class'"),
        ({"text": "text"}, r"train\.tsv.*'text'"),
        ({"dev": "A cat.\tnone"}, r"dev\.tsv', line 2: the label 'none' does not occur in the training data"),
        ({"dev": "A cat.\t"}, r"dev\.tsv', line 2: no label in the column 'kind'"),
        ({"train": ["A cat.\tfew", "A dog.\tfew"]}, r"the training data has only the label 'few'"),
        ({"source": "tfds:no_such_data:train"}, r"no_such_data"),
        ({"source": "absent.tsv"}, r"absent\.tsv"),
        ({"source": "sentences.csv"}, r"'sentences\.csv': expected a \.tsv file, a \.jsonl file"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_trained_on_is_named(change, message, tmp_path, training):
    """The tokenizer would be trained afterwards, on the corpus of the pretraining."""
    source = table(tmp_path / "train.tsv", change.pop("train", training))
    heldout = table(tmp_path / "dev.tsv", [change.pop("dev", "A cat and 5 more.\tmany")])
    given = {"source": source, "heldout_source": heldout, **change}
    text, label = given.pop("text", "sentence"), given.pop("label", "kind")
    labels = given.pop("labels", ("few", "many"))
    data = LabelledTextConfig(text=text, label=label, **given)
    config = dataclasses.replace(PRESETS["tiny"], labels=labels, data=data)
    with pytest.raises(UserError, match=message):
        open_labelled_text(config, epath.Path(tmp_path / "run"), section_sentences)
    assert not (tmp_path / "run").exists()


def test_sizes_are_not_asked_for_beside_a_source_that_has_its_own(refused, tmp_path):
    error = refused(
        "sequence_classification", "--init_from", tmp_path, "--bert.model.width", 64, "--bert.steps", 9
    )
    assert "--bert.steps 9: with --init_from" in error
    assert "Leave out --bert.steps, --bert.model.width." in error


@pytest.mark.parametrize("labels", [("one",), ("a", "b", "a")])
def test_labels_are_at_least_two_and_distinct(labels):
    with pytest.raises(UserError, match="expected at least two, each of them once"):
        Config(labels=labels)


def test_the_preset_of_the_paper():
    """Devlin et al. 2018, section 4.1 and appendix A.3; 67,349 sentences of SST-2."""
    paper = PRESETS["base"]
    assert (paper.length, paper.train.batch_size) == (128, 32)
    assert paper.steps == 3 * 67_349 // 32
    assert paper.schedule.warmup_steps / paper.steps == pytest.approx(0.1, abs=1e-3)
    assert 2e-5 <= paper.schedule.learning_rate <= 5e-5
    assert (paper.schedule.decay, paper.optimizer.name, paper.optimizer.weight_decay) == (
        "linear",
        "bert_adam",
        0.01,
    )
    assert (paper.encoder.dropout, paper.encoder.attention_dropout, paper.encoder.head_dropout) == (
        0.1,
        0.1,
        0.1,
    )
    assert (paper.bert.model.layers, PRESETS["large"].bert.model.width) == (12, 1024)
