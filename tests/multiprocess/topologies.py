"""The same training on any arrangement of devices; also run as a script, as one of several processes.

python -m tests.multiprocess.topologies HOST:PORT ID COUNT FILE
"""

import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import minimal, simclr, vae, vqvae, wav2vec2
from ssl_jax.data.next_token import batch_shapes
from ssl_jax.data.packing import segment_ids_and_positions
from ssl_jax.data.summary_rows import batch_shapes as summary_shapes
from ssl_jax.data.tokenizers import SENTENCEPIECE
from ssl_jax.decoding.pointer import Writing
from ssl_jax.methods.bert import pretraining
from ssl_jax.methods.next_token import next_token
from ssl_jax.methods.partition import TRANSFORMER
from ssl_jax.methods.summarization import make_networks, summarization
from ssl_jax.methods.summary_objectives import ObjectiveConfig
from ssl_jax.models.autoencoder import AutoencoderConfig
from ssl_jax.models.bert import BertConfig
from ssl_jax.models.conv_autoencoder import ConvConfig
from ssl_jax.models.encoder_decoder import EncoderDecoderConfig
from ssl_jax.models.gpt2 import Gpt2Config
from ssl_jax.models.projection import MlpConfig
from ssl_jax.models.quantization.codebook import CodebookConfig
from ssl_jax.models.resnet import ResNetConfig
from ssl_jax.recipes.summarization import three_optimizers
from ssl_jax.training.compiling import Program
from ssl_jax.training.experiment import Data, Experiment, Phase, TrainConfig
from ssl_jax.training.loading import training_batches
from ssl_jax.training.optimizers import OptimizerConfig, make_optimizer
from ssl_jax.training.schedules import ScheduleConfig, make_schedule
from ssl_jax.training.sharding import MeshConfig, batch_sharding, make_mesh, replicated
from ssl_jax.training.state import TrainState
from ssl_jax.transforms.masking import MaskingConfig
from tests.cases import recordings

STEPS = 12
MESHES = {
    "one": MeshConfig(data=1),
    "data": MeshConfig(data=8),
    "fsdp": MeshConfig(data=1, fsdp=8),
    "tensor": MeshConfig(data=1, tensor=8),
    "all": MeshConfig(data=2, fsdp=2, tensor=2),
}
PAIRS = (
    ("bert", "data"),
    ("bert", "fsdp"),
    ("bert", "tensor"),
    ("gpt2", "fsdp"),
    ("minimal", "data"),
    ("minimal", "fsdp"),
    ("simclr", "data"),
    ("summarize", "data"),
    ("vae", "data"),
    ("vqvae", "data"),
    ("wav2vec2", "data"),
)
PAIRS_OF_PROCESSES = (("bert", "fsdp"), ("bert", "tensor"), ("simclr", "data"), ("vqvae", "data"))
"""The others have nothing to communicate that these have not, and two processes are slow."""


class Sentences:
    """Rows of tokens with lengths, segments and labels that are a function of the index."""

    def __len__(self) -> int:
        return 500

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        chance = np.random.default_rng(index)
        length = chance.integers(8, 33)
        position = np.arange(32)
        real = position < length
        tokens = np.where(real, chance.integers(5, 256, 32) // chance.integers(1, 4), 0)
        tokens = np.where(real, np.maximum(tokens, 5), 0)
        tokens[0], tokens[length - 1] = SENTENCEPIECE.cls, SENTENCEPIECE.sep
        row = {"tokens": tokens, "token_type_ids": real & (position > length // 2), "segment_ids": real}
        return {name: values.astype(np.int32) for name, values in row.items()} | {
            "label": np.int32(index % 2),
            "vocab_size": np.int32(256),
        }


def bert() -> Experiment:
    """Small, with dropout and masks, and of sizes that every mesh divides."""
    config = BertConfig(vocab_size=256, positions=32, layers=2, width=64, heads=8, mlp_width=256)
    tasks = pretraining(config, masking=MaskingConfig(), pair_task="nsp", special=SENTENCEPIECE)
    batch = {
        name: jax.ShapeDtypeStruct((16, 32), jnp.int32)
        for name in ("tokens", "token_type_ids", "segment_ids")
    } | dict.fromkeys(("label", "vocab_size"), jax.ShapeDtypeStruct((16,), jnp.int32))
    data = grain.MapDataset.source(Sentences()).seed(0).shuffle().repeat()
    return Experiment(
        method=tasks.method,
        optimizer=make_optimizer(OptimizerConfig(), lambda step: 1e-3),
        train=TrainConfig(batch_size=16),
        mesh=MeshConfig(),
        phases=(Phase(STEPS, batch, ("tokens", 1)),),
        open_data=lambda folder: Data((data,), ({},), {}),
        rules=TRANSFORMER,
    )


class Packed:
    """Rows of next-token prediction with two or three documents and padding, a function of the index."""

    def __len__(self) -> int:
        return 500

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        chance = np.random.default_rng(index)
        segment_ids, positions = segment_ids_and_positions(chance.integers(3, 11, chance.integers(2, 4)), 32)
        text = np.where(segment_ids > 0, chance.integers(5, 256, 33)[1:] // chance.integers(1, 4), 0)
        return {
            "tokens": text.astype(np.int32),
            "targets": np.roll(text, -1).astype(np.int32),
            "segment_ids": segment_ids,
            "positions": positions,
            "weights": (segment_ids > 0).astype(np.float32),
        }


def gpt2() -> Experiment:
    """Small, with dropout, on packed rows; the table of tokens is the head as well."""
    config = Gpt2Config(vocab_size=256, positions=32, layers=2, width=64, heads=8, mlp_width=256)
    tasks = next_token(config)
    data = grain.MapDataset.source(Packed()).seed(0).shuffle().repeat()
    return Experiment(
        method=tasks.method,
        optimizer=make_optimizer(OptimizerConfig(), lambda step: 1e-3),
        train=TrainConfig(batch_size=16),
        mesh=MeshConfig(),
        phases=(Phase(STEPS, batch_shapes(16, 32), ("tokens", 1)),),
        open_data=lambda folder: Data((data,), ({},), {}),
        rules=TRANSFORMER,
    )


class Unpaired:
    """An article, and a sentence that is not about it, as a function of the index."""

    def __len__(self) -> int:
        return 500

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        chance = np.random.default_rng(index)
        tokens, sentence = (chance.integers(5, 64, size) // chance.integers(1, 4) for size in (24, 8))
        article_end, sentence_end = chance.integers(12, 24), chance.integers(3, 8)
        tokens, sentence = np.maximum(tokens, 5), np.maximum(sentence, 5)
        tokens[0], tokens[article_end], sentence[sentence_end] = 2, 3, 3
        tokens[article_end + 1 :], sentence[sentence_end + 1 :] = 0, 0
        return {
            "tokens": tokens.astype(np.int32),
            "present": tokens > 0,
            "sentence": sentence.astype(np.int32),
            "sentence_present": sentence > 0,
            "vocab_size": np.int32(64),
        }


def summaries() -> Experiment:
    """Drawn codes, rewards that are compared with means of the global batch, and its counts, from the first step on."""
    model = EncoderDecoderConfig(
        vocab_size=64,
        positions=24,
        layers=1,
        decoder_layers=1,
        width=16,
        heads=2,
        mlp_width=16,
        dropout=0.0,
        attention_dropout=0.0,
        norm="pre",
    )
    writing = Writing(length=8, begin=2, end=3, pad=0, first_regular=5)
    rewards = ("adversarial_weight", "reconstruction_weight", "language_weight", "repeat_penalty")
    weights = dict.fromkeys(rewards, 0.1)
    objective = ObjectiveConfig(warmup_steps=0, length_penalty=0.01, **weights)
    rate = make_schedule(ScheduleConfig(learning_rate=1e-2, warmup_steps=0), STEPS)
    data = grain.MapDataset.source(Unpaired()).seed(0).shuffle().repeat()
    return Experiment(
        method=summarization(make_networks(model, writing, mask_id=4, language=True), objective),
        optimizer=make_optimizer(three_optimizers(), rate),
        train=TrainConfig(batch_size=16),
        mesh=MeshConfig(),
        phases=(Phase(STEPS, summary_shapes(16, 24, 8), ("tokens", 1)),),
        open_data=lambda folder: Data((data,), ({},), {}),
        rules=TRANSFORMER,
    )


def brief(config: Any, **changes: object) -> Any:
    """The first steps of a preset, on small batches."""
    return dataclasses.replace(
        config,
        steps=STEPS,
        schedule=ScheduleConfig(learning_rate=1e-3, warmup_steps=0),
        train=TrainConfig(batch_size=32),
        **changes,
    )


def crops() -> Experiment:
    """SimCLR on digits: negatives and batch statistics are of the global batch."""
    config = simclr.PRESETS["digits"]
    return simclr.build(
        brief(
            config,
            views=2 * (dataclasses.replace(config.views[0], rotate=0.0, jitter=0.0),),
            encoder=ResNetConfig(blocks=(1,), bottleneck=False, width=8, stem="small"),
            projector=MlpConfig(hidden=(16,), features=8),
        )
    )


def codes_of_digits() -> Experiment:
    """A VQ-VAE: k-means on the first global batch, averages of codes over every one after it, and restarts."""
    return vqvae.build(
        brief(
            vqvae.PRESETS["digits"],
            codebook=CodebookConfig(codes=16, width=4, kmeans=3, restart_below=0.3),
            network=ConvConfig(width=8, strides=(2,), residual_blocks=1, residual_width=4),
        )
    )


def drawn_digits() -> Experiment:
    """A VAE: draws of pixels and of codes, the same wherever an image is."""
    return vae.build(brief(vae.PRESETS["digits"], network=AutoencoderConfig(hidden=(32,))))


def spoken() -> Experiment:
    """wav2vec 2.0: spans and negatives are drawn for each utterance, and the use of codes is of the global batch."""
    config = wav2vec2.PRESETS["synthesised"]
    source = str(recordings(Path(tempfile.mkdtemp())))
    model = dataclasses.replace(
        config.model,
        conv_width=8,
        kernels=(60, 15),
        strides=(10, 8),
        layers=1,
        width=16,
        heads=2,
        mlp_width=16,
        positional_kernel=4,
        positional_groups=2,
    )
    speech = dataclasses.replace(
        config.data, source=source, labels="{word}_{}_{}", heldout="utterances", longest=0.2
    )
    config = brief(config, data=speech, model=model)
    return wav2vec2.build(dataclasses.replace(config, train=TrainConfig(batch_size=16)))


EXPERIMENTS = {
    "bert": bert,
    "gpt2": gpt2,
    "minimal": lambda: minimal.build(minimal.Config(steps=STEPS)),
    "simclr": crops,
    "summarize": summaries,
    "vae": drawn_digits,
    "vqvae": codes_of_digits,
    "wav2vec2": spoken,
}


class Curve(NamedTuple):
    """Losses of every step, the gradient of the first one, and the state after the last."""

    losses: np.ndarray
    grads: list[np.ndarray]
    state: TrainState


def train(experiment: Experiment, mesh: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Curve:
    """The compiled step on real batches."""
    # The first part of the optimiser does nothing but keep the gradient in its state.
    experiment = experiment._replace(optimizer=optax.chain(optax.trace(0.0), experiment.optimizer))
    mesh = make_mesh(mesh, devices)
    program, phase = Program(experiment, mesh), experiment.phases[0]
    state, step = program.initial_state(), program.train_step(phase)
    whole = jax.jit(lambda tree: tree, out_shardings=replicated(mesh))
    losses, grads = [], None
    (data,) = experiment.open_data(None).train
    with closing(training_batches(data, phase.batch_size, batch_sharding(mesh), range(STEPS))) as batches:
        for batch in batches:
            state, _ = step(state, batch)
            grads = grads or [np.asarray(x) for x in jax.tree.leaves(whole(state.opt_state[0].trace))]
            losses.append(float(state.metrics["loss"][0]))
            state = program.cleared(state)
    return Curve(np.array(losses), grads, state)


if __name__ == "__main__":
    address, number, count, file = sys.argv[1:]
    jax.distributed.initialize(address, int(count), int(number))
    curves = {}
    for name, mesh in PAIRS_OF_PROCESSES:
        curve = train(EXPERIMENTS[name](), MESHES[mesh])
        curves |= {f"{name} {mesh} losses": curve.losses}
        curves |= {f"{name} {mesh} grads {i}": leaf for i, leaf in enumerate(curve.grads)}
    if jax.process_index() == 0:
        np.savez(file, **curves)
