"""Articles and sentences that are never paired: the parts of a source, docstrings, rows, and bad input."""

import itertools

import numpy as np
import pytest
from etils import epath

from ssl_jax.data import pydocs, summaries
from ssl_jax.data.docstring_summaries import DocstringSummaries
from ssl_jax.data.summaries import PartOf, open_test, open_unpaired, part_of
from ssl_jax.data.summary_rows import SummaryTextConfig, batch_shapes, open_summary_text
from ssl_jax.errors import UserError


class Toy:
    """Pairs of an article and a summary; every fifth has no article."""

    name, fingerprint = "toy", "toy"

    def __len__(self):
        return 300

    def __getitem__(self, index):
        summary = f"Summary number {index % 250}."
        return ([] if index % 5 == 0 else [f"Article {index}.", "It goes on."]), summary


def test_the_parts_share_no_summary():
    toy = Toy()
    articles = {i for i in range(len(toy)) if PartOf(toy, "articles", 1 / 3)[i]}
    sentences = {i for i in range(len(toy)) if PartOf(toy, "sentences", 1 / 3)[i]}
    test = {i for i in range(len(toy)) if toy[i][0] and part_of(toy[i][1], 1 / 3) == "test"}
    assert min(len(articles), len(sentences), len(test)) > 50
    with_article = sentences - set(range(0, 300, 5))
    texts = [{toy[i][1] for i in part} for part in (articles, with_article, test)]
    assert all(not first & second for first, second in itertools.combinations(texts, 2))
    assert articles | sentences | test == set(range(300))
    assert PartOf(toy, "articles", 1 / 3)[min(articles)] == toy[min(articles)][0]
    assert PartOf(toy, "sentences", 1 / 3)[min(sentences)] == [toy[min(sentences)][1]]


def test_equal_summaries_are_in_one_part_however_they_are_written():
    assert part_of("Return the SUM.", 0.4) == part_of("return the sum", 0.4)


def test_summaries_of_docstrings(tmp_path, monkeypatch):
    """A first paragraph of one sentence is a summary; what an earlier docstring has is left out."""
    folder = tmp_path / "site" / "madeup"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(
        '"""What the module holds in all. It has two sentences here."""\n'
        'def one():\n    """Return the first of all.\n\n    This text is everywhere here. It goes on a bit."""\n'
        'def two():\n    """Return the second of all.\n\n    This text is everywhere here. It goes on a bit."""\n'
        'def again():\n    """Return the first of all.\n\n    This one is a new text."""\n'
    )
    monkeypatch.syspath_prepend(str(folder.parent))
    monkeypatch.setattr(pydocs, "PACKAGES", ("madeup",))
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path / "cache"))
    found = DocstringSummaries()
    assert [tuple(found[i]) for i in range(len(found))] == [
        (["This text is everywhere here.", "It goes on a bit."], "Return the first of all."),
        ([], "Return the second of all."),
    ]
    monkeypatch.setattr(pydocs, "PACKAGES", ("absent_package",))
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path / "another"))
    with pytest.raises(UserError, match="no Python source files"):
        DocstringSummaries()


@pytest.mark.parametrize(
    ("spec", "record"),
    [
        ("tfds:gigaword", {"document": b"One day . It rained .", "summary": "Rain  falls"}),
        ("tfds:xsum:validation", {"document": "One day. It rained.", "summary": b"Rain falls"}),
        ("tfds:cnn_dailymail/3.4.0", {"article": "One day.\n\nIt rained.", "highlights": "Rain\nfalls"}),
    ],
)
def test_data_sets_with_summaries(spec, record, monkeypatch):
    class Prepared:
        def __init__(self, name):
            assert f"tfds:{name}" == spec
            self.name, self.split = spec, "validation" if "validation" in name else ""

        def records(self, split):
            assert split == ("validation" if "validation" in spec else "train")
            return [record]

        def require(self, field):
            assert field in record

        def fingerprint(self, split, records):
            return f"{split} {len(records)}"

    monkeypatch.setattr(summaries, "TfdsSource", Prepared)
    opened = summaries.open_summarised(spec)
    article, summary = opened[0]
    assert summary == "Rain falls"
    assert "".join(article).replace(" ", "") == "Oneday.Itrained."
    assert len(opened) == 1
    assert summaries.open_summarised("tfds:wikipedia/20230601.en") is None
    assert summaries.open_summarised("gigaword") is None


def words(seed, count):
    chance = np.random.default_rng(seed)
    return " ".join("".join(chance.choice(list("abcdef"), 3)) for _ in range(count))


ARTICLES = "\n\n".join(f"{words(i, 8)}.\n{words(100 + i, 8)}." for i in range(40)) + "\n"
SENTENCES = "\n".join(words(200 + i, 2) for i in range(40)) + "\n"


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Opens articles and sentences that are written to two files; `(articles, sentences, **options) -> text`."""
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path / "cache"))

    def open_files(articles=ARTICLES, sentences=SENTENCES, *, batch_size=4, **options):
        files = {"articles": tmp_path / "articles.txt", "sentences": tmp_path / "sentences.txt"}
        for file, text in zip(files.values(), (articles, sentences), strict=True):
            file.write_text(text)
        config = SummaryTextConfig(**{name: str(file) for name, file in files.items()} | options)
        folder = epath.Path(tmp_path / "run")
        folder.mkdir(exist_ok=True)
        return open_summary_text(
            config, folder, vocab_size=80, length=24, code_length=9, batch_size=batch_size, seed=0
        )

    return open_files


def test_rows_of_both_sides_have_one_tokenisation_one_length_and_an_end(opened):
    text = opened()
    special = text.tokenizer.special
    known = {tuple(ids) for ids in text.tokenizer.encode_batch(SENTENCES.splitlines())}
    shapes = batch_shapes(1, 24, 9)
    for number in range(20):
        row = text.train[number]
        assert {name: (x[None].shape, x.dtype) for name, x in row.items()} == {
            name: (one.shape, one.dtype) for name, one in shapes.items()
        }
        tokens, sentence = row["tokens"][row["present"]], row["sentence"][row["sentence_present"]]
        assert tokens[0] == special.cls
        assert tokens[-1] == sentence[-1] == special.sep
        assert tuple(sentence[:-1].tolist()) in known
        assert not row["sentence"][~row["sentence_present"]].any()
    assert text.validation == text.test == []
    assert len(text.heldout) >= 2


def test_sentences_are_drawn_anew_for_every_row(opened):
    text = opened()
    rows = len(ARTICLES.split("\n\n"))
    drawn = {tuple(text.train[number]["sentence"].tolist()) for number in range(rows)}
    assert len(drawn) > 5


def test_pairs_of_a_table_are_for_evaluation_alone(opened, tmp_path):
    pairs = tmp_path / "pairs.tsv"
    lines = [f"{words(300 + i, 12)}.\t{words(400 + i, 3)}" for i in range(8)]
    pairs.write_text("\n".join(["article\tsummary", *lines]) + "\n")
    text = opened(test=str(pairs))
    assert len(text.validation) == len(text.test) == 4
    both = {(pair.article, pair.summary) for pair in [*text.validation, *text.test]}
    assert both == {tuple(line.split("\t")) for line in lines}
    row = text.test_rows[0]
    assert text.tokenizer.decode(row["tokens"][1:8].tolist()) in text.test[0].article
    with pytest.raises(UserError, match=r"data\.test .*articles\.txt: expected a \.tsv file"):
        open_test(str(tmp_path / "articles.txt"), "pydocs", 4)


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        (("\n \n", SENTENCES), {}, "articles.txt.*empty"),
        ((ARTICLES, "\n"), {}, "sentences.txt.*empty"),
        (
            (SENTENCES.replace("\n", "\n\n"), ARTICLES),
            {},
            "must be shorter than articles. Have the two been swapped",
        ),
        ((ARTICLES, SENTENCES), {"batch_size": 64}, "data.articles .*articles.txt: .* fewer than one batch"),
        ((ARTICLES, SENTENCES[:40]), {"batch_size": 16}, "data.sentences .*: .* fewer than one batch"),
    ],
    ids=["no articles", "no sentences", "swapped", "few articles", "few sentences"],
)
def test_bad_input_is_named(texts, options, message, opened):
    with pytest.raises(UserError, match=f"(?s){message}"):
        opened(*texts, **options)


def test_one_file_for_both_is_refused(tmp_path):
    file = tmp_path / "text.txt"
    file.write_text(ARTICLES)
    with pytest.raises(
        UserError, match=r"data\.articles .*text\.txt and data\.sentences .* are the same text"
    ):
        open_unpaired(str(file), str(file), "lines")
