"""The studies of multilingual BERT: alignment, the language vector, zero-shot transfer; and bad input."""

import json
from dataclasses import replace

import matplotlib.image
import numpy as np
import pytest

from experiments import (
    crosslingual_alignment,
    language_vector,
    multilingual_bert,
    sequence_classification,
    zero_shot,
)
from ssl_jax.errors import UserError
from ssl_jax.recipes.alignment import Embedder
from ssl_jax.runs.opening import open_run
from ssl_jax.runs.reference import RunReference
from tests.cases import corpus
from tests.cases import sentences as labelled
from tests.studies import run


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The configuration of a small model of two languages, with two checkpoints."""
    folder = tmp_path_factory.mktemp("text")
    config = multilingual_bert.OFFLINE
    sizes = {"vocab_size": 240, "positions": 24, "layers": 1, "width": 16, "heads": 2, "mlp_width": 32}
    every = dict.fromkeys(("log_every", "eval_every", "save_every", "keep_every"), 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_JAX_CACHE", str(folder / "cache"))
        yield replace(
            config,
            steps=2,
            length=24,
            data=replace(
                config.data,
                sources=(f"en={corpus(folder)}", "fake=shifted:en"),
                heldout_share=0.2,
                heldout_rows=12,
            ),
            model=replace(config.model, **sizes),
            schedule=replace(config.schedule, warmup_steps=1),
            train=replace(config.train, batch_size=8, **every),
        )


@pytest.fixture(scope="module")
def aligned(model, tmp_path_factory):
    """The folder of a finished study of two models."""
    folder = tmp_path_factory.mktemp("alignment") / "study"
    config = crosslingual_alignment.Config(
        model=model, compare=("base", "own_positions", "short"), most=40, cbow_steps=2
    )
    run(crosslingual_alignment, "tiny", config, folder)
    return folder


def test_translations_are_looked_for_at_every_checkpoint(aligned):
    found = json.loads((aligned / "alignment.json").read_text())
    assert [*found] == ["base-0", "own_positions-0", "short-0"]
    assert (
        len({test["pairs"] for of in found.values() for name, test in of.items() if "sentences" in name}) == 1
    )
    for of in found.values():
        assert [name.split(",")[0] for name in of] == ["sentences", "words"]
        for test in of.values():
            assert [*test["steps"]] == ["1", "2"]
            for scores in (*test["steps"].values(), test["untrained"]):
                assert {len(scores["raw"]), len(scores["centred"])} == {3}  # tokens, input, one layer
                for each in (*scores["raw"], *scores["centred"]):
                    assert 0 <= each["p1"] <= each["p5"] <= each["p10"] <= 1
                    assert each["p1"] <= each["mrr"] <= 1
            assert test["overlap"]["p1"] == 0  # the languages share no piece
            assert {0 <= layer < 3 for layer in test["layers"].values()} == {True}
    assert all("mapped" in test for test in found["base-0"].values())
    for row in ("before training, centred", "CBOW, orthogonal map"):
        assert row in (aligned / "alignment.txt").read_text()
    for name in ("layers", "steps"):
        assert matplotlib.image.imread(aligned / "plots" / f"{name}.png")[..., :3].std() > 0.03


def test_parallel_text_of_ones_own(model, aligned, tmp_path, capsys):
    words = {word for line in corpus(tmp_path).read_text().splitlines() for word in line.rstrip(".").split()}
    file = tmp_path / "words.tsv"
    rows = (f"{word.lower()}\t{word.lower()[::-1]}" for word in sorted(words))
    file.write_text("\n".join(["en\tfake", *dict.fromkeys(rows), ""]))
    config = crosslingual_alignment.Config(
        run=str(aligned / "base-0@1"), words=(f"en,fake={file}",), most=30, cbow_steps=0
    )
    run(crosslingual_alignment, "tiny", config, tmp_path / "study")
    (of,) = json.loads((tmp_path / "study" / "alignment.json").read_text()).values()
    own = of[f"words, en and fake, {file}"]
    assert 20 <= own["pairs"] <= 30
    assert str(file) in capsys.readouterr().out


def test_blanks_are_filled_under_every_vector(model, aligned, tmp_path):
    config = language_vector.Config(run=str(aligned / "base-0"), alphas=(0.0, 5.0), sentences=20, model=model)
    run(language_vector, "tiny", config, tmp_path / "study")
    found = json.loads((tmp_path / "study" / "vectors.json").read_text())
    assert [*found] == ["input", "layer 1"]
    nothing = [of["0"] for of in found.values()]
    assert nothing[0] == nothing[1]
    assert nothing[0]["first"] + nothing[0]["second"] <= 1
    assert found["input"]["5"] != nothing[0]
    assert "alpha 5" in (tmp_path / "study" / "examples.txt").read_text()
    assert {file.name for file in (tmp_path / "study" / "plots").iterdir()} == {
        "second.png",
        "translated.png",
    }


def test_fine_tuned_in_one_language_and_tested_in_both(model, tmp_path):
    each = sequence_classification.OFFLINE
    every = dict.fromkeys(("log_every", "eval_every", "save_every", "keep_every"), 2)
    sentences = replace(
        each,
        steps=2,
        length=24,
        labels=("long", "short"),
        data=replace(each.data, source=str(labelled(tmp_path))),
        schedule=replace(each.schedule, warmup_steps=0),
        train=replace(each.train, batch_size=8, **every),
    )
    config = zero_shot.Config(repeats=1, model=model, sentences=sentences)
    run(zero_shot, "tiny", config, tmp_path / "study")
    found = json.loads((tmp_path / "study" / "zero_shot.json").read_text())
    assert [*found] == [
        row.format(language)
        for language in ("en", "fake")
        for row in ("multilingual, in {}", "multilingual, in {}, means moved", "random, in {}")
    ]
    for name, row in found.items():
        assert [*row] == ["en", "fake"]
        start, language, *_ = name.replace(" in ", " ").split(", ")
        log = (tmp_path / "study" / f"{language}-{start}-0" / "metrics.jsonl").read_text().splitlines()
        last = [json.loads(line) for line in log][-1]
        assert row[language]["class_accuracy"] == [pytest.approx(last["class_accuracy"])]
    settings = [tmp_path / "study" / f"{language}-random-0" / "config.json" for language in ("en", "fake")]
    shifts = [json.loads(file.read_text())["config"]["shift"] for file in settings]
    assert shifts[0] == 0 < shifts[1] <= 120

    opened = open_run(RunReference.parse(str(tmp_path / "study" / "multilingual")))
    params, change = opened.restore()["params"], zero_shot.moved_mean({"multilingual": opened}, "fake", "en")
    embedder, text = Embedder(opened, opened.data.details), opened.data.details
    means = [
        embedder.centre(of["encoder"], text[name]) for of, name in ((params, "en"), (change(params), "fake"))
    ]
    np.testing.assert_allclose(means[0][1], means[1][1], atol=1e-5)
    assert not np.allclose(embedder.centre(params["encoder"], text["fake"])[1], means[0][1], atol=1e-3)
    assert zero_shot.moved_mean({"multilingual": opened}, "de", "en") is None
    assert zero_shot.moved_mean({}, "fake", "en") is None


@pytest.mark.parametrize(
    ("experiment", "arguments", "named"),
    [
        (
            "crosslingual_alignment",
            ["--compare", "bigger"],
            "compare 'bigger': expected one of base, own_positions",
        ),
        (
            "crosslingual_alignment",
            ["--words", "en,de=x.tsv"],
            "de is not a language of the model; expected two of en, fake",
        ),
        ("crosslingual_alignment", ["--run", "{}/base-0@9"], "has no checkpoint of step 9; there are 1, 2"),
        ("language_vector", ["--second", "de"], "de is not a language of the model"),
        ("language_vector", ["--second", "en"], "first and second are both en"),
        ("language_vector", ["--run", "{}/own_positions-0"], "its languages have positions of their own"),
        ("zero_shot", ["--train", "en=a.tsv"], "train and test: give both"),
        ("zero_shot", ["--train", "a.tsv", "--test", "de=a.tsv"], "expected LANGUAGE=SOURCE"),
        (
            "zero_shot",
            ["--sentences.length", "30"],
            "sentences.length 30: the model that is trained first has 24",
        ),
        ("zero_shot", ["--init_from", "{}/base-0"], "with init_from, give labelled text of its languages"),
    ],
)
def test_bad_input(experiment, arguments, named, aligned, refused, tmp_path):
    given = [argument.format(aligned) for argument in arguments]
    assert named in refused(experiment, *given, f"--workdir={tmp_path / 'study'}")


def test_a_language_has_positions_of_its_own_only_in_a_table():
    model = replace(multilingual_bert.OFFLINE.model, positions=48, position_encoding="rotary")
    with pytest.raises(UserError, match=r"needs absolute positions, not .* rotary"):
        replace(multilingual_bert.OFFLINE, own_positions=True, model=model)
