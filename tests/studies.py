"""Studies in small."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from etils import epath

from experiments import bert
from ssl_jax.runs.study import run_study, study_settings
from ssl_jax.training import loop
from tests.cases import corpus


def run(module: ModuleType, preset: str, config: Any, folder: Path) -> None:
    """The study, without the reports of its runs, which `test_every_experiment` reads."""
    settings = study_settings(module.__name__, preset, config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Run, "_report", lambda run: None)
        assert run_study(module.study(config), epath.Path(folder), settings) == 0


def small_bert(folder: Path, *, steps: int = 2, layers: int = 1, every: int = 2) -> bert.Config:
    """A BERT of rows of 24 tokens of the corpus, with a checkpoint at each interval."""
    sizes = {"vocab_size": 120, "positions": 24, "layers": layers, "width": 16, "heads": 2, "mlp_width": 32}
    rhythm = dict.fromkeys(("log_every", "eval_every", "save_every", "keep_every"), every)
    return replace(
        bert.OFFLINE,
        steps=steps,
        phases=(bert.PhaseConfig(length=24),),
        data=replace(bert.OFFLINE.data, source=str(corpus(folder)), heldout_share=0.2, heldout_rows=16),
        model=replace(bert.OFFLINE.model, **sizes),
        schedule=replace(bert.OFFLINE.schedule, warmup_steps=1),
        train=replace(bert.OFFLINE.train, batch_size=8, **rhythm),
    )
