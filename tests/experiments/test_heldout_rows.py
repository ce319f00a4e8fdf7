"""Held-out data has the arrays that its phase says, from which `ssl_jax.plan` compiles the evaluation."""

import importlib

import numpy as np
import pytest
from etils import epath

from ssl_jax.cli import parse
from tests.cases import SMALL


@pytest.mark.parametrize("name", ["anomaly_detection", "gpt2", "gpt3_in_context", "simclr"])
def test_heldout_rows_are_as_their_phase_says(name, tmp_path):
    module = importlib.import_module(f"experiments.{name}")
    arguments = [str(word) for word in SMALL[name](tmp_path)]
    experiment = module.build(parse(arguments, module.PRESETS, name).config)
    data = experiment.open_data(epath.Path(tmp_path))
    for phase, splits in zip(experiment.phases, data.heldout, strict=True):
        expected = {
            key: (x.shape[1:], x.dtype) for key, x in phase.heldout_batch.items() if key != "example_weight"
        }
        for dataset in splits.values():
            assert {key: (np.shape(x), np.asarray(x).dtype) for key, x in dataset[0].items()} == expected
