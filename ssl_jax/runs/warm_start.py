"""`--init_from`: a run that starts from the weights, the tokenizer and the preprocessing of another source.

The source is a run (RUN, or RUN@STEP for another than its newest checkpoint) or a folder of weights in another
library's layout. Arrays are taken by their path. The tokenizer is copied into the new run folder, which is complete
from then on: the source is not needed again.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
from etils import epath
from jax.sharding import Mesh

from ssl_jax.data.characters import Characters
from ssl_jax.data.tokenizer_files import TRAINED, describe, find_tokenizer, preprocessing
from ssl_jax.data.tokenizers import open_tokenizer
from ssl_jax.errors import UserError
from ssl_jax.method import Tree
from ssl_jax.runs.configuration import Config
from ssl_jax.runs.encoders import (
    MODULES,
    describe_encoder,
    encoder_config,
    read_encoder,
    save_encoder,
    with_encoder,
    with_own_encoder,
)
from ssl_jax.runs.named_runs import with_own_runs
from ssl_jax.runs.reference import BEST, RunReference, choose_step
from ssl_jax.runs.resuming import check_phases, fork_from
from ssl_jax.runs.tokenizers import tokenizer_config, with_own_tokenizer, with_tokenizer
from ssl_jax.training import folder as run_folder
from ssl_jax.training.checkpoints import Checkpoints
from ssl_jax.training.experiment import Data, Experiment, Start
from ssl_jax.training.folder import CONFIG, DATA
from ssl_jax.training.paths import named_leaves, path_name
from ssl_jax.training.sharding import place

Build = Callable[[Config], Experiment]


def build_run(
    build: Build,
    config: Config,
    folder: epath.Path,
    init_from: str | None = None,
    with_optimizer: bool = False,
) -> Experiment:
    """The experiment of a run, as it begins or goes on in its folder.

    Where `data.tokenizer` is `train`, a run that starts from a source with a tokenizer takes that one. A run that takes
    an encoder from elsewhere takes that of the source, with its sizes and without its heads; with `from_scratch`, it
    takes the tokenizer and the sizes alone. A run whose data has been opened before has a tokenizer (and the sizes of
    an encoder) of its own and keeps it, wherever it came from.

    Args:
      build: of the experiment.
      config: as the user gave it.
      folder: of the run.
      init_from: RUN, RUN@STEP, RUN@best or a folder of weights; None to start from scratch.
      with_optimizer: whether a new run begins with the whole state of RUN@STEP; see `Fork`.

    Raises:
      UserError: the source is missing where it is needed, or its tokenizer is not the one that is asked for; or the run
        cannot be given more steps.
    """
    begun = run_folder.begun(folder, {"config": dataclasses.asdict(config), "init_from": init_from})
    if begun:
        check_phases(build, config, folder)
        config = with_own_encoder(with_own_runs(with_own_tokenizer(config, folder), folder), folder)
    if init_from is None:
        return build(config)
    source = RunReference.parse(init_from)
    if encoder_config(config) is not None:
        experiment = _with_encoder_of(source, build, config, begun=begun)
    elif begun:
        experiment = start_from(build(config), source)
    else:
        config, note = _with_tokenizer_of(source, config)
        experiment = build(config)
        _check_source(source, experiment)
        experiment = start_from(experiment, source, note)
    return fork_from(experiment, source, begun=begun) if with_optimizer else experiment


def _with_encoder_of(source: RunReference, build: Build, config: Config, *, begun: bool) -> Experiment:
    """The experiment with the encoder of a source, its tokenizer and its sizes; see `build_run`."""
    note = ""
    if not begun:
        model = read_encoder(source.folder, str(source))
        config, note = _with_tokenizer_of(source, with_encoder(config, model))
        note = f"encoder of {source}: {describe_encoder(model)}\n{note}"
    experiment = build(config)
    experiment = experiment._replace(starts=tuple(s for s in experiment.starts if not s.replaceable))
    if not begun:
        _check_source(source, experiment)

    def open_data(folder: epath.Path) -> Data:
        data = experiment.open_data(folder)
        if not (folder / DATA).exists():  # a new run
            save_encoder(encoder_config(config), folder)
        return data

    return start_from(
        experiment._replace(open_data=open_data),
        source,
        note,
        modules=MODULES,
        weights=not getattr(config, "from_scratch", False),
    )


def start_from(
    experiment: Experiment,
    source: RunReference,
    note: str = "",
    *,
    modules: Sequence[str] = (),
    weights: bool = True,
) -> Experiment:
    """The experiment, with a new run of it starting from a source.

    Args:
      experiment: any.
      source: a run or a folder of weights.
      note: lines for the log of the new run.
      modules: what is taken of the source; empty for everything that the model has as well.
      weights: whether weights are taken. Without, the source is that of the tokenizer and of the sizes alone.
    """

    def open_data(folder: epath.Path) -> Data:
        data = experiment.open_data(folder)
        if not (folder / DATA).exists():  # a new run
            check_preprocessing(source, data.preprocessing)
        return data

    @functools.cache  # so that `check` and `load` read them once
    def imported() -> Tree:
        return {"params": experiment.import_weights(source.folder)}

    def adopted(found: Tree) -> Tree:
        return {**found, "params": experiment.adopt(found["params"])}

    def check(variables: Tree) -> None:
        _check_source(source, experiment)
        found = adopted(_shapes(source)) if _is_run(source.folder) else imported()
        _check_shapes(source, of_modules(modules, found, variables), variables)

    def load(variables: Tree, folder: epath.Path, mesh: Mesh, log: Callable[[str], None]) -> Tree:
        _check_source(source, experiment)
        found = adopted(_load(source, experiment, mesh)) if _is_run(source.folder) else imported()
        imported.cache_clear()
        if source.step == BEST:
            log(f"{source} is step {choose_step(Checkpoints(source.folder / 'checkpoints'), source)}")
        if note:
            log(note)
        return transfer(source, of_modules(modules, found, variables), variables, log)

    def keep(variables: Tree, folder: epath.Path, mesh: Mesh, log: Callable[[str], None]) -> Tree:
        if note:
            log(note)
        return variables

    start = Start(str(source), load, check)
    if not weights:
        start = Start(f"scratch, with the tokenizer and the sizes of {source}", keep)
    return experiment._replace(open_data=open_data, starts=(start, *experiment.starts))


def of_modules(modules: Sequence[str], found: Tree, variables: Tree) -> Tree:
    """What is taken of a source: the named modules, and those that only the source has, which `transfer` tells of.

    Args:
      modules: names of modules; empty for all.
      found: `{"params": ..., **extras}` of the source.
      variables: of the new run.
    """
    own = variables["params"]
    kept = {n: tree for n, tree in found["params"].items() if not modules or n in modules or n not in own}
    return {**found, "params": kept}


def transfer(source: RunReference, found: Tree, variables: Tree, log: Callable[[str], None]) -> Tree:
    """`variables` with every array that the source has replaced by the source's, by path.

    A model that shares an encoder with the source and has a head of its own is the normal case. The log has a line for
    every module: how many of its arrays were taken, are new, or stay unused in the source.

    Args:
      source: where the arrays come from, for messages.
      found: `{"params": ..., **extras}` of the source; the extras may be absent.
      variables: of the new run, `{"params": ..., **extras}`, on the devices.
      log: prints a line.

    Returns:
      A tree like `variables`, each array with its dtype and sharding.

    Raises:
      UserError: arrays of the same path have other shapes, or no parameter has a path of the model.
    """
    _check_shapes(source, found, variables)
    theirs, ours = named_leaves(found), named_leaves(variables)
    taken = theirs.keys() & ours.keys()
    log(f"warm start from {source}: {len(taken)} of {len(ours)} arrays")
    for line in _module_lines([*ours], [*theirs]):
        log(f"  {line}")

    def choose(path: tuple, leaf: jax.Array) -> jax.Array:
        name = path_name(path)
        return placed_like(theirs[name], leaf) if name in taken else leaf

    return jax.tree_util.tree_map_with_path(choose, variables)


def _check_shapes(source: RunReference, found: Tree, variables: Tree) -> None:
    """Raises UserError as `transfer` does; both trees may hold shapes in place of arrays."""
    theirs, ours = named_leaves(found), named_leaves(variables)
    misshaped = [
        f"{name} {tuple(theirs[name].shape)}, expected {tuple(leaf.shape)}"
        for name, leaf in ours.items()
        if name in theirs and theirs[name].shape != leaf.shape
    ]
    if misshaped:
        raise UserError(
            f"--init_from {source}: arrays have other shapes there than in this model: {'; '.join(misshaped)}. "
            f"Give this model the sizes (widths, vocabulary, number of classes) of {source.folder / CONFIG}."
        )
    if not any(name.startswith("params/") for name in theirs.keys() & ours.keys()):
        raise UserError(
            f"--init_from {source}: no parameter has a path of this model; it has {_some([*theirs])}, "
            f"expected {_some([*ours])}."
        )


def placed_like(array: jax.Array, own: jax.Array) -> jax.Array:
    """An array with the dtype and the sharding of another one."""
    return jax.device_put(array.astype(own.dtype), own.sharding)


class _Module(NamedTuple):
    """Names of arrays below a module's path: loaded, only in the new model, only in the source."""

    loaded: list[str]
    new: list[str]
    unused: list[str]

    def __str__(self) -> str:
        if not self.loaded and not self.new:
            return f"unused ({_arrays(len(self.unused))})"
        if not self.loaded:
            first = f"new ({_arrays(len(self.new))})"
        else:
            first = f"{len(self.loaded)} of {_arrays(len(self.loaded) + len(self.new))} loaded"
        more = [f"new: {_some(self.new)}"] if self.loaded and self.new else []
        more += [f"unused: {_some(self.unused)}"] if self.unused else []
        return "; ".join([first, *more])


def _module_lines(ours: Sequence[str], theirs: Sequence[str]) -> list[str]:
    """A line per module, in the order of the model and then of the source: `encoder: 62 of 62 arrays loaded`."""
    modules: dict[str, _Module] = {}
    known, there = set(ours), set(theirs)
    for name in dict.fromkeys([*ours, *theirs]):
        collection, *path = name.split("/")
        module = "/".join([collection, *path[:1]]).removeprefix("params/")
        within = "/".join(path[1:]) or name
        loaded, new, unused = modules.setdefault(module, _Module([], [], []))
        (loaded if name in known & there else new if name in known else unused).append(within)
    return [f"{module}: {arrays}" for module, arrays in modules.items()]


def _arrays(number: int) -> str:
    return f"{number} array{'' if number == 1 else 's'}"


def _some(names: list[str]) -> str:
    return ", ".join(sorted(names)[:3]) + (", ..." if len(names) > 3 else "")


def _is_run(folder: epath.Path) -> bool:
    return (folder / CONFIG).exists() and (folder / "checkpoints").exists()


def _check_source(source: RunReference, experiment: Experiment) -> None:
    """Raises UserError if there is nothing to start from."""
    if _is_run(source.folder):
        run_folder.refuse_links(source.folder)
        checkpoints = Checkpoints(source.folder / "checkpoints")
        choose_step(checkpoints, source)
    elif experiment.import_weights is None or not source.folder.exists():
        raise UserError(
            f"--init_from {source}: neither a run folder with checkpoints nor weights that this experiment can import."
        )


def _shapes(source: RunReference) -> Tree:
    """Shapes and dtypes of the `{"params": ..., **extras}` of a run."""
    checkpoints = Checkpoints(source.folder / "checkpoints")
    return checkpoints.model_shapes(choose_step(checkpoints, source))


def _load(source: RunReference, experiment: Experiment, mesh: Mesh) -> Tree:
    """The `{"params": ..., **extras}` of a run."""
    checkpoints = Checkpoints(source.folder / "checkpoints")
    step = choose_step(checkpoints, source)
    shapes = place(mesh, experiment.rules, checkpoints.model_shapes(step))
    return checkpoints.restore_model(step, shapes)


def _with_tokenizer_of(source: RunReference, config: Config) -> tuple[Config, str]:
    """(configuration, line for the log): with the tokenizer of the source, unless the configuration names one.

    Raises:
      UserError: it names another one, or that of the source cannot be read.
    """
    asked = tokenizer_config(config)
    if asked is None:
        return config, ""
    theirs = find_tokenizer(source.folder, asked.lowercase)
    if theirs is None:
        return (
            config,
            f"{source} has no tokenizer: the ids of its embeddings are read as those of this run's tokenizer",
        )
    trained = asked.tokenizer in TRAINED
    named = theirs.path if trained else epath.Path(asked.tokenizer).expanduser()
    if named.parent == theirs.path.parent:
        theirs = theirs._replace(path=named)  # weights may have two files of one tokenizer
    try:
        tokenizer = theirs.open()
    except UserError as error:
        raise UserError(
            f"--init_from {source}: its tokenizer cannot be read, and with another one its embeddings would stand for "
            f"other text. {error} To do that on purpose, give a folder of the weights without a tokenizer."
        ) from error
    if asked.tokenizer == Characters.kind != tokenizer.kind:
        raise UserError(
            f"--init_from {source}: its tokenizer is {describe(tokenizer)}, not data.tokenizer characters. Leave out "
            "--data.tokenizer to take the source's, or --init_from to start from scratch."
        )
    if trained:
        return with_tokenizer(config, theirs), f"tokenizer of {source}: {describe(tokenizer)}"
    ours = preprocessing(open_tokenizer(named, asked.lowercase))
    if changed := _differences(preprocessing(tokenizer), ours):
        raise UserError(
            f"--init_from {source}: its tokenizer {theirs.path} is not data.tokenizer {named}: {changed}. With the "
            "other one its embeddings would stand for other text. Leave out --data.tokenizer to take the source's, or "
            "--init_from to start from scratch."
        )
    return config, f"tokenizer of {source}: {describe(tokenizer)}"


def check_preprocessing(source: RunReference, ours: Mapping[str, str]) -> None:
    """Raises UserError if what the source says of its preprocessing is not what this run does.

    Weights say nothing here: `build_run` has compared their tokenizer.
    """
    theirs = run_folder.read_data(source.folder).preprocessing if _is_run(source.folder) else {}
    if changed := _differences(theirs, ours):
        raise UserError(
            f"--init_from {source}: its data was preprocessed in another way than that of this run: {changed}. Its "
            f"weights would be given something else than they have learnt on. Give the settings of the source (data in "
            f"{source.folder / CONFIG}), or leave out --init_from to start from scratch."
        )


def _differences(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """The keys that both have with other values, as `channels: 3 there, 1 here`; empty if there is none."""
    different = [name for name in theirs if name in ours and theirs[name] != ours[name]]
    return "; ".join(f"{name} {theirs[name]:.40} there, {ours[name]:.40} here" for name in different)
