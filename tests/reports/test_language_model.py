"""The report of language models: bits per byte in order, and samples."""

import dataclasses
import types

import pytest
from etils import epath

from experiments import gpt2
from ssl_jax.data.corpus import original_text
from ssl_jax.reports.text_samples import SamplesConfig, with_prompts
from tests.cases import corpus
from tests.reports.helpers import initial_variables, make_report

TINY = gpt2.PRESETS["tiny"]
SIZES = {"vocab_size": 330, "positions": 16, "layers": 1, "width": 16, "heads": 2, "mlp_width": 32}
METRICS = {"heldout": {"bits_per_byte": 1.234, "perplexity": 56.78}}


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path / "cache"))
    return gpt2.build(
        dataclasses.replace(
            TINY,
            length=16,
            stride=8,
            data=dataclasses.replace(TINY.data, source=str(corpus(tmp_path)), heldout_share=0.2),
            model=dataclasses.replace(TINY.model, **SIZES),
            samples=SamplesConfig(prompts=("Abc", ""), new_tokens=3),
            train=dataclasses.replace(TINY.train, batch_size=8),
        )
    )


def test_prompts_are_of_the_held_out_text_and_texts_longer_than_the_context(tmp_path, monkeypatch):
    """Of characters kept as they are, with 16 positions; the documentation has prompts of its own."""
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path / "cache"))
    verse = "".join(f"KING {i}:\n  To be, or not\nto be {i}?\n\n" for i in range(20))
    (tmp_path / "verse.txt").write_text(verse)
    preset = gpt2.PRESETS["characters"]
    experiment = gpt2.build(
        dataclasses.replace(
            preset,
            length=16,
            data=dataclasses.replace(preset.data, source=str(tmp_path / "verse.txt"), separator="\n\n"),
            model=dataclasses.replace(preset.model, **SIZES | {"vocab_size": 40}),
            samples=SamplesConfig(new_tokens=30),
        )
    )
    data = experiment.open_data(epath.Path(tmp_path))
    text = data.details
    chosen = with_prompts(SamplesConfig(), text, 16).prompts
    heldout = b"".join(original_text(text.heldout_source, text.heldout_corpus)).decode()
    assert len(chosen) > 1
    for prompt in chosen:
        assert prompt in heldout
        assert 4 < len(prompt) <= 8
    one = text._replace(heldout_corpus=text.heldout_corpus.select([0]))
    places = with_prompts(SamplesConfig(), one, 16).prompts
    assert len(places) == 4
    assert all(prompt in heldout for prompt in places)
    report = make_report(
        tmp_path,
        step=7,
        data=data,
        metrics=METRICS,
        heldout=data.heldout[-1],
        variables=initial_variables(experiment),
    )
    experiment.sample(report)
    written = (tmp_path / "samples" / "step-7.txt").read_text()
    assert all(f"\n\n{prompt}" in written for prompt in chosen)
    assert max(map(len, written.split("\n\n"))) > 16
    pydocs = text._replace(heldout_source=types.SimpleNamespace(name="pydocs"))
    assert with_prompts(SamplesConfig(), pydocs, 16).prompts[0] == "Returns the"
    assert with_prompts(SamplesConfig(prompts=("x",)), pydocs, 16).prompts == ("x",)


def test_table_and_samples(experiment, tmp_path):
    data, lines = experiment.open_data(epath.Path(tmp_path)), []
    report = make_report(
        tmp_path,
        log=lines.append,
        step=7,
        data=data,
        metrics=METRICS,
        heldout=data.heldout[-1],
        variables=initial_variables(experiment),
    )
    experiment.report(report)
    documents = len(data.details.heldout_corpus.hashes)
    assert f" bytes in {documents} documents " in lines[0]
    assert "   1.234  model, perplexity 56.8 per token, windows of 16 tokens, stride 8" in lines
    table = [line for line in lines if line.startswith("  ") and line[2:8].strip()[:1].isdigit()]
    bits = [float(line.split()[0]) for line in table]
    assert len(bits) == 7
    assert bits == sorted(bits, reverse=True)
    printed = lines[-2:]
    assert printed[0].strip().startswith("Abc")

    experiment.sample(report)
    head, *texts = (tmp_path / "samples" / "step-7.txt").read_text().split("\n\n")
    assert head == "step 7: perplexity 56.78 per held-out token, windows of 16 tokens, stride 8"
    assert head in lines
    assert texts[0] == printed[0].strip()
