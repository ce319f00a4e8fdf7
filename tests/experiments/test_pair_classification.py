"""Pairs of sentences: scores, what they are compared with, and texts that are not pairs."""

import json

import pytest

from experiments.pair_classification import PRESETS
from ssl_jax.errors import UserError
from ssl_jax.predict import predictions
from tests import processes
from tests.cases import given, length, pair_classification


def test_scores(command, tmp_path, monkeypatch):
    """Trained for two steps, reported beside baselines, and predicted of new pairs."""
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "run"
    own = [*given(scored=True, from_scratch=True), *given("data", label="score")]
    steps = [*length(2, 1), *given("train", log_every=1, eval_every=2, save_every=2, keep_every=2)]
    arguments = [*pair_classification(tmp_path), *own, *steps, "--workdir", folder]
    code, out, error = command("pair_classification", *arguments)
    assert (code, error) == (0, "")
    assert "held-out examples, scores from -" in out
    assert not (folder / "bert").exists()
    last = processes.log(folder)[-1]
    found = json.loads((folder / "scores.json").read_text())
    assert [*found] == ["mean score", "tf-idf, ridge regression", "model"]
    assert found["model"]["pearson"] == pytest.approx(last["pearson"])
    assert found["model"]["root_mean_square_error"] == pytest.approx(last["score_loss"] ** 0.5, rel=1e-5)
    assert (folder / "plots" / "scores.png").stat().st_size > 3000

    rows = [line.split("\t", 2) for line in (folder / "predictions.tsv").read_text().splitlines()[1:]]
    again = predictions(str(folder), [row[2] for row in rows])
    for row, one in zip(rows, again, strict=True):
        assert one == {"text": row[2], "score": pytest.approx(float(row[1]), abs=1e-3)}
    with pytest.raises(UserError, match=r"text 2, 'One\.': expected two sentences with a tab between"):
        predictions(str(folder), [rows[0][2], "One."])


def test_the_presets_of_the_paper():
    """Three epochs of 392,702 pairs of MNLI, and of 5,749 of STS-B."""
    for name, examples in (("mnli", 392_702), ("stsb", 5_749)):
        paper = PRESETS[name]
        assert paper.steps == 3 * examples // 32
        assert paper.schedule.warmup_steps == paper.steps // 10
        assert (paper.length, paper.train.batch_size, paper.schedule.learning_rate) == (128, 32, 2e-5)
