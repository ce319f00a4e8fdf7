"""Objectives on text learn more than the left neighbour tells: short runs end past the bigram baseline of their report.

A model that has learned how frequent each word is after each other one is at this baseline, and stays there on a
plateau before attention finds the other neighbours.
"""

import json

import numpy as np
import pytest

from tests import processes
from tests.cases import given, length

BERT = "mlm_accuracy", "the most frequent token after the left neighbour"
DENOISING = "token_accuracy", "the most frequent token after the one before"
SIZES = {"vocab_size": 40, "positions": 32, "width": 32, "heads": 2, "mlp_width": 64}
ENCODER = [*given("model", layers=2), *given("phases.0", length=32), *given("train", batch_size=32)]
PAIR = [*given("model", layers=1, decoder_layers=1), *given(length=32), *given("train", batch_size=16)]
DECODER = [*given("model", layers=2), *given("data", byte_fallback=False)]
DECODER += [*given(length=32), *given("train", batch_size=16)]
OBJECTIVES = {  # experiment, settings of its own, steps, (metric, baseline)
    "next sentence": ("bert", ENCODER, 150, BERT),
    "sentence order": ("bert", [*ENCODER, *given(pair_task="sop")], 150, BERT),
    "packed rows": ("bert", [*ENCODER, *given(pair_task="none")], 150, BERT),
    "albert": ("albert", [*ENCODER, *given("model", embedding_width=32)], 250, BERT),
    "gpt2": ("gpt2", DECODER, 100, ("bits_per_byte", "2-grams, Kneser-Ney")),
    "bart": ("bart", PAIR, 100, DENOISING),
    "mass": ("mass", PAIR, 100, DENOISING),
    "t5": ("t5", PAIR, 100, DENOISING),
}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """A file of documents by a rule: the left neighbour of a word chooses three words, the word before it one of these.

    A tenth of the words are drawn by chance. The left neighbour alone is right for about 40 % of the tokens.
    """
    rng = np.random.default_rng(0)
    words = [consonant + vowel for consonant in "bdfgmt" for vowel in "ai"]
    group, member = rng.permutation(12) % 4, rng.permutation(12) % 3

    def sentence():
        numbers = rng.integers(0, 12, 2).tolist()
        for chance in rng.random(rng.integers(6, 12)):
            following = 3 * group[numbers[-1]] + member[numbers[-2]]
            numbers.append(int(rng.integers(12) if chance < 0.1 else following))
        return " ".join(words[number] for number in numbers) + "."

    documents = ["\n".join(sentence() for _ in range(8)) for _ in range(300)]
    file = tmp_path_factory.mktemp("data") / "text.txt"
    file.write_text("\n\n".join(documents) + "\n")
    return file


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_short_run_ends_past_the_left_neighbour(objective, text, tmp_path, monkeypatch):
    experiment, own, steps, (metric, baseline) = OBJECTIVES[objective]
    monkeypatch.setenv("SSL_JAX_CACHE", str(text.parent / "cache"))
    rotary = given("model", **SIZES, position_encoding="rotary")
    rows = given("data", source=text, heldout_share=0.1, heldout_rows=64)
    schedule = [*length(steps, 20), *given("schedule", learning_rate=5e-3)]
    rhythm = dict.fromkeys(("log_every", "eval_every", "save_every", "keep_every"), steps)
    train = given("train", **rhythm)
    code, _, error = processes.run(
        f"experiments.{experiment}", [*rotary, *own, *rows, *schedule, *train], tmp_path
    )
    assert code == 0, error
    reached = [line[metric] for line in processes.log(tmp_path) if "split" in line][-1]
    left = json.loads((tmp_path / "baselines.json").read_text())[metric][baseline]
    past = reached < left if metric == "bits_per_byte" else reached > left
    assert past, f"{metric} {reached:.3f}, left neighbour {left:.3f}"
