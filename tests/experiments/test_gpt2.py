"""GPT-2's experiment from the command line: what users get, and what they may get wrong."""

import dataclasses
import json
import runpy
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tokenizers

from experiments.gpt2 import PRESETS, build
from ssl_jax.data.tokenizers import open_tokenizer
from ssl_jax.hub.gpt2 import load_gpt2, save_gpt2
from ssl_jax.methods.next_token import next_token
from ssl_jax.models.gpt2 import Gpt2, Gpt2Config
from ssl_jax.reports.text_samples import sample_texts
from ssl_jax.runs.configuration import restore_config
from ssl_jax.training.step import metric_names

MODEL = {"vocab_size": 300, "positions": 24, "layers": 1, "width": 16, "heads": 2, "mlp_width": 32}
SMALL = [
    *(f"--model.{name}={value}" for name, value in MODEL.items()),
    *(
        "--steps=2",
        "--length=24",
        "--schedule.warmup_steps=1",
        "--train.batch_size=8",
        "--train.eval_every=1",
    ),
    *("--samples.prompts", "Sentence", "", "--samples.new_tokens=6"),
]
SENTENCES = [f"Sentence number {i} of a small text, about thing {i * i}." for i in range(160)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A corpus of twenty documents, and GPT-2 weights with a byte-level vocabulary, as other libraries write them."""
    folder = tmp_path_factory.mktemp("gpt2")
    documents = ["\n".join(SENTENCES[i : i + 8]) for i in range(0, len(SENTENCES), 8)]
    (folder / "corpus.txt").write_text("\n\n".join(documents))
    bpe = tokenizers.ByteLevelBPETokenizer()
    bpe.train_from_iterator(SENTENCES, vocab_size=290, special_tokens=["<|endoftext|>"], show_progress=False)
    bpe.save(str(folder / "tokenizer.json"))
    config = Gpt2Config(**MODEL, initializer_stddev=0.5)
    params = jax.jit(Gpt2(config).init)(jax.random.key(0), jnp.zeros((1, 2), jnp.int32))["params"]
    save_gpt2(folder / "weights", config, params)
    return folder


@pytest.fixture
def run(folder, tmp_path, monkeypatch, capsys):
    """Runs `python -m experiments.gpt2` with arguments; returns (exit code, stdout, stderr)."""
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path / "cache"))

    def run(*arguments):
        given = [
            *SMALL,
            f"--data.source={folder / 'corpus.txt'}",
            f"--workdir={tmp_path / 'run'}",
            *arguments,
        ]
        monkeypatch.setattr(sys, "argv", ["gpt2", *map(str, given)])
        monkeypatch.delitem(sys.modules, "experiments.gpt2", raising=False)  # runpy wants to import it itself
        with pytest.raises(SystemExit) as exit:
            runpy.run_module("experiments.gpt2", run_name="__main__", alter_sys=True)
        return exit.value.code, *capsys.readouterr()

    return run


def test_from_imported_weights_to_metrics_samples_and_plots(run, folder, tmp_path):
    """The rate of the first step is 0, so that the first evaluation is of the imported weights."""
    tokenizer = folder / "tokenizer.json"
    code, out, err = run(f"--data.tokenizer={tokenizer}", f"--init_from={folder / 'weights'}", "--stride=6")
    assert (code, err) == (0, "")
    assert f"starting from {folder / 'weights'}" in out
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    first, last = (line for line in lines if line.get("split") == "heldout")
    for line in (first, last):
        assert line["stride"] == 6
        assert line["perplexity"] == pytest.approx(np.exp(line["next_token_loss"]))
        assert line["bits_per_byte"] > 0
    assert "windows of 24 tokens, stride 6" in out
    assert "2-grams, Kneser-Ney" in out
    assert f"{last['bits_per_byte']:6.3f}  model, perplexity {last['perplexity']:.1f}" in out

    config, params = load_gpt2(folder / "weights")
    samples = PRESETS["tiny"].samples
    samples = type(samples)(prompts=("Sentence", ""), new_tokens=6, sampling=samples.sampling)
    texts = sample_texts(samples, next_token(config).decoder, params, open_tokenizer(tokenizer))
    head, *written = (tmp_path / "run" / "samples" / "step-1.txt").read_text().rstrip("\n").split("\n\n", 1)
    assert (
        head
        == f"step 1: perplexity {first['perplexity']:.2f} per held-out token, windows of 24 tokens, stride 6"
    )
    assert written == ["\n\n".join(texts).rstrip("\n")]
    assert texts[0].startswith("Sentence")
    assert len(texts[0]) > len("Sentence")
    assert (
        open_tokenizer(tmp_path / "run" / "tokenizer.json").fingerprint
        == open_tokenizer(tokenizer).fingerprint
    )
    assert {file.name for file in (tmp_path / "run" / "plots").iterdir()} == {"loss.png", "bits_per_byte.png"}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_by_their_shapes_and_through_their_files(name):
    config = PRESETS[name]
    experiment = build(config)
    [phase] = experiment.phases
    assert metric_names(experiment.method, phase.batch) == ("loss", "grad_norm", "next_token_loss")
    assert config.length <= config.model.positions
    written = json.loads(json.dumps(dataclasses.asdict(config)))
    assert restore_config(config, written) == config


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--data.tokenizer=/nowhere/spm.model"], "tokenizer '/nowhere/spm.model': no such file"),
        (
            ["--data.tokenizer={folder}/tokenizer.json", "--model.vocab_size=200"],
            "more than model.vocab_size 200",
        ),
        (["--model.vocab_size=40", "--data.byte_fallback=True"], "vocabulary of 40 pieces cannot be trained"),
        (["--length=64"], "a sequence of 64 tokens is longer than the model's 24 positions"),
        (["--length=0"], "--length 0: expected"),
        (["--stride=0"], "--stride 0: expected"),
        (["--stride=25"], "stride of 25 must be at least 1 and at most the length of a window, 24"),
        (
            ["--samples.prompts", "word " * 30],
            "a prompt of 151 tokens is longer than the model's context of 24 tokens",
        ),
        (["--samples.sampling.top_p=0"], "--samples.sampling.top_p 0.0: expected"),
        (["--init_from={folder}/weights", "--model.width=32"], "embeddings/token/embedding"),
    ],
)
def test_mistakes(run, folder, arguments, named):
    code, _, error = run(*(argument.format(folder=folder) for argument in arguments))
    assert code == 2
    assert error.startswith("error: ")
    assert "Traceback" not in error
    assert named in error
