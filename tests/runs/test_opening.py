"""A run folder opened for reading."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from etils import epath

from experiments import minimal
from ssl_jax.errors import UserError
from ssl_jax.runs.opening import open_run
from ssl_jax.runs.prerequisites import PlannedRun, train_run
from ssl_jax.runs.reference import RunReference

TRAIN = replace(minimal.Config().train, log_every=1, eval_every=2, save_every=2, keep_latest=9)
CONFIG = replace(minimal.Config(), steps=4, train=TRAIN)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> epath.Path:
    folder = epath.Path(tmp_path_factory.mktemp("opening") / "run")
    train_run(PlannedRun("experiments.minimal", "digits", CONFIG), folder)
    return folder


def test_the_checkpoint_that_is_meant_and_the_others(folder: epath.Path) -> None:
    newest, second = open_run(RunReference(folder)), open_run(RunReference(folder, 2))
    assert (newest.step, second.step, newest.config) == (4, 2, CONFIG)
    assert newest.settings["experiment"] == "experiments.minimal"
    kernel = second.restore()["params"]["encoder"]
    np.testing.assert_array_equal(newest.restore(2)["params"]["encoder"], kernel)
    assert (newest.restore()["params"]["encoder"] != kernel).any()


def test_what_cannot_be_opened_is_named(folder: epath.Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no checkpoint of step 3; there are 2, 4\."):
        open_run(RunReference(folder, 3))
    with pytest.raises(
        UserError, match=r"is a run of experiments\.minimal; expected one of experiments\.bert\."
    ):
        open_run(RunReference(folder), "experiments.bert")
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(UserError, match="has no complete checkpoint"):
        open_run(RunReference(epath.Path(tmp_path)))


def test_data_is_opened_when_it_is_asked_for_and_compared_with_that_of_the_run(folder: epath.Path) -> None:
    kept = (folder / "data.json").read_text()
    (folder / "data.json").write_text(json.dumps({"corpus": 64 * "a", "preprocessing": {}}))
    try:
        run = open_run(RunReference(folder))
        assert run.restore()["params"]
        with pytest.raises(
            UserError, match=r"what this run was started with .*corpus: 'aaaaaaaa\.\.\.' -> None"
        ):
            _ = run.data
    finally:
        (folder / "data.json").write_text(kept)


def test_data_that_has_been_moved(folder: epath.Path) -> None:
    def moved(folder: epath.Path) -> None:
        raise UserError("data source 'photos': no such file or folder.")

    run = open_run(RunReference(folder))
    run = replace(run, experiment=run.experiment._replace(open_data=moved))
    with pytest.raises(UserError, match=r"'photos': no such .* lies elsewhere now, .* --data\.source PATH"):
        _ = run.data
