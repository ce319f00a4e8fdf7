"""GLUE: presets against their papers, data of a task with labels by name, its metrics by set, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from etils import epath

from experiments.glue import PAPER, PRESETS, Config, for_task
from ssl_jax.data.labelled_text import Answer, LabelledText, Question
from ssl_jax.data.tokenizers import train_sentencepiece
from ssl_jax.errors import UserError
from ssl_jax.methods.fine_tuning import FineTuning
from ssl_jax.recipes import glue

STEPS = {  # 3 epochs of batches of 32, of the training sets of gluebenchmark.com
    "cola": 801,
    "sst2": 6_313,
    "mrpc": 343,
    "qqp": 34_110,
    "stsb": 538,
    "mnli": 36_815,
    "qnli": 9_819,
    "rte": 233,
    "wnli": 59,
}
FILES = {
    "MNLI/train.tsv": [
        "sentence1\tsentence2\tgold_label",
        "A\tB\tneutral",
        "A\tC\tcontradiction",
        "B\tC\tentailment",
    ],
    "MNLI/dev_matched.tsv": ["sentence1\tsentence2\tgold_label", "C\tA\tcontradiction", "C\tB\tentailment"],
    "MNLI/dev_mismatched.tsv": ["sentence2\tgold_label\tsentence1", "B\tneutral\tC"],
    "WNLI/train.tsv": ["index\tsentence1\tsentence2\tlabel", "0\tA\tB\t1", "1\tA\tC\t0"],
    "WNLI/dev.tsv": ["index\tsentence1\tsentence2\tlabel", "0\tC\tB\t0"],
    "RTE/train.tsv": ["index\tsentence1\tsentence2\tlabel", "0\tA\tB\tentailment", "1\tA\tC\tnot_entailment"],
    "RTE/dev.tsv": ["index\tsentence1\tsentence2\tlabel", "0\tC\tB\tnot_entailment"],
    "STS-B/train.tsv": ["sentence1\tsentence2\tscore", "A\tB\t3.8", "A\tC\t0.5"],
    "STS-B/dev.tsv": ["sentence1\tsentence2\tscore", "C\tB\t1.0", "A\tB\t2.0", "C\tA\t4.5"],
}


@pytest.mark.parametrize("task", STEPS)
def test_a_preset_is_the_papers(task):
    """Devlin et al. 2018, section 4.1: batches of 32, 3 epochs, a learning rate among four, a tenth to warm up."""
    paper = PRESETS[task]
    assert (paper.task, paper.steps, paper.schedule.warmup_steps) == (task, STEPS[task], STEPS[task] // 10)
    assert (paper.train.batch_size, paper.length, paper.data.source) == (32, 128, "tfds:glue")
    assert paper.schedule.learning_rate in (2e-5, 3e-5, 4e-5, 5e-5)
    assert (paper.schedule.decay, paper.optimizer.name, paper.optimizer.weight_decay) == (
        "linear",
        "bert_adam",
        0.01,
    )
    rates = paper.encoder.dropout, paper.encoder.attention_dropout, paper.encoder.head_dropout
    assert rates == (0.1, 0.1, 0.1)
    assert (paper.bert.model.layers, paper.bert.model.width) == (12, 768)
    assert {*PRESETS} == {"tiny", *STEPS}


def test_steps_follow_from_the_examples_that_are_used():
    few = replace(PAPER, data=replace(PAPER.data, examples=320))
    assert for_task(few, "mnli", epochs=2.5).steps == 25
    assert for_task(few, "mnli", epochs=2.5).train.eval_every == 5
    assert for_task(few, "wnli", epochs=1).steps == 10
    assert for_task(PAPER, "wnli", epochs=1).steps == 635 // 32
    assert for_task(few, "cola", epochs=0.01).steps == 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Tasks of a few sentences, and a tokenizer for them."""
    root = tmp_path_factory.mktemp("glue")
    for name, lines in FILES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("\n".join([*lines, ""]))
    train_sentencepiece(["A B C", "B C A", "C A B"], 12).save(root)
    return root


def opened(folder, task):
    (tokenizer,) = folder.glob("*.model")
    data = glue.GlueConfig(source=str(folder), tokenizer=str(tokenizer))
    run = folder / f"run-{task}"
    run.mkdir(exist_ok=True)
    return glue.open_glue(replace(PRESETS[task], length=12, data=data), epath.Path(run))


@pytest.mark.parametrize(
    ("task", "train", "heldout"),
    [
        ("mnli", [1, 2, 0], {"validation_matched": [2, 0], "validation_mismatched": [1]}),
        ("wnli", [1, 0], {"validation": [0]}),
        ("rte", [0, 1], {"validation": [1]}),
    ],
)
def test_labels_get_their_numbers_by_name(folder, task, train, heldout, capsys):
    """Entailment is 1 in the files of WNLI, but 0 in RTE's order; columns of MNLI are in any order."""
    data = opened(folder, task)
    assert data.details.train.labels.tolist() == train
    found = {split: [int(row["label"]) for row in rows] for split, rows in data.heldout[0].items()}
    assert found == heldout
    assert data.details.splits.keys() == heldout.keys()
    sets = " and ".join(f"{len(labels)} {split.replace('_', ' ')}" for split, labels in heldout.items())
    assert f"{len(train)} training and {sets} examples" in capsys.readouterr().out
    assert len(data.identity) == 2 + len(heldout)


def test_each_set_is_scored_against_its_own_labels(folder):
    score = glue.glue_score(FineTuning(None, None), "stsb")
    data = opened(folder, "stsb")
    found = score.metrics(data, "validation", {"score": np.array([1.0, 4.0, 4.4], np.float32)})
    assert [*found] == ["pearson", "spearman"]
    assert found["spearman"] == pytest.approx(1)
    assert found["pearson"] == pytest.approx(np.corrcoef([1, 2, 4.5], [1, 4, 4.4])[0, 1])
    assert (
        glue.glue_score(FineTuning(None, None), "mnli").metrics(
            opened(folder, "mnli"), "validation_mismatched", {"logits": np.eye(3)[[1]]}
        )
        == {}
    ), "its only metric, the accuracy, is logged as class_accuracy"


def test_offline_examples_have_the_labels_of_the_task(monkeypatch):
    pairs = [
        LabelledText("x : int.", "x can be a text.", label)
        for label in ("entailment", "neutral", "contradiction")
    ]
    asked = [
        Question("0", "What is the type of x?", "x : int.", (Answer("int", 4),), "document", "here"),
        Question("1", "What is the default of y?", "x : int.", (), "document", "here"),
    ]
    monkeypatch.setattr(glue, "parameter_pairs", lambda: (pairs, pairs[1:]))
    monkeypatch.setattr(glue, "parameter_questions", lambda: (asked, asked[:1]))
    two_way = ["entailment", "not_entailment", "not_entailment"]
    assert [[e.label for e in part] for part in glue.offline_examples("rte")] == [two_way, two_way[1:]]
    train, heldout = glue.offline_examples("qnli")
    assert [(e.text, e.second, e.label) for e in train] == [
        ("What is the type of x?", "x : int.", "entailment"),
        ("What is the default of y?", "x : int.", "not_entailment"),
    ]
    assert [e.label for e in heldout] == ["entailment"]


def test_a_task_that_the_documentation_has_not():
    with pytest.raises(
        UserError, match=r"task cola: data\.source pydocs has qnli and rte alone\. Give --data.source"
    ):
        Config(task="cola")
