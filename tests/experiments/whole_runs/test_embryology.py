"""The study of what is learnt when: its runs, results, figures, and bad input."""

import json
from dataclasses import replace

import matplotlib.image
import pytest

from experiments import embryology
from ssl_jax.errors import UserError
from ssl_jax.recipes.embryology import Measures, MeasuresConfig
from ssl_jax.runs.opening import open_run
from ssl_jax.runs.reference import RunReference
from tests.cases import corpus, sentences
from tests.studies import run, small_bert

STEPS = [1, 2, 3, 4]


def tagged_corpus(folder):
    """All sentences of the corpus, tagged by the length of the word."""
    lines = [line for line in corpus(folder).read_text().splitlines() if line]
    file = folder / "tagged.conll"
    blocks = ["\n".join([*(f"{w}\tL{len(w)}" for w in line[:-1].split()), ".\tEND"]) for line in lines]
    file.write_text("\n\n".join([*blocks, ""]))
    (folder / "classes.tsv").write_text("tag\tclass\nL2\tshort\nL3\tshort\nL6\tlong\nEND\tend\n")
    (folder / "facts.tsv").write_text("text\tanswer\na [MASK] b\tc\na b [MASK]\tabcabcabc\n")
    return file


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """(folder, folder of files) of a finished study of two seeds with four checkpoints each."""
    folder = tmp_path_factory.mktemp("embryology")
    tagged = tagged_corpus(folder)
    measures = MeasuresConfig(
        tagged=str(tagged),
        classes=str(folder / "classes.tsv"),
        words_per_class=40,
        probes=(f"length={tagged}",),
        probe_sentences=60,
        cloze=str(folder / "facts.tsv"),
    )
    config = embryology.Config(
        repeats=2, bert=small_bert(folder, steps=4, layers=2, every=1), measures=measures
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_JAX_CACHE", str(folder / "cache"))
        run(embryology, "tiny", config, folder / "study")
    return folder / "study", folder


def values_in(folder):
    return json.loads((folder / "embryology.json").read_text())


def test_every_checkpoint_of_every_seed_is_measured(studied):
    folder, _ = studied
    values = values_in(folder)
    assert (values["runs"], values["steps"]) == (["bert-0", "bert-1"], STEPS)
    assert [*values["classes"]] == ["end", "long", "short"]
    for of_class in values["classes"].values():
        assert of_class["words"] == 40
        for kind in ("predicted", "reconstructed"):
            curves = of_class[kind]["curves"]
            assert [*curves] == values["runs"]
            assert all(len(curve) == 4 and 0 <= min(curve) <= max(curve) <= 1 for curve in curves.values())
    # A period after random words: the counts know it from the end of the sentence.
    assert (
        values["classes"]["end"]["predicted"]["n_gram"]
        > 0.9
        > values["classes"]["long"]["predicted"]["n_gram"]
    )
    assert values["classes"]["end"]["median_count"] > values["classes"]["long"]["median_count"]
    probe = values["probes"]["length"]
    assert probe["baseline"] == 1  # a word has one length
    assert len(probe["curves"]["bert-1"]) == 4
    assert {len(layers) for layers in probe["curves"]["bert-1"]} == {3} == {len(probe["untrained"]["bert-0"])}
    assert values["cloze"]["texts"] == 2 > values["cloze"]["scored"]


def test_the_table_and_a_figure_for_each_question(studied):
    folder, _ = studied
    text = (folder / "embryology.txt").read_text()
    assert "masked words that are predicted, in %, by step (medians of 2 runs):" in text
    assert "linear probe of length" in text
    assert "step at which half of the last accuracy is reached" in text
    figures = {file.stem for file in (folder / "plots").iterdir()}
    assert figures == {"predicted", "reconstructed", "predicted_by_class", "probes", "cloze"}
    for name in figures:
        assert matplotlib.image.imread(folder / "plots" / f"{name}.png")[..., :3].std() > 0.03


def test_runs_that_exist_are_measured_up_to_a_step(studied, command, tmp_path, monkeypatch):
    folder, files = studied
    monkeypatch.setenv("SSL_JAX_CACHE", str(files / "cache"))
    run = f"{folder / 'bert-1'}@3"
    measures = (
        *("--measures.tagged", files / "tagged.conll", "--measures.classes", files / "classes.tsv"),
        *("--measures.words_per_class", 40, "--measures.probes"),
    )
    code, out, error = command("embryology", "--runs", run, *measures, f"--workdir={tmp_path / 'study'}")
    assert (code, error) == (0, "")
    found, before = values_in(tmp_path / "study"), values_in(folder)
    assert (found["runs"], found["steps"], found["probes"], found["cloze"]) == ([run], STEPS[:3], {}, {})
    for name, of_class in before["classes"].items():
        assert found["classes"][name]["predicted"]["curves"] == {
            run: of_class["predicted"]["curves"]["bert-1"][:3]
        }
    assert "sentences are in the held-out text" in out


def test_checkpoints_are_fine_tuned():
    config = embryology.Config(repeats=2, downstream_steps=20)
    assert [*embryology.study(replace(config, downstream_steps=0)).runs] == ["bert-0", "bert-1"]
    runs = embryology.study(config).planned
    starts = {name: run.init_from for name, run in runs.items() if "bert" not in name}
    assert starts == {
        f"{task}-{seed}-{step}": f"bert-{seed}@{step}"
        for task in ("sentences", "words")
        for seed in (0, 1)
        for step in (100, 300, 1000, 3000)
    }
    assert {run.config.steps for name, run in runs.items() if name in starts} == {20}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--runs", "{0}/bert-0@1"], "the runs have 1 checkpoint(s) at the same steps"),
        (
            ["--runs", "{0}"],
            "a run of experiments.embryology; expected one of experiments.bert or experiments.albert",
        ),
        (["--runs", "{0}/absent"], "absent: not a run folder"),
        (["--runs", "{0}/bert-0", "{0}/bert-0"], "expected each run once"),
        (["--bert.train.keep_every", "2000"], "of 3000 steps there would be a single checkpoint"),
        (["--measures.probes", "pos"], "probes 'pos': expected NAME=FILE"),
        (["--measures.tagged", "{1}/absent"], "no such file"),
        (["--measures.cloze", "{1}/sentences.tsv"], "no column 'answer'"),
        (
            ["--runs", "{0}/bert-0", "--measures.tagged", "{1}/words.conll"],
            "none of its 1 sentences is in the text",
        ),
    ],
)
def test_what_cannot_be_measured(studied, refused, tmp_path, monkeypatch, arguments, named):
    folder, files = studied
    monkeypatch.setenv("SSL_JAX_CACHE", str(files / "cache"))
    sentences(files)
    (files / "words.conll").write_text("nowhere\tX\n")
    given = [argument.format(folder, files) for argument in arguments]
    measures = [] if "--measures.probes" in given else ["--measures.probes"]
    assert named in refused("embryology", *given, *measures, f"--workdir={tmp_path / 'study'}")


def test_runs_on_other_text_are_refused(studied, monkeypatch):
    folder, files = studied
    monkeypatch.setenv("SSL_JAX_CACHE", str(files / "cache"))
    runs = {name: open_run(RunReference(folder / name)) for name in ("bert-0", "bert-1")}
    other = runs["bert-1"].data._replace(identity={**runs["bert-1"].data.identity, "tokenizer": "another"})
    runs["bert-1"].__dict__["data"] = other
    with pytest.raises(UserError, match=r"bert-1: its text or its tokenizer differs from that of .*bert-0"):
        Measures(MeasuresConfig(), runs)
