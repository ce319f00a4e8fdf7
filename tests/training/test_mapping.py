"""Functions over whole data sets: shapes and dtypes are kept, in order, without padding, on eight devices."""

import grain
import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.training.mapping import map_examples, with_labels
from ssl_jax.training.sharding import MeshConfig, make_mesh

EXAMPLES, BATCH = 21, 8
LARGE = 2**24 + 1
"""The least integer that a float32 does not hold."""


def example(index: int) -> dict[str, np.ndarray]:
    return {
        "code": np.int32(LARGE + 2 * index),
        "image": np.full((3, 2, 1), index, np.uint8),
        "label": np.int32(index % 4),
    }


def mapped(function, variables, examples=EXAMPLES):
    dataset = grain.MapDataset.range(examples).map(example)
    return map_examples(function, variables, dataset, mesh=make_mesh(MeshConfig(data=8)), batch_size=BATCH)


def test_shapes_and_dtypes_are_kept():
    def function(params, extras, batch):
        assert batch["image"].shape == (BATCH, 3, 2, 1)
        return {
            "codes": (batch["code"][:, None] + jnp.arange(2)[None]) * params["factor"],
            "images": [batch["image"]],
            "mean": (batch["image"].mean((1, 2, 3)) + extras["shift"]).astype(jnp.bfloat16),
            "even": batch["code"] % 4 == LARGE % 4,
        }

    found = mapped(function, {"params": {"factor": jnp.int32(1)}, "shift": jnp.float32(0.5)})
    numbers = np.arange(EXAMPLES)
    assert jax.tree.map(lambda x: (x.shape, x.dtype.name), found) == {
        "codes": ((EXAMPLES, 2), "int32"),
        "images": [((EXAMPLES, 3, 2, 1), "uint8")],
        "mean": ((EXAMPLES,), "bfloat16"),
        "even": ((EXAMPLES,), "bool"),
    }
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(found))
    np.testing.assert_array_equal(found["codes"], (LARGE + 2 * numbers)[:, None] + np.arange(2)[None])
    np.testing.assert_array_equal(found["images"][0][:, 0, 0, 0], numbers)
    np.testing.assert_array_equal(found["mean"].astype(np.float32), numbers + 0.5)
    np.testing.assert_array_equal(found["even"], numbers % 2 == 0)


def test_a_function_is_compiled_once_for_several_data_sets_and_variables():
    traces = []

    def function(params, extras, batch):
        traces.append(None)
        return params + batch["code"]

    first = mapped(function, {"params": jnp.int32(0)})
    again = mapped(function, {"params": jnp.int32(1)}, examples=5)
    assert len(traces) == 1
    np.testing.assert_array_equal(first[:5] + 1, again)


def test_features_with_their_labels():
    function = with_labels(lambda params, extras, batch: {"code": batch["code"].astype(jnp.bfloat16)})
    features, labels = mapped(function, {"params": {}})
    assert (features["code"].dtype, labels.dtype) == (np.float32, np.int32)
    np.testing.assert_array_equal(labels, np.arange(EXAMPLES) % 4)
