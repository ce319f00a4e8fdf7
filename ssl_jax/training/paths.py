"""Names of parameters: the keys of a tree's path joined with "/", as in
`encoder/layers/attention/qkv/kernel`."""

from typing import Any

import jax


def path_name(path: tuple[Any, ...]) -> str:
    """The name of a leaf from its key path, as `jax.tree_util` gives it."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def named_leaves(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by name, in its own order.

    Example:
      >>> named_leaves({"head": {"kernel": 1, "bias": 2}, "layers": (3, 4)})
      {'head/bias': 2, 'head/kernel': 1, 'layers/0': 3, 'layers/1': 4}
    """
    return {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
