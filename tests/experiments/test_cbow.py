"""What a run of CBOW shows: blanks that it, counts and a BERT fill, its vectors as text; and what it refuses."""

import dataclasses
import json

import numpy as np
import pytest
from etils import epath

from experiments import bert, cbow, gpt2
from ssl_jax.data.cbow_rows import kept_shares, noise_distribution
from ssl_jax.data.sources import open_source
from ssl_jax.data.tokenizers import train_sentencepiece
from ssl_jax.errors import UserError
from ssl_jax.models.bert import BertConfig
from tests.cases import corpus
from tests.reports.helpers import make_report
from tests.test_generate import SIZES, run_folder

WIDTH, WINDOW = 8, 2


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Of vectors of 8 for the words of a small corpus."""
    folder = tmp_path_factory.mktemp("corpus")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_JAX_CACHE", str(folder / "cache"))
        tiny = cbow.PRESETS["tiny"]
        data = dataclasses.replace(tiny.data, source=str(corpus(folder)), heldout_share=0.2)
        train = dataclasses.replace(tiny.train, batch_size=8)
        yield dataclasses.replace(
            tiny, data=data, train=train, width=WIDTH, window=WINDOW, length=20, vocab_size=145
        )


@pytest.fixture(scope="module")
def bert_run(config, tmp_path_factory):
    """A run folder of experiments.bert with random weights."""
    source = open_source(config.data.source)
    tokenizer = train_sentencepiece(
        [line for i in range(len(source)) for line in source[i]], 100, lowercase=True
    )
    tiny = bert.PRESETS["tiny"]
    model = BertConfig(vocab_size=tokenizer.vocab_size, **SIZES)
    settings = dataclasses.replace(tiny, model=model, phases=(bert.PhaseConfig(length=48),))
    return run_folder(epath.Path(tmp_path_factory.mktemp("bert")), bert, tokenizer, settings, (1,))


def test_cbow_counts_and_a_bert_fill_the_same_blanks(config, bert_run, tmp_path):
    experiment = cbow.build(dataclasses.replace(config, bert=str(bert_run)))
    data = experiment.open_data(epath.Path(tmp_path))
    text = data.details.text
    rng = np.random.default_rng(0)
    shape = (config.vocab_size, WIDTH)
    first, second = rng.normal(size=(2, *shape)).astype(np.float32)
    params = {"input": {"embedding": first}, "output": {"embedding": second}}
    lines = []
    report = make_report(tmp_path, log=lines.append, data=data, variables={"params": params})
    experiment.report(report)

    right, left, blanks = 0, 0, 0
    follows = {}
    for index in range(len(text.training_corpus.hashes)):
        words = text.training_corpus.document(index)
        for before, word in zip(words[:-1].tolist(), words[1:].tolist(), strict=True):
            follows.setdefault(before, []).append(word)
    with np.errstate(divide="ignore"):
        prior = np.log(noise_distribution(text.counts) / kept_shares(text.counts, config.subsample))
    for sentence in text.heldout_sentences():
        words = text.tokenizer.encode(sentence)
        for i in range(1, len(words) - 1):
            around = [j for j in range(max(0, i - WINDOW), min(len(words), i + WINDOW + 1)) if j != i]
            scores = second @ first[[words[j] for j in around]].mean(0) + prior
            right += scores.argmax() == words[i]
            left += np.bincount(follows[words[i - 1]]).argmax() == words[i]
            blanks += 1
    found = json.loads((tmp_path / "words.json").read_text())["middle_words"]
    assert found["blanks"] == blanks > 500
    assert found["cbow"] == pytest.approx(right / blanks)
    assert found["left_bigram"] == pytest.approx(left / blanks)
    assert [*found] == ["most_frequent", "left_bigram", "two_sided", "cbow", "bert", "blanks"]
    assert any(line.strip().startswith("BERT, with the whole word masked") for line in lines)

    head, *rows = (tmp_path / "vectors.txt").read_text().splitlines()
    assert head == f"{text.tokenizer.vocab_size - 104} {WIDTH}"
    words, vectors = zip(*((row.split()[0], row.split()[1:]) for row in rows), strict=True)
    assert [*words] == text.tokenizer.pieces(range(104, text.tokenizer.vocab_size))
    np.testing.assert_allclose(np.array(vectors, float), first[104 : 104 + len(rows)], rtol=1e-5)


def test_what_is_named_is_opened_before_the_training(config, tmp_path):
    table = tmp_path / "pairs.tsv"
    table.write_text("word1\tword2\nab\tcd\n")
    questions = tmp_path / "analogies.txt"
    questions.write_text("ab cd ef\n")
    other = tmp_path / "gpt2"
    other.mkdir()
    settings = {
        "experiment": gpt2.__name__,
        "preset": "tiny",
        "config": dataclasses.asdict(gpt2.PRESETS["tiny"]),
    }
    (other / "config.json").write_text(json.dumps(settings))
    for change, message in (
        ({"words": ("zebra",)}, r"--words zebra: not among the \d+ words"),
        ({"similarity": (str(table),)}, r"pairs\.tsv.*'score'"),
        ({"analogies": str(questions)}, r"line 1: 'ab cd ef' has 3 word"),
        ({"bert": str(tmp_path / "none")}, r"none: not a run folder"),
        (
            {"bert": str(other)},
            r"run of experiments\.gpt2; expected one of experiments\.bert or experiments\.albert",
        ),
    ):
        with pytest.raises(UserError, match=message):
            cbow.build(dataclasses.replace(config, **change)).open_data(epath.Path(tmp_path / "run"))


def test_text_without_enough_words_is_refused(config, tmp_path):
    empty = tmp_path / "empty.txt"
    empty.write_text("\n\n")
    rare = tmp_path / "rare.txt"
    rare.write_text("\n\n".join(f"word{i}a word{i}b" for i in range(9)))
    for file, message in ((empty, r"empty"), (rare, r"no word occurs 5 times")):
        data = dataclasses.replace(config.data, source=str(file))
        with pytest.raises(UserError, match=message):
            cbow.build(dataclasses.replace(config, data=data)).open_data(epath.Path(tmp_path / "run"))


def test_the_rate_is_of_each_word_whatever_the_size_of_a_batch(config):
    for rows in (8, 16):
        train = dataclasses.replace(config.train, batch_size=rows)
        built = cbow.build(dataclasses.replace(config, train=train))
        rate = float(built.schedules["learning_rate"](0))
        assert rate == pytest.approx(config.schedule.learning_rate * rows * config.length)
