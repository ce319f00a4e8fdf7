"""`--init_from`: parameters and other state, by path, from another run or from another library's weights."""

import re
from collections.abc import Callable
from contextlib import closing

import jax
from etils import epath
from jax.sharding import Mesh

from ssl_jax.errors import UserError
from ssl_jax.method import Tree
from ssl_jax.training.checkpoints import Checkpoints
from ssl_jax.training.folder import CONFIG
from ssl_jax.training.paths import named_leaves, path_name
from ssl_jax.training.sharding import Rules, place


def warm_start(
    source: str,
    variables: Tree,
    *,
    mesh: Mesh,
    rules: Rules,
    import_weights: Callable[[epath.Path], Tree] | None,
    log: Callable[[str], None],
) -> Tree:
    """`variables`, {"params": ..., **extras}, with every array that the source has replaced by the source's.

    source: a run folder (RUN, or RUN@STEP for another than the newest checkpoint), or weights that the experiment
    imports, which are parameters only. Arrays that the source lacks keep their initial value; they and the source's
    unused ones are listed. UserError if shapes differ or no parameter matches.
    """
    found = named_leaves(_load(source, mesh, rules, import_weights))
    wanted = named_leaves(variables)
    misshaped = [
        f"{name} {tuple(found[name].shape)}, expected {tuple(leaf.shape)}"
        for name, leaf in wanted.items()
        if name in found and found[name].shape != leaf.shape
    ]
    if misshaped:
        raise UserError(
            f"--init_from {source}: of another shape: {'; '.join(misshaped)}. Give the model's old sizes."
        )
    taken = found.keys() & wanted.keys()
    if not any(name.startswith("params/") for name in taken):
        raise UserError(
            f"--init_from {source}: no parameter has a path of this model; it has {_some(list(found))}, "
            f"expected {_some(list(wanted))}."
        )
    log(f"warm start from {source}: {len(taken)} of {len(wanted)} arrays")
    for title, names in (("initialised anew", wanted.keys() - taken), ("unused", found.keys() - taken)):
        if names:
            log(f"  {title}: {', '.join(sorted(names))}")

    def choose(path: tuple, leaf: jax.Array) -> jax.Array:
        name = path_name(path)
        return jax.device_put(found[name].astype(leaf.dtype), leaf.sharding) if name in taken else leaf

    return jax.tree_util.tree_map_with_path(choose, variables)


def _some(names: list[str]) -> str:
    return ", ".join(sorted(names)[:3]) + (", ..." if len(names) > 3 else "")


def _load(source: str, mesh: Mesh, rules: Rules, import_weights: Callable[[epath.Path], Tree] | None) -> Tree:
    run, step = re.fullmatch(r"(.*?)(?:@(\d+))?", source).groups()
    folder = epath.Path(run)
    if (folder / CONFIG).exists() and (folder / "checkpoints").exists():
        with closing(Checkpoints(folder / "checkpoints")) as checkpoints:
            steps = checkpoints.steps()
            if not steps or (step and int(step) not in steps):
                raise UserError(f"--init_from {source}: has no such checkpoint; there are {steps or 'none'}.")
            chosen = int(step) if step else steps[-1]
            shapes = place(mesh, rules, checkpoints.model_shapes(chosen))
            return checkpoints.restore_model(chosen, shapes)
    if import_weights is not None and folder.exists():
        return {"params": import_weights(folder)}
    raise UserError(
        f"--init_from {source}: neither a run folder with checkpoints nor weights that this experiment can import."
    )
