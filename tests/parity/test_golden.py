"""Our BERT and ALBERT against Hugging Face's, from golden vectors (see make_golden.py); needs no PyTorch."""

import pathlib

import jax
import numpy as np
import parity_ours
import pytest
import safetensors.numpy
from flax.traverse_util import flatten_dict

from ssl_jax.hub import bert
from ssl_jax.hub.safetensors import to_theirs

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
    assert len(GOLDEN) == 10


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_every_output_equals_the_reference(path, tmp_path):
    kinds = read(path, tmp_path)
    ours = parity_ours.outputs(tmp_path, kinds["input"])
    parity_ours.assert_equal(ours, kinds["output"], kinds["input"]["sequence"] != 0)


def test_pretraining_gradients_equal_the_reference(tmp_path):
    [path] = [path for path in GOLDEN if path.stem == "pretraining"]
    kinds = read(path, tmp_path)
    loss, gradients = parity_ours.pretraining_gradients(tmp_path, kinds["input"], kinds["label"])
    np.testing.assert_allclose(loss, kinds["loss"][""], rtol=1e-6)
    gradients = flatten_dict(jax.tree.map(np.asarray, gradients), sep="/")
    gradients = to_theirs(bert.RULES["bert"]("bert."), gradients)
    assert gradients.keys() == kinds["gradient"].keys()
    for name, reference in kinds["gradient"].items():
        np.testing.assert_allclose(gradients[name], reference, rtol=1e-4, atol=2e-6, err_msg=name)
