"""What sets RoFormer's layout in Hugging Face apart from BERT's: the order of features, names, a table of sines.

RoFormer is BERT with rotary positions. Its rotations turn the neighbours 2i and 2i + 1 of the features of a head, those
of `ssl_jax.models.rotary` the features i and i + head_dim / 2. Its pooler is a part of the classifier of sequences; no
other model has one.
"""

from collections.abc import Callable, Mapping

import numpy as np

from ssl_jax.models.speech_transformer import sinusoids

SINES = "encoder.embed_positions.weight"
"""Name of the table of sines, which files have although it is always the same."""
_QKV = "encoder/layers/attention/qkv/"
_CLASSIFIER = {"roformer.pooler.dense.": "classifier.dense.", "classifier.": "classifier.out_proj."}
"""How the names of the two layers of a classifier of sequences begin: in BERT's layout, and in RoFormer's."""


def with_neighbours(params: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Parameters by path, with the features of queries and keys in the order of RoFormer."""
    return _reordered(params, lambda x: np.stack(np.split(x, 2, axis=-1), axis=-1).reshape(x.shape))


def with_halves(params: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inverse of `with_neighbours`."""
    return _reordered(params, _halves)


def with_classifier(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors of a model with a pooler, under the names of BERT's layout, as those of RoFormer's classifier."""
    return _renamed(tensors, _CLASSIFIER)


def with_pooler(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inverse of `with_classifier`, which leaves other models as they are."""
    return _renamed(tensors, {theirs: ours for ours, theirs in _CLASSIFIER.items()})


def sines(positions: int, head_dim: int) -> np.ndarray:
    """The table of sines, then cosines, of the angles, float32 `[positions, head_dim]`."""
    return _halves(sinusoids(positions, head_dim))


def _halves(x: np.ndarray) -> np.ndarray:
    return np.concatenate([x[..., ::2], x[..., 1::2]], axis=-1)


def _renamed(tensors: Mapping[str, np.ndarray], names: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The tensors with other beginnings of their names."""
    renamed = {}
    for name, tensor in tensors.items():
        begins = next((old for old in names if name.startswith(old)), "")
        renamed[names.get(begins, "") + name.removeprefix(begins)] = tensor
    return renamed


def _reordered(
    params: Mapping[str, np.ndarray], order: Callable[[np.ndarray], np.ndarray]
) -> dict[str, np.ndarray]:
    """The kernels and biases `[..., 3, heads, head_dim]` of queries and keys with another order of their features."""
    changed = {}
    for path, array in params.items():
        if path.startswith(_QKV):
            array = np.concatenate([order(array[..., :2, :, :]), array[..., 2:, :, :]], axis=-3)
        changed[path] = array
    return changed
