"""The studies of experiments/: their tables, files and plots, and bad input."""

import json
from dataclasses import replace
from functools import partial

import jax
import matplotlib.image
import numpy as np
import pytest

from experiments import (
    bart_noises,
    bert,
    compression,
    glue,
    glue_benchmark,
    pretrained_vs_scratch,
    sequence_classification,
    vqvae,
)
from experiments.vqvae_prior import Config as PriorRunConfig
from ssl_jax.data.glue import read_glue
from ssl_jax.errors import UserError
from ssl_jax.methods.code_prior import PriorConfig
from ssl_jax.models.conv_autoencoder import ConvConfig
from ssl_jax.models.quantization.codebook import CodebookConfig
from ssl_jax.predict import predictions
from ssl_jax.recipes.image_files import ALONE
from ssl_jax.training.schedules import ScheduleConfig
from ssl_jax.transforms.noise import noise_batch
from tests import processes
from tests.cases import corpus, glue_tasks, sentences
from tests.studies import run


def tiny_prior():
    """Two steps of a VQ-VAE of a few channels on digits, and two of a prior over its codes."""
    rate = ScheduleConfig(learning_rate=1e-3, warmup_steps=0, decay="constant")
    every = dict.fromkeys(("log_every", "eval_every", "save_every", "keep_every"), 2)
    train = replace(PriorRunConfig().train, batch_size=64, **every)
    first = vqvae.Config(
        steps=2,
        codebook=CodebookConfig(codes=8, width=4, kmeans=1),
        network=ConvConfig(width=8, strides=(2,), residual_blocks=1, residual_width=4),
        probe_examples=40,
        schedule=rate,
        train=train,
    )
    prior = PriorConfig(layers=1, width=16, heads=2)
    return PriorRunConfig(steps=2, prior=prior, vqvae=first, schedule=rate, train=train)


@pytest.fixture(scope="module")
def compressed(tmp_path_factory):
    """The folder of a finished study of two codebooks."""
    folder = tmp_path_factory.mktemp("compression") / "study"
    run(compression, "digits", compression.Config(tiny_prior(), codes=(4, 8), images=20), folder)
    return folder


def rates_in(folder):
    return json.loads((folder / "rates.json").read_text())


def test_images_as_files_of_codes(compressed):
    rates = rates_in(compressed)
    assert list(rates) == ["codes, one file", "codes, a file each", "JPEG", "WebP"]
    assert len(rates["JPEG"]) == len(rates["WebP"])
    for number, (together, alone) in enumerate(
        zip(rates["codes, one file"], rates["codes, a file each"], strict=True), 1
    ):
        files = compressed / f"files-{number}"
        assert together["bits"] == 8 * (files / "codes.sjc").stat().st_size / (20 * 64)
        sizes = [(files / f"image-{i}.sjc").stat().st_size for i in range(ALONE)]
        assert alone["bits"] == 8 * sum(sizes) / (ALONE * 64)
        assert len(list(files.iterdir())) == ALONE + 1
    lines = (compressed / "rates.txt").read_text().splitlines()
    assert len(lines) == 1 + sum(map(len, rates.values()))
    for name in ("psnr", "ssim", "reconstructions"):
        assert matplotlib.image.imread(compressed / "plots" / f"{name}.png")[..., :3].std() > 0.03
    for codes in (4, 8):
        settings = json.loads((compressed / f"run-{codes}" / "config.json").read_text())
        assert settings["experiment"] == "experiments.vqvae_prior"
        assert settings["config"]["vqvae"]["codebook"]["codes"] == codes


def test_runs_that_exist_are_compressed_as_they_are(compressed, command, tmp_path):
    named = ("--runs", compressed / "run-8", "--images=20", f"--workdir={tmp_path}")
    code, out, error = command("compression", *named)
    assert (code, error) == (0, "")
    assert "20 images of 16 of 8 codes" in out
    assert rates_in(tmp_path) == {
        name: points if name in ("JPEG", "WebP") else points[1:]
        for name, points in rates_in(compressed).items()
    }
    assert (tmp_path / "files-1" / "codes.sjc").read_bytes() == (
        compressed / "files-2" / "codes.sjc"
    ).read_bytes()
    assert not list(tmp_path.glob("run-*"))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--codes"], "no run: give --codes to train with, or name existing runs with --runs"),
        (["minst"], "unknown preset 'minst'. Did you mean mnist?"),
        (["--runs", "{}/run-8/vqvae"], "a run of experiments.vqvae; expected one of experiments.vqvae_prior"),
        (["--runs", "{}/run-8@7"], "has no checkpoint of step 7; there are 2."),
        (["--runs", "{}"], "is a run of experiments.compression; expected one of experiments.vqvae_prior"),
        (["--runs", "{}/absent"], "not a run folder"),
    ],
)
def test_what_cannot_be_compressed(compressed, refused, tmp_path, arguments, named):
    given = [argument.format(compressed) for argument in arguments]
    assert named in refused("compression", *given, f"--workdir={tmp_path / 'study'}")
    assert not (tmp_path / "study").exists()


def test_all_hidden_leaves_one_mask():
    tokens = np.arange(10, 30, dtype=np.int32)[None]
    words = np.where((tokens > 10) & (tokens < 28), tokens // 2, -1)
    special = {"mask_id": 4, "pad_id": 0, "start_id": 3}
    config = bart_noises.TESTED["all hidden"]
    noise = jax.jit(partial(noise_batch, config=config, **special))
    corrupted = jax.tree.map(np.asarray, noise(jax.random.key(0), tokens, tokens < 29, words, words * 0))
    assert corrupted.source[corrupted.source_present].tolist() == [10, 4, 28]


def test_noises_are_compared(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path / "cache"))
    two = {name: bart_noises.NOISES[name] for name in ("masking", "rotation")}
    monkeypatch.setattr(bart_noises, "NOISES", two)
    monkeypatch.setattr(bart_noises, "TESTED", two)
    each = bart_noises.Config().each
    sizes = {"vocab_size": 120, "layers": 1, "decoder_layers": 1, "width": 16, "heads": 2, "mlp_width": 32}
    each = replace(
        each,
        steps=2,
        data=replace(each.data, source=str(corpus(tmp_path)), heldout_share=0.2, heldout_rows=12),
        model=replace(each.model, **sizes),
        schedule=replace(each.schedule, warmup_steps=1),
        train=replace(each.train, batch_size=8),
    )
    folder = tmp_path / "noises"
    run(bart_noises, "tiny", bart_noises.Config(each), folder)

    out = capsys.readouterr().out
    matrix = json.loads((folder / "noises.json").read_text())
    assert list(matrix) == ["masking", "rotation"]
    for name, row in matrix.items():
        logged = processes.log(folder / name)
        for metric, value in row[name].items():
            assert value == pytest.approx(logged[-1][metric], rel=1e-4), (name, metric)
    assert matrix["masking"]["rotation"] != matrix["rotation"]["rotation"]
    assert (folder / "noises.txt").read_text().strip() in out
    assert {file.name for file in (folder / "plots").iterdir()} == {"noises.png", "loss.png", "accuracy.png"}


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    """(configuration, folder) of a finished study of MNLI with two seeds."""
    folder = tmp_path_factory.mktemp("benchmark")
    each = glue.PRESETS["tiny"]
    first = each.bert
    sizes = {"vocab_size": 120, "positions": 48, "layers": 1, "width": 16, "heads": 2, "mlp_width": 32}
    first = replace(
        first,
        steps=2,
        data=replace(first.data, source=str(corpus(folder)), heldout_share=0.2, heldout_rows=12),
        model=replace(first.model, **sizes),
        phases=(replace(first.phases[0], length=48),),
        schedule=replace(first.schedule, warmup_steps=1),
        train=replace(first.train, batch_size=8),
    )
    each = replace(
        each,
        length=24,
        data=replace(each.data, source=str(glue_tasks(folder)), examples=80),
        bert=first,
        train=replace(each.train, batch_size=16),
    )
    config = glue_benchmark.Config(each, tasks=("mnli",), repeats=2, epochs=0.4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_JAX_CACHE", str(folder / "cache"))
        run(glue_benchmark, "tiny", config, folder / "study")
    return config, folder / "study"


def test_seeds_of_a_task_start_from_one_encoder(benchmark):
    config, folder = benchmark
    names = ["mnli-0", "mnli-1"]
    for seed, name in enumerate(names):
        settings = json.loads((folder / name / "config.json").read_text())
        assert settings["init_from"] == str(folder / "bert")
        assert (settings["config"]["train"]["seed"], settings["config"]["steps"]) == (seed, 2)
        assert not (folder / name / "bert").exists()
    other = replace(config, init_from="elsewhere")
    assert [*glue_benchmark.study(other).planned] == names
    assert {run.init_from for run in glue_benchmark.study(other).planned.values()} == {"elsewhere"}


def test_both_sets_of_mnli_are_scored_as_they_were_logged(benchmark):
    _, folder = benchmark
    found = json.loads((folder / "glue.json").read_text())
    result = found["tasks"]["mnli"]
    for number, name in enumerate(("mnli-0", "mnli-1")):
        last = {line["split"]: line for line in processes.log(folder / name) if "split" in line}
        assert [*last] == ["validation_matched", "validation_mismatched"]
        for split in ("matched", "mismatched"):
            logged = 100 * last[f"validation_{split}"]["class_accuracy"]
            assert result["metrics"][f"{split} accuracy"][number] == pytest.approx(logged)
        both = [values[number] for values in result["metrics"].values()]
        assert result["scores"][number] == pytest.approx(np.mean(both))
    assert found["mean of 1 of 9 tasks"] == result["median"] == pytest.approx(np.median(result["scores"]))
    text = (folder / "glue.txt").read_text()
    assert "2 seeds for each task" in text
    assert "no predictions of a test set: data source" in text
    assert "test_mismatched.tsv': no such file" in text
    assert matplotlib.image.imread(folder / "plots" / "relative_to_human.png")[..., :3].std() > 0.03
    assert (folder / "plots" / "loss.png").exists()


def test_the_best_seed_predicts_the_test_sets(benchmark):
    _, folder = benchmark
    files = {file.name: file.read_text().splitlines() for file in (folder / "submission").iterdir()}
    assert files.keys() == {"MNLI-m.tsv", "AX.tsv"}
    for lines in files.values():
        assert lines[0] == "index\tprediction"
        numbers, labels = zip(*(line.split("\t") for line in lines[1:]), strict=True)
        assert [*numbers] == [str(i) for i in range(10)]
        assert {*labels} <= {"entailment", "neutral", "contradiction"}
    scores = json.loads((folder / "glue.json").read_text())["tasks"]["mnli"]["scores"]
    best = folder / f"mnli-{int(np.argmax(scores))}"
    source = json.loads((best / "config.json").read_text())["config"]["data"]["source"]
    texts = [f"{example.text}\t{example.second}" for example in read_glue(source, "ax", "test")]
    labels = [one["label"] for one in predictions(str(best), texts)]
    assert files["AX.tsv"][1:] == [f"{i}\t{label}" for i, label in enumerate(labels)]


def test_tasks_are_named_once():
    with pytest.raises(UserError, match="tasks rte rte: expected at least one, each of them once"):
        glue_benchmark.Config(glue.PRESETS["tiny"], tasks=("rte", "rte"))


def test_a_run_of_each_task_from_each_source():
    config = pretrained_vs_scratch.Config(second="weights", repeats=2)
    first, *others = pretrained_vs_scratch.study(config).runs.items()
    assert (first[0], first[1].module) == ("bert", "experiments.bert")
    assert [name for name, _ in others] == [
        f"{task}-{source}-{seed}"
        for task in ("sentences", "pairs", "words", "questions")
        for source in ("pretrained", "second")
        for seed in (0, 1)
    ]
    for name, planned in others:
        assert planned.init_from == ("bert" if "pretrained" in name else "weights")
        assert planned.config.train.seed == int(name[-1])
        assert not planned.config.from_scratch

    runs = pretrained_vs_scratch.study(replace(config, first="runs/a@7", second="random")).runs
    assert "bert" not in runs
    assert {run.init_from for run in runs.values()} == {
        "runs/a@7"
    }  # of which a random start has the tokenizer
    assert [name for name, run in runs.items() if run.config.from_scratch] == [
        n for n in runs if "random" in n
    ]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--second", "pretrained"], "first and second are both pretrained; give two sources to compare"),
        (["--words.from_scratch", "True"], "words: where the encoder is from is not set here. Give --first"),
        (["--pairs.bert.steps", "7"], "pairs: where the encoder is from is not set here"),
        (["--second", "{}/absent"], "absent: no such folder; expected a run, or a folder of BERT weights"),
    ],
)
def test_sources_that_cannot_be_compared(refused, tmp_path, arguments, named):
    given = [argument.format(tmp_path) for argument in arguments]
    assert named in refused("pretrained_vs_scratch", *given, f"--workdir={tmp_path / 'study'}")
    assert not (tmp_path / "study").exists()


def test_a_pretrained_and_a_random_start_are_compared(tmp_path, monkeypatch, capsys):
    """Of the four tasks one, since each is two programs to compile."""
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path / "cache"))
    tasks = {"sentences": pretrained_vs_scratch.TASKS["sentences"]}
    monkeypatch.setattr(pretrained_vs_scratch, "TASKS", tasks)
    every = dict.fromkeys(("log_every", "eval_every", "save_every", "keep_every"), 1)
    sizes = {"vocab_size": 120, "positions": 24, "layers": 1, "width": 16, "heads": 2, "mlp_width": 32}
    first = replace(
        bert.OFFLINE,
        steps=2,
        phases=(bert.PhaseConfig(length=24),),
        data=replace(bert.OFFLINE.data, source=str(corpus(tmp_path)), heldout_share=0.2, heldout_rows=16),
        model=replace(bert.OFFLINE.model, **sizes),
        schedule=replace(bert.OFFLINE.schedule, warmup_steps=1),
        train=replace(bert.OFFLINE.train, batch_size=8, **every),
    )
    offline = sequence_classification.OFFLINE
    each = replace(
        offline,
        steps=2,
        length=24,
        labels=("long", "short"),
        data=replace(offline.data, source=str(sentences(tmp_path))),
        schedule=replace(offline.schedule, warmup_steps=1),
        train=replace(offline.train, batch_size=8, **every),
    )
    folder = tmp_path / "study"
    config = pretrained_vs_scratch.Config(repeats=2, bert=first, sentences=each)
    run(pretrained_vs_scratch, "tiny", config, folder)

    out = capsys.readouterr().out
    assert out.count(f"warm start from {folder / 'bert'}: ") == 2
    assert out.count(f"starting from scratch, with the tokenizer and the sizes of {folder / 'bert'}") == 2
    found = json.loads((folder / "pretrained.json").read_text())["sentences"]
    for source, metrics in found.items():
        assert {*metrics} == {"class_accuracy", "macro_f1"}
        logs = [processes.log(folder / f"sentences-{source}-{seed}") for seed in (0, 1)]
        assert metrics == {name: [log[-1][name] for log in logs] for name in metrics}
    assert [*found] == ["pretrained", "random"]
    assert (folder / "pretrained.txt").read_text().strip() in out
    assert matplotlib.image.imread(folder / "plots" / "loss.png")[..., :3].std() > 0.03
