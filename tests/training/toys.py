"""Experiments that compile in no time, for what the machinery does around them."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
from etils import epath

from ssl_jax.method import Aux, Mean, Method, evaluate
from ssl_jax.training import loop
from ssl_jax.training.experiment import Data, Experiment, Phase, TrainConfig
from ssl_jax.training.sharding import MeshConfig

FEATURES = 4


def example(index: int) -> dict[str, np.ndarray]:
    """Numbers, and how much each counts; a function of the index."""
    chance = np.random.default_rng(index)
    return {
        "x": chance.normal(size=FEATURES).astype(np.float32),
        "weight": chance.integers(0, 4, FEATURES).astype(np.float32),
    }


def noisy_regression(rate: float = 0.3) -> Method:
    """Restores weighted numbers of which some are dropped: uneven weights, randomness, and state without gradient."""

    def init(rng, batch):
        return {"params": {"w": jax.random.normal(rng, (FEATURES, FEATURES))}, "mean": jnp.zeros(FEATURES)}

    def loss(params, extras, batch, rng):
        x, weight = (
            batch["x"],
            batch["weight"] * batch["example_weight"][:, None],
        )
        kept = jax.random.bernoulli(rng, 1 - rate, x.shape)
        error = jnp.square((x * kept) @ params["w"] - x)
        extras = {"mean": 0.9 * extras["mean"] + 0.1 * x.mean(0)}
        return {"error": Mean.of(error, weight)}, Aux({"size": Mean(x.sum(), jnp.float32(x.size))}, extras)

    return Method(init, loss)


def shapes(batch_size: int, features: int = FEATURES) -> dict[str, jax.ShapeDtypeStruct]:
    """Of a batch of `example`s."""
    return {name: jax.ShapeDtypeStruct((batch_size, features), jnp.float32) for name in ("x", "weight")}


def endless(examples: Sequence[Any] | int, seed: int = 0) -> grain.MapDataset:
    """Shuffled without end: the examples given, or the first so many."""
    if isinstance(examples, int):
        source = grain.MapDataset.range(examples).map(example)
    else:
        source = grain.MapDataset.source(examples)
    return source.seed(seed).shuffle().repeat()


def experiment(
    *,
    steps: int = 20,
    train: Mapping[str, int] | None = None,
    training: grain.MapDataset | None = None,
    heldout: grain.MapDataset | None = None,
    method: Method | None = None,
    mesh: MeshConfig | None = None,
    identity: Mapping[str, str] | None = None,
    optimizer: optax.GradientTransformation | None = None,
    on_evaluate: Callable[[], None] = lambda: None,
) -> Experiment:
    """One phase of noisy regression on eight devices, logged at every step and saved at every fifth."""
    method = method or noisy_regression()
    config = TrainConfig(
        **{"batch_size": 16, "log_every": 1, "eval_every": 10, "save_every": 5, **(train or {})}
    )
    if heldout is None:
        heldout = grain.MapDataset.range(1000, 1021).map(example)

    def open_data(folder: epath.Path) -> Data:
        data = training if training is not None else endless(100)
        return Data(train=(data,), heldout=({"heldout": heldout},), identity=identity or {})

    def evaluate_and_tell(*inputs):
        on_evaluate()
        return evaluate(method, *inputs)

    return Experiment(
        method=method._replace(evaluate=evaluate_and_tell),
        optimizer=optimizer or optax.adam(1e-2),
        train=config,
        mesh=mesh or MeshConfig(data=8),
        phases=(Phase(steps, shapes(config.batch_size), work=("examples", config.batch_size)),),
        open_data=open_data,
        schedules={"learning_rate": optax.linear_schedule(1.0, 0.0, steps)},
        headline=("error",),
    )


def train(
    experiment: Experiment, folder: Path, settings: Mapping[str, Any] | None = None, **options: Any
) -> int:
    """`loop.train`, with settings that do not change by themselves."""
    return loop.train(experiment, epath.Path(folder), settings or {"config": {}}, **options)


def log(folder: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without what depends on the clock."""
    lines = map(json.loads, (Path(folder) / "metrics.jsonl").read_text().splitlines())
    return [{name: value for name, value in line.items() if name != "timing"} for line in lines]
