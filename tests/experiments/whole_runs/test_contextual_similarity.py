"""The study of the senses of words: its table, files and plots, and bad input."""

import json
from dataclasses import replace

import matplotlib.image
import pytest

from experiments import contextual_similarity
from tests.cases import corpus
from tests.studies import run, small_bert


def senses_file(folder):
    """A .tsv file of ten sentences of the corpus with its most frequent word; the sense is by the length."""
    lines = [line.lower() for line in corpus(folder).read_text().splitlines() if line]
    words = [word for line in lines for word in line.rstrip(".").split()]
    word = max(sorted({*words}), key=words.count)
    rows = [line for line in lines if word in line.rstrip(".").split()]
    rows = sorted(rows, key=lambda line: len(line.split()))
    rows = [*(f"short\t{line}" for line in rows[:5]), *(f"long\t{line}" for line in rows[-5:])]
    file = folder / "senses.tsv"
    file.write_text("\n".join(["sense\ttext", *rows, ""]))
    return word, str(file)


@pytest.fixture(scope="module")
def similarity(tmp_path_factory):
    """(configuration, folder) of a finished study of the senses of a word."""
    folder = tmp_path_factory.mktemp("similarity")
    word, file = senses_file(folder)
    text = {"source": str(corpus(folder)), "heldout_share": 0.2, "heldout_rows": 12}
    every = dict.fromkeys(("log_every", "eval_every", "save_every", "keep_every"), 1)
    config = contextual_similarity.PRESETS["tiny"]
    vectors = replace(
        config.vectors,
        steps=2,
        vocab_size=120,
        width=8,
        length=16,
        data=replace(config.vectors.data, **text, min_count=1),
        train=replace(config.vectors.train, batch_size=8, **every),
    )
    config = replace(
        config,
        bert=small_bert(folder, layers=2, every=1),
        vectors=vectors,
        sentences=(file,),
        word=word,
        text=str(corpus(folder)),
        text_sentences=20,
        untrained=2,
        permutations=49,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_JAX_CACHE", str(folder / "cache"))
        run(contextual_similarity, "tiny", config, folder / "study")
    return config, folder / "study"


def test_embeddings_of_all_layers_are_compared(similarity):
    config, folder = similarity
    found = json.loads((folder / "similarity.json").read_text())
    layers = ["layer 0 (input)", "layer 1", "layer 2"]
    for kind in ("raw", "centred"):
        trained, untrained = found[kind]["embeddings"], found[kind]["untrained"]
        assert [*trained] == ["static embedding", "static, mean of context", "CBOW, mean of context", *layers]
        assert [*untrained] == layers
        assert trained["static embedding"]["auc"] == {config.word: 0.5}
        for of in trained.values():
            assert 0 < of["p"][config.word] == of["mean_p"] <= 1
            assert of["mean_auc"] == of["auc"][config.word]
        assert {len(of["mean_auc"]) for of in untrained.values()} == {2}
    areas = [of["mean_auc"] for of in found["raw"]["embeddings"].values()]
    assert len({*areas}) > 3
    assert len(found["sentences"][config.word]) == 10
    for sense, of in found["neighbours"][config.word].items():
        texts = [each["text"] for each in found["sentences"][config.word] if each["sense"] == sense]
        assert of["text"] == texts[0]
        cosines = [near["cosine"] for near in of["nearest"]]
        assert len(cosines) == 3
        assert cosines == sorted(cosines, reverse=True)
        assert not {near["text"] for near in of["nearest"]} & {*texts}
    plots = [file.name for file in sorted((folder / "plots").iterdir())]
    assert plots == ["auc.png", f"{config.word}_cosines.png", f"{config.word}_map.png"]
    assert matplotlib.image.imread(folder / "plots" / plots[1])[..., :3].std() > 0.03


def test_named_runs_have_the_embeddings_of_those_that_are_trained(similarity, tmp_path, monkeypatch):
    config, folder = similarity
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path / "cache"))
    named = replace(config, model=f"{folder / 'bert'}@2", cbow=str(folder / "cbow"))
    run(contextual_similarity, "tiny", named, tmp_path / "study")
    assert not (tmp_path / "study" / "bert").exists()
    assert (tmp_path / "study" / "similarity.json").read_bytes() == (folder / "similarity.json").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (
            ["--model", "{}/absent"],
            "--model {}/absent: no such folder; expected a run, or a folder of BERT weights",
        ),
        (["--model", "{}/cbow"], "--model {}/cbow: a run of experiments.cbow, which has no BERT encoder"),
        (["--model", "{}/bert@7"], "has no checkpoint of step 7; there are 1, 2."),
        (["--cbow", "{}/bert"], "is a run of experiments.bert; expected one of experiments.cbow"),
        (["--word", "cat"], "word cat: give sentences with it, --sentences FILE"),
        (["--word", "cat", "--sentences", "{}/../senses.tsv"], "the word 'cat' is not in the sentence"),
    ],
)
def test_senses_that_cannot_be_compared(similarity, refused, tmp_path, arguments, named):
    _, folder = similarity
    given = [argument.format(folder) for argument in arguments]
    assert named.format(folder) in refused("contextual_similarity", *given, f"--workdir={tmp_path / 'study'}")
    assert not (tmp_path / "study").exists()
