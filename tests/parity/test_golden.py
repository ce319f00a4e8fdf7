"""Our models against Hugging Face's, from golden vectors (see make_golden.py); needs no PyTorch."""

import pathlib

import numpy as np
import pytest
import safetensors.numpy

from tests.parity import parity_ours

GOLDEN = sorted((pathlib.Path(__file__).parent / "golden").glob("*.npz"))


def read(path, folder):
    """The golden file's arrays by kind, its model saved in the folder."""
    kinds = {}
    with np.load(path, allow_pickle=False) as arrays:
        for name in arrays.files:
            kind, _, key = name.partition("/")
            kinds.setdefault(kind, {})[key] = arrays[name]
    weights = {name: value.astype(np.float32) for name, value in kinds["weight"].items()}
    safetensors.numpy.save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(str(kinds["config"][""]))
    return kinds


def test_all_cases_are_there():
    assert len(GOLDEN) == 17


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_every_output_equals_the_reference(path, tmp_path):
    kinds = read(path, tmp_path)
    ours = parity_ours.outputs(tmp_path, kinds["input"])
    parity_ours.assert_equal(ours, kinds["output"], kinds["input"]["segment_ids"] != 0)


@pytest.mark.parametrize("name", ["pretraining", "gpt2", "bart"])
def test_gradients_equal_the_reference(name, tmp_path):
    [path] = [path for path in GOLDEN if path.stem == name]
    kinds = read(path, tmp_path)
    ours = parity_ours.gradients(tmp_path, kinds["input"], kinds["label"])
    parity_ours.assert_gradients_equal(ours, (kinds["loss"][""], kinds["gradient"]))
