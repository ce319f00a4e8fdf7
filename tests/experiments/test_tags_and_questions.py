"""Tagged words and questions of the user: what is refused before anything is trained, and the presets of the paper."""

import dataclasses
import json

import pytest
from etils import epath

from experiments import question_answering, token_classification
from ssl_jax.data.tokenizers import train_sentencepiece
from ssl_jax.errors import UserError
from ssl_jax.recipes.questions import QuestionsConfig, open_questions
from ssl_jax.recipes.tagged_words import TaggedWordsConfig, open_tagged_words

WORDS = "The\tO\nold\tO\ncat\tB\n\nA\tO\ndog\tB\nran\tO\n"


@pytest.fixture
def tokenizer(tmp_path):
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    return str(train_sentencepiece(["the old cat sat", "a dog ran and ran away"] * 5, 40).save(folder))


@pytest.mark.parametrize(
    ("train", "dev", "message"),
    [
        ("A\tO\ncat\tX\n", WORDS, r"1 of its 2 tags are not among tags B O\. Give --tags 'O' 'X'\."),
        (WORDS, "A\tO\ncat\tX\n", r"dev\.conll.*the label 'X' does not occur in the training data"),
        ("A\tO\ncat\tO\n", WORDS, r"the training data has only the label 'O'"),
        ("A\tO\ncat\n", WORDS, r"train\.conll"),
        ("", WORDS, r"train\.conll.*no sentence"),
    ],
    ids=["unknown", "unknown in dev", "one tag", "no tag", "empty"],
)
def test_tags_that_cannot_be_trained_on(train, dev, message, tmp_path):
    for name, text in (("train", train), ("dev", dev)):
        (tmp_path / f"{name}.conll").write_text(text)
    source, heldout = (str(tmp_path / f"{name}.conll") for name in ("train", "dev"))
    data = TaggedWordsConfig(source=source, heldout_source=heldout)
    config = dataclasses.replace(token_classification.PRESETS["tiny"], tags=("B", "O"), data=data)
    with pytest.raises(UserError, match=message):
        open_tagged_words(config, epath.Path(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_every_word_of_a_long_sentence_is_scored_once(tmp_path, tokenizer, capsys):
    (tmp_path / "train.conll").write_text(WORDS)
    (tmp_path / "dev.conll").write_text("\n".join(["cat\tB", *["old\tO"] * 40]) + "\n")
    source, heldout = (str(tmp_path / f"{name}.conll") for name in ("train", "dev"))
    data = TaggedWordsConfig(source=source, heldout_source=heldout, tokenizer=tokenizer)
    config = dataclasses.replace(token_classification.PRESETS["tiny"], tags=("B", "O"), data=data, length=16)
    (tmp_path / "run").mkdir()
    opened = open_tagged_words(config, epath.Path(tmp_path / "run"))
    rows = [row["label"] for row in opened.heldout[0]["heldout"]]
    assert len(rows) > 2
    assert sum(int((row >= 0).sum()) for row in rows) == 41
    assert (
        "2 training sentences (6 words) and 1 held-out sentences (41 words), 2 labels: B 2, O 4"
        in capsys.readouterr().out
    )


def squad(file, answers, version="v2.0"):
    entry = {"id": "1", "question": "Who ran?", "answers": answers, "is_impossible": not answers}
    paragraph = {"context": "The old cat sat. A dog ran away.", "qas": [entry]}
    file.write_text(json.dumps({"version": version, "data": [{"title": "t", "paragraphs": [paragraph]}]}))
    return str(file)


def test_questions_that_cannot_be_trained_on(tmp_path):
    good = squad(tmp_path / "good.json", [{"text": "A dog", "answer_start": 17}])
    wrong = squad(tmp_path / "wrong.json", [{"text": "A dog", "answer_start": 3}])
    nothing = squad(tmp_path / "nothing.json", [])
    preset = question_answering.PRESETS["tiny"]
    for source, heldout, unanswerable, message in (
        (wrong, good, True, r"wrong\.json"),
        (good, nothing, False, r"nothing\.json.*has no answer\. Give --data\.unanswerable True"),
        (good, "absent.json", True, r"absent\.json"),
    ):
        data = QuestionsConfig(source=source, heldout_source=heldout, unanswerable=unanswerable)
        with pytest.raises(UserError, match=message):
            open_questions(dataclasses.replace(preset, data=data), epath.Path(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_the_presets_of_the_paper():
    """arXiv:1810.04805, sections 4.2 and 4.3, appendix A.3; run_squad of google-research/bert."""
    for name in ("squad", "squad2"):
        paper = question_answering.PRESETS[name]
        data = paper.data
        assert (paper.length, data.step, data.longest_question, data.longest_answer) == (384, 128, 64, 30)
        assert (paper.train.batch_size, paper.schedule.learning_rate) == (
            48 if name == "squad2" else 32,
            5e-5,
        )
        assert paper.schedule.warmup_steps == paper.steps // 10
        assert data.unanswerable == (name == "squad2")
    paper = token_classification.PRESETS["conll2003"]
    assert paper.steps == -(-3 * 14_041 // 32)
    assert len(paper.tags) == 9
