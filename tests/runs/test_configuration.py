"""Configurations through their JSON, by the types of their fields."""

import dataclasses
import json
from pathlib import Path
from typing import Literal

import pytest
from etils import epath

from experiments import minimal
from ssl_jax.errors import UserError
from ssl_jax.runs.configuration import read_run, restore_config, run_settings


@dataclasses.dataclass(frozen=True)
class Group:
    """Has a field without a default, so that there is no example of it to start from."""

    pattern: str
    rate: float = 1.0


@dataclasses.dataclass(frozen=True)
class Wide(Group):
    width: int = 8


@dataclasses.dataclass(frozen=True)
class Example:
    groups: tuple[Group, ...] = ()
    pair: tuple[Group, int] | None = None
    one: Group | None = None
    sizes: tuple[int, ...] | None = None
    deep: tuple[tuple[Group, ...], ...] = ()
    views: tuple[Group, ...] = (Group("a"), Wide("b"))
    kind: Literal["x", "y"] = "x"


@pytest.mark.parametrize(
    "config",
    [
        Example(),
        Example(groups=(Group("bias$", 0.5), Group("^encoder/"))),
        Example(pair=(Group("bias$"), 3), one=Group("scale$"), sizes=(1, 2), kind="y"),
        Example(deep=((Group("a"), Group("b")), (), (Group("c"),))),
        Example(views=(Group("c"), Wide("d", width=3), Wide("e"))),
        Example(views=()),
    ],
)
def test_configurations_come_back_from_their_json(config: Example) -> None:
    """Where the default has no element to follow, the annotation tells the type; where it has, its own type counts."""
    stored = json.loads(json.dumps(dataclasses.asdict(config)))
    assert restore_config(Example(), stored) == config
    assert restore_config(Example(), dataclasses.asdict(config)) == config


def test_a_field_that_is_not_known_is_named_with_its_configuration() -> None:
    stored = dataclasses.asdict(Example(groups=(Group("a"),)))
    stored["groups"][0]["ratio"] = stored["groups"][0].pop("rate")
    with pytest.raises(UserError, match="fields rate, ratio do not fit Group of this version"):
        restore_config(Example(), stored)


def saved(folder: Path, **settings: object) -> epath.Path:
    content = run_settings("experiments.minimal", "digits", minimal.PRESETS["digits"]) | settings
    (folder / "config.json").write_text(json.dumps(content))
    return epath.Path(folder)


def test_runs_of_another_experiment_and_studies_are_refused_by_name(tmp_path: Path) -> None:
    assert read_run(saved(tmp_path), "experiments.minimal").config == minimal.PRESETS["digits"]
    with pytest.raises(
        UserError, match=r"is a run of experiments\.minimal; expected one of experiments\.vqvae\."
    ):
        read_run(epath.Path(tmp_path), "experiments.vqvae")
    study = saved(tmp_path, experiment="experiments.bart_noises", preset="tiny")
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        saved(tmp_path / name)
    with pytest.raises(UserError, match=r"holds a study of several runs; name one of them: a, b\."):
        read_run(study)
    with pytest.raises(UserError, match="not a run folder"):
        read_run(epath.Path(tmp_path / "nowhere"))
