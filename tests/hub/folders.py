"""What the tests of weights share: random parameters, and folders with something changed in them."""

import json

import jax
import numpy as np
import safetensors.numpy

FILES = "model.safetensors", "config.json"


def random_params(model, *arguments):
    """Random parameters of the model; the arguments are those of a call."""
    params = jax.eval_shape(model.init, jax.random.key(0), *arguments)["params"]
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: rng.standard_normal(x.shape, np.float32), params)


def tensors_of(folder):
    return safetensors.numpy.load_file(folder / "model.safetensors")


def rewrite(folder, tensors, **settings):
    """Other tensors in the folder, and other settings; a setting of None is taken out."""
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text()) | settings
    config = {name: value for name, value in config.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config))


def assert_same_model(one, other):
    """Two pairs of configuration and parameters, equal bit for bit."""
    assert one[0] == other[0]
    assert jax.tree.structure(one[1]) == jax.tree.structure(other[1])
    jax.tree.map(np.testing.assert_array_equal, one[1], other[1])
