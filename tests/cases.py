"""Experiments small enough to be run many times by the tests of resuming; a new experiment adds a line here."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Case(NamedTuple):
    """`python -m module arguments(folder)` trains for `steps` steps; what the arguments name is made in `folder`."""

    module: str
    arguments: Callable[[Path], list[object]]
    steps: int
    kills: int = 1
    """How often it is killed at a random step, beside once during a save and once by SIGTERM."""
    stage: str = ""
    """Folder, within the run's, of what is trained first; the random kills are then in there."""


def rhythm(every: int, section: str = "train") -> list[object]:
    """Logs all steps, evaluates and saves on the given interval."""
    names = ("eval_every", "save_every", "keep_every")
    return [f"--{section}.log_every", 1, *(word for name in names for word in (f"--{section}.{name}", every))]


def corpus(folder: Path) -> Path:
    """A text file of 60 documents of ten sentences over 40 words."""
    chance = random.Random(0)
    words = ["".join(chance.choices("abcdefgh", k=chance.randint(2, 6))) for _ in range(40)]

    def sentence() -> str:
        return " ".join(chance.choices(words, k=chance.randint(4, 12))).capitalize() + "."

    documents = ("\n".join(sentence() for _ in range(10)) for _ in range(60))
    file = folder / "corpus.txt"
    file.write_text("\n\n".join(documents) + "\n")
    return file


def bert(folder: Path) -> list[object]:
    """Two layers of 32 with dropout, two phases of different length."""
    sizes = {"vocab_size": 120, "positions": 48, "layers": 2, "width": 32, "heads": 2, "mlp_width": 64}
    model = [word for name, value in sizes.items() for word in (f"--model.{name}", value)]
    dropout = ["--model.dropout", 0.1, "--model.attention_dropout", 0.1]
    data = ["--data.source", corpus(folder), "--data.heldout_share", 0.2, "--data.heldout_rows", 20]
    length = ["--steps", 60, "--phases.0.length", 48, "--train.batch_size", 8]
    length += ["--schedule.warmup_steps", 10]
    return [*model, *dropout, *data, *length, *rhythm(20)]


def byol(folder: Path) -> list[object]:
    """Crops of digits through one block of eight channels: batch statistics, and a target with its own."""
    encoder = ["--encoder.blocks", 1, "--encoder.width", 8, "--encoder.stem", "small"]
    views = [word for name in ("rotate", "jitter") for i in (0, 1) for word in (f"--views.{i}.{name}", 0)]
    heads = [word for head in ("projector", "predictor") for word in (f"--{head}.hidden", 16)]
    length = ["--steps", 40, "--schedule.warmup_steps", 5, "--train.batch_size", 32, "--probe_examples", 60]
    return [*encoder, *views, *heads, *length, *rhythm(10)]


def gpt2(folder: Path) -> list[object]:
    """One layer of 16 with dropout, on packed rows; a sample after each evaluation."""
    sizes = {"vocab_size": 320, "positions": 32, "layers": 1, "width": 16, "heads": 2, "mlp_width": 32}
    model = [word for name, value in sizes.items() for word in (f"--model.{name}", value)]
    dropout = ["--model.dropout", 0.1, "--model.attention_dropout", 0.1]
    data = ["--data.source", corpus(folder), "--data.heldout_share", 0.2, "--data.heldout_rows", 20]
    samples = ["--samples.prompts", "abba", "", "--samples.new_tokens", 8]
    length = ["--steps", 40, "--length", 32, "--stride", 16, "--train.batch_size", 8]
    length += ["--schedule.warmup_steps", 5]
    return [*model, *dropout, *data, *samples, *length, *rhythm(10)]


def bart(folder: Path) -> list[object]:
    """One layer of 16 a side with dropout; rows restored after each evaluation."""
    sizes = {"vocab_size": 120, "positions": 32, "layers": 1, "decoder_layers": 1}
    sizes |= {"width": 16, "heads": 2, "mlp_width": 32}
    model = [word for name, value in sizes.items() for word in (f"--model.{name}", value)]
    dropout = ["--model.dropout", 0.1, "--model.attention_dropout", 0.1]
    data = ["--data.source", corpus(folder), "--data.heldout_share", 0.2, "--data.heldout_rows", 12]
    length = ["--steps", 40, "--length", 32, "--train.batch_size", 8, "--schedule.warmup_steps", 5]
    return [*model, *dropout, *data, *length, *rhythm(10)]


def vqvae(folder: Path) -> list[object]:
    """Digits in eight codes that start by k-means and move by their averages."""
    network = ["--network.width", 8, "--network.residual_width", 4]
    codes = ["--codebook.codes", 8, "--codebook.width", 4, "--codebook.kmeans", 2]
    length = ["--steps", 40, "--schedule.warmup_steps", 5, "--train.batch_size", 32, "--probe_examples", 60]
    return [*network, *codes, *length, *rhythm(10)]


def coding(folder: Path) -> list[object]:
    """Digits in small autoencoders, with small probes at the end."""
    length = ["--steps", 40, "--schedule.warmup_steps", 5, "--train.batch_size", 32, "--probe_examples", 60]
    return ["--network.hidden", 16, *length, *rhythm(10)]


def vqvae_prior(folder: Path) -> list[object]:
    """A prior of one layer with dropout, over the codes of a VQ-VAE that is trained first; images drawn of it."""
    network = ["--vqvae.network.width", 8, "--vqvae.network.residual_width", 4]
    codes = ["--vqvae.codebook.codes", 8, "--vqvae.codebook.width", 4, "--vqvae.codebook.kmeans", 2]
    first = ["--vqvae.steps", 40, "--vqvae.schedule.warmup_steps", 5, "--vqvae.train.batch_size", 32]
    first += ["--vqvae.probe_examples", 60]
    prior = ["--prior.layers", 1, "--prior.width", 16, "--prior.heads", 2]
    length = ["--steps", 40, "--schedule.warmup_steps", 5, "--train.batch_size", 32]
    return [*network, *codes, *first, *prior, *length, *rhythm(10), *rhythm(10, "vqvae.train")]


CASES = {
    "minimal": Case("experiments.minimal", lambda folder: ["--steps", 600, *rhythm(100)], 600, kills=2),
    "bert": Case("experiments.bert", bert, 60),
    "gpt2": Case("experiments.gpt2", gpt2, 40, kills=0),
    "bart": Case("experiments.bart", bart, 40, kills=0),
    "byol": Case("experiments.byol", byol, 40, kills=0),
    "vqvae": Case("experiments.vqvae", vqvae, 40, kills=0),
    "vqvae_prior": Case("experiments.vqvae_prior", vqvae_prior, 40, stage="vqvae"),
    "denoising_autoencoder": Case("experiments.denoising_autoencoder", coding, 40, kills=0),
    "vae": Case("experiments.vae", coding, 40, kills=0),
    "discrete_autoencoder": Case("experiments.discrete_autoencoder", coding, 40, kills=0),
    "anomaly_detection": Case(
        "experiments.anomaly_detection", lambda folder: [*coding(folder), "--normal", 0], 40, kills=0
    ),
}
