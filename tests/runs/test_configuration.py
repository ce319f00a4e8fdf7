"""Configurations through their JSON, by the types of their fields."""

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

import pytest
from etils import epath
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import bert, minimal, simclr
from ssl_jax.domains import NonNegativeFloat, PositiveInt, Settings, Text, Width
from ssl_jax.errors import UserError
from ssl_jax.runs.configuration import read_run, restore_config, run_settings


@dataclasses.dataclass(frozen=True)
class Group(Settings):
    """Has a field without a default, so that there is no example of it to start from."""

    pattern: Text
    rate: NonNegativeFloat = 1.0


@dataclasses.dataclass(frozen=True)
class Wide(Group):
    width: Width = 8


@dataclasses.dataclass(frozen=True)
class Example(Settings):
    groups: tuple[Group, ...] = ()
    pair: tuple[Group, PositiveInt] | None = None
    one: Group | None = None
    sizes: tuple[Width, ...] | None = None
    deep: tuple[tuple[Group, ...], ...] = ()
    views: tuple[Group, ...] = (Group("a"), Wide("b"))
    kind: Literal["x", "y"] = "x"
    width: Width = 8
    noise: NonNegativeFloat = 0.5


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
    with pytest.raises(
        UserError,
        match=r"^config\.json: config\.groups\.0: fields rate, ratio do not fit Group of this version",
    ):
        restore_config(Example(), stored)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("width", "32", "width '32': expected an integer from 1 to"),
        ("width", True, "width True: expected an integer"),
        ("width", 8.0, r"width 8\.0: expected an integer"),
        ("width", None, "width None: expected an integer"),
        ("width", [8], r"width \[8\]: expected an integer"),
        ("width", 0, "width 0: expected an integer from 1 to"),
        ("noise", False, "noise False: expected a number x"),
        ("noise", 10**400, "noise 1000"),
        ("noise", float("nan"), "noise nan: expected a number x"),
        ("sizes", 3, "sizes 3: expected any number of values, each an integer from 1 to .* or None"),
        ("sizes", [1, "2"], "sizes '2': expected an integer"),
        ("groups", None, "groups None: expected any number of values"),
        ("groups", [3], "groups 3: expected Group"),
        ("groups", [{"pattern": 1, "rate": 1.0}], r"groups\.0\.pattern 1: expected text"),
        ("pair", [{"pattern": "a", "rate": 1.0}], "pair .*: expected 2 values"),
        ("one", [], r"one \[\]: expected Group or None"),
        ("kind", "z", "kind 'z': expected one of x, y"),
        ("kind", ["x"], r"kind \['x'\]: expected one of x, y"),
    ],
)
def test_a_value_of_another_type_is_named_with_its_key(name: str, value: object, expected: str) -> None:
    stored = json.loads(json.dumps(dataclasses.asdict(Example()))) | {name: value}
    with pytest.raises(UserError, match=rf"^runs/x/config\.json: config\.{expected}"):
        restore_config(Example(), stored, "runs/x/config.json")


@pytest.mark.parametrize("value", [0, 2, 0.5])
def test_a_number_may_be_written_as_an_integer(value: float) -> None:
    assert restore_config(Example(), dataclasses.asdict(Example()) | {"noise": value}).noise == value


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def places(content: object) -> list[tuple[Any, Any]]:
    """(container, key) of every value in a JSON."""
    keys = content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    found = [(content, key) for key in keys]
    return found + [place for key in keys for place in places(content[key])]


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> epath.Path:
    return epath.Path(tmp_path_factory.mktemp("damaged"))


@given(st.data())
@settings(max_examples=200)
def test_any_change_of_config_json_is_refused_or_understood(damaged: epath.Path, data: st.DataObject) -> None:
    """Values are replaced, removed and added anywhere, and bytes are changed."""
    default = SETTINGS_OF[data.draw(st.sampled_from(sorted(SETTINGS_OF)))]
    content = json.loads(json.dumps(default))
    container, key = data.draw(st.sampled_from(places(content)))
    action = data.draw(st.sampled_from(["replace", "remove", "add", "byte", "cut"]))
    if action == "replace":
        container[key] = data.draw(JSON_VALUES)
    elif action == "remove":
        del container[key]
    elif action == "add" and isinstance(container, dict):
        container[data.draw(st.text(max_size=3))] = data.draw(JSON_VALUES)
    written = bytearray(json.dumps(content).encode())
    if action == "byte":
        written[data.draw(st.integers(0, len(written) - 1))] = data.draw(st.integers(0, 255))
    elif action == "cut":
        del written[data.draw(st.integers(0, len(written) - 1)) :]
    (damaged / "config.json").write_bytes(bytes(written))
    try:
        found, problem = as_json(dataclasses.asdict(read_run(damaged).config)), ""
    except UserError as error:
        found, problem = None, str(error)
    if found is None:
        assert str(damaged) in problem
        assert "\n" not in problem
    else:
        assert found == as_json(json.loads(written)["config"])


def as_json(config: dict[str, Any]) -> str:
    """A text that is the same for equal configurations; NaN, too, is equal to itself."""
    return json.dumps(config, sort_keys=True)


SETTINGS_OF = {
    module.__name__: run_settings(module.__name__, "digits", next(iter(module.PRESETS.values())))
    for module in (minimal, simclr, bert)
}


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
