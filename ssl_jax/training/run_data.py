"""Opens the data of a run, on all hosts, and makes the run folder its own."""

from collections.abc import Mapping
from typing import Any

from etils import epath

from ssl_jax.errors import UserError
from ssl_jax.files import draft_folder
from ssl_jax.training import folder as run_folder
from ssl_jax.training.distributed import on_main, same_everywhere
from ssl_jax.training.experiment import Data, Experiment


def open_run_data(experiment: Experiment, folder: epath.Path, settings: Mapping[str, Any]) -> Data:
    """Opens the data; process 0 first, which trains the tokenizer and fills the caches that the others read.

    The folder becomes this run's when all has been checked: until then, what the data of a new run writes (the
    tokenizer) is in a draft.

    Args:
      experiment: of the run.
      folder: of the run.
      settings: of the run; see `train`.

    Raises:
      UserError: the data cannot be opened or is empty, the folder belongs to something else, or the hosts see different
        data.
    """

    def first() -> Data:
        run_folder.check_claim(folder, settings)
        if run_folder.begun(folder, settings):
            data = _checked(open_again(experiment, folder), folder)
            run_folder.claim(folder, settings)
            return data
        with draft_folder(folder) as draft:
            data = _checked(experiment.open_data(draft), folder)
            run_folder.claim(folder, settings, draft)
        run_folder.write_data(folder, run_folder.SavedData(data.identity, data.preprocessing))
        return data

    data = on_main(first) or _checked(experiment.open_data(folder), folder)
    if not same_everywhere(data.identity):
        raise UserError(f"{folder}: the hosts see different data; use a --workdir that all of them share.")
    return data


def open_again(experiment: Experiment, folder: epath.Path) -> Data:
    """The data of a run that has begun.

    Raises:
      UserError: it cannot be opened any more, or is not what the run was started with.
    """
    try:
        data = experiment.open_data(folder)
    except UserError as error:
        raise UserError(
            f"{error} The run {folder} was started with this data; if it lies elsewhere now, give its place, such as "
            "--data.source PATH."
        ) from error
    run_folder.check_data(folder, data.identity)
    return data


def _checked(data: Data, folder: epath.Path) -> Data:
    """The data. Raises UserError if there is none."""
    datasets = [("training", dataset) for dataset in data.train]
    datasets += [named for splits in data.heldout for named in splits.items()]
    for name, dataset in datasets:
        if len(dataset) == 0:
            raise UserError(f"{folder}: the {name} data is empty; give more data.")
    return data
