"""The report of masked words: its n-gram baselines are those of the rows that the metric is of."""

import dataclasses

import numpy as np
import pytest
from etils import epath

from experiments import bert
from ssl_jax.evals.masked_words import maskable_tokens
from ssl_jax.evals.ngram_baselines import masked_token_baselines
from ssl_jax.reports.masked_words import BASELINES
from tests.cases import corpus
from tests.reports.helpers import initial_variables, make_report

LENGTHS = (16, 40)
TINY = bert.PRESETS["tiny"]
SIZES = {"vocab_size": 120, "positions": 40, "layers": 1, "width": 16, "heads": 2, "mlp_width": 32}


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """BERT with two phases of different length."""
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path / "cache"))
    data = dataclasses.replace(TINY.data, source=str(corpus(tmp_path)), heldout_share=0.2, heldout_rows=20)
    return bert.build(
        dataclasses.replace(
            TINY,
            phases=tuple(bert.PhaseConfig(length=length, share=0.5) for length in LENGTHS),
            data=data,
            model=dataclasses.replace(TINY.model, **SIZES),
            train=dataclasses.replace(TINY.train, batch_size=8),
        )
    )


def test_baselines_are_of_the_rows_of_the_last_phase(experiment, tmp_path):
    data = experiment.open_data(epath.Path(tmp_path))
    text, lines = data.details, []
    report = make_report(
        tmp_path,
        log=lines.append,
        data=data,
        heldout=data.heldout[-1],
        metrics={"heldout": {"mlm_accuracy": 0.123}},
        variables=initial_variables(experiment),
    )
    experiment.report(report)
    wanted = []
    for phase, length in zip(data.heldout, LENGTHS, strict=True):
        rows = list(phase["heldout"])
        tokens, segment_ids = (np.stack([row[name] for row in rows]) for name in ("tokens", "segment_ids"))
        assert tokens.shape[1] == length
        maskable = maskable_tokens(tokens, segment_ids, text.tokenizer.special)
        accuracies = masked_token_baselines(text.training_corpus, tokens, maskable)
        accuracies = {BASELINES[name]: value for name, value in accuracies.items()} | {"model": 0.123}
        ascending = sorted(accuracies.items(), key=lambda row: row[1])
        wanted.append([f"  {value:6.1%}  {name}" for name, value in ascending])
    assert lines[1:5] == wanted[1]
    assert wanted[0] != wanted[1]
    masked = [line for line in lines if "____" in line]
    assert len(masked) == 5
    assert all(line.index("____") > 0 for line in masked)
