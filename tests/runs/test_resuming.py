"""Runs that are shared: resumed with their own settings, copied, forked, and started from a file of settings."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from etils import epath

from experiments import bert, minimal, simclr
from ssl_jax import cli
from ssl_jax.errors import UserError
from ssl_jax.runs.config_file import read_config_file
from ssl_jax.runs.configuration import run_settings
from ssl_jax.runs.opening import DataPlaces, open_run
from ssl_jax.runs.reference import RunReference
from ssl_jax.runs.resuming import copy_whole_run
from ssl_jax.runs.warm_start import build_run
from ssl_jax.training import loop
from tests.training import toys

MODULE = "experiments.minimal"
TRAIN = replace(minimal.Config().train, log_every=1, eval_every=2, save_every=2, keep_every=2)
CONFIG = replace(minimal.Config(), steps=6, noise=0.2, train=TRAIN)


def train(
    folder: Path, config: minimal.Config, init_from: str | None = None, with_optimizer: bool = False
) -> None:
    """What the command line does with these settings."""
    settings = run_settings(MODULE, "digits", config, init_from, with_optimizer)
    experiment = build_run(minimal.build, config, epath.Path(folder), init_from, with_optimizer)
    assert loop.train(experiment, epath.Path(folder), settings) == 0


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with checkpoints 2, 4 and 6."""
    folder = tmp_path_factory.mktemp("resuming") / "run"
    train(folder, CONFIG)
    return folder


def parse(*words: object) -> cli.Invocation:
    return cli.parse([*map(str, words)], minimal.PRESETS, f"python -m {MODULE}")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_resumed_run_has_its_own_settings_and_those_that_are_given(run: Path) -> None:
    asked = parse("--resume", run, "--steps", 9)
    assert asked.config == replace(CONFIG, steps=9)
    assert (asked.preset, asked.options.workdir, asked.options.init_from) == ("digits", str(run), None)
    assert parse(f"--resume={run}", "--workdir", "copy").options.workdir == "copy"


def test_what_a_resumed_run_began_with_is_kept(run: Path, tmp_path: Path) -> None:
    forked = shutil.copytree(run, tmp_path / "forked")
    settings = json.loads((forked / "config.json").read_text())
    began = {"init_from": "elsewhere@2", "with_optimizer": True}
    (forked / "config.json").write_text(json.dumps(settings | began))
    options = parse("--resume", forked).options
    assert (options.init_from, options.with_optimizer) == ("elsewhere@2", True)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["digits", "--resume", "RUN"], "has settings of its own; leave out the preset digits"),
        (["--resume", "RUN", "--config", "x.json"], r"leave out --config x\.json"),
        (["--resume", "RUN@2"], r"its newest checkpoint.*--init_from RUN@2 --with_optimizer"),
        (["--resume", "nowhere"], "not a run folder"),
        (["--with_optimizer"], r"name the checkpoint with --init_from RUN@STEP"),
    ],
)
def test_what_cannot_be_resumed(words: list[str], named: str, run: Path) -> None:
    with pytest.raises(UserError, match=named.replace("RUN@2", f"{run}@2")):
        parse(*(word.replace("RUN", str(run)) for word in words))


def test_the_command_of_another_experiment_is_named(run: Path) -> None:
    for option in (["--resume", str(run)], ["--config", str(run / "config.json")]):
        with pytest.raises(
            UserError, match=rf"is of {MODULE}; the command is python -m {MODULE} {option[0]}"
        ):
            cli.parse(option, bert.PRESETS, "python -m experiments.bert")


def test_a_copy_is_whole_and_goes_on_while_the_original_stays(run: Path, tmp_path: Path, capsys) -> None:
    for name in (
        ".lock",
        "damaged/8/x",
        f".draft.{'0' * 32}",
    ):  # what belongs to the other process, or is worthless
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("x")
    before = contents(run)
    copy = epath.Path(tmp_path / "copy")
    assert copy_whole_run(epath.Path(run), copy)
    assert contents(Path(copy)) == {n: c for n, c in before.items() if c != b"x"}
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]
    train(Path(copy), replace(CONFIG, steps=8))
    assert "continuing at step 6 of 8, with steps: 6 -> 8" in capsys.readouterr().out
    assert contents(run) == before
    assert not copy_whole_run(epath.Path(run), copy)  # the same command again goes on with the copy
    assert json.loads((copy / "config.json").read_text())["config"]["steps"] == 8


def test_a_copy_into_something_else_or_of_a_run_that_changes_is_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="not empty and not a run folder"):
        copy_whole_run(epath.Path(run), epath.Path(tmp_path / "mine"))

    def gone(*_: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr("ssl_jax.runs.resuming.copy_file", gone)
    with pytest.raises(UserError, match="changed while it was copied"):
        copy_whole_run(epath.Path(run), epath.Path(tmp_path / "copy"))
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]  # and no draft


def test_a_fork_with_the_same_settings_is_the_same_run(run: Path, tmp_path: Path, capsys) -> None:
    """The optimizer's moments, the number of steps, the order of the data and the noise go on."""
    train(tmp_path / "fork", CONFIG, f"{run}@4", with_optimizer=True)
    assert f"starting from {run}@4 with its optimizer, at step 4 of 6" in capsys.readouterr().out
    assert toys.log(tmp_path / "fork") == [
        line for line in toys.log(run) if line["step"] > 4 or (line["step"] == 4 and "split" in line)
    ]
    train(tmp_path / "weights", replace(CONFIG, steps=2), f"{run}@4")
    assert toys.log(tmp_path / "weights")[-1] != toys.log(run)[-1]
    train(tmp_path / "fork", CONFIG, f"{run}@4", with_optimizer=True)  # the same command again
    assert "is not what the run wrote" not in capsys.readouterr().out


def test_a_fork_may_have_other_settings(run: Path, tmp_path: Path) -> None:
    train(tmp_path / "fork", replace(CONFIG, noise=0.5, steps=5), f"{run}@4", with_optimizer=True)
    settings = json.loads((tmp_path / "fork" / "config.json").read_text())
    assert (settings["with_optimizer"], settings["config"]["noise"]) == (True, 0.5)
    assert open_run(RunReference(epath.Path(tmp_path / "fork"))).step == 5


@pytest.mark.parametrize(
    ("source", "config", "named"),
    [
        ("", CONFIG, r"name the checkpoint of a run, as in --init_from .*@1000"),
        ("@3", CONFIG, r"has no checkpoint of step 3; there are 2, 4, 6"),
        ("@6", CONFIG, r"has finished 6 steps, and this run ends after 6; give more --steps"),
        (
            "@4",
            replace(CONFIG, width=8),
            r"needs its model.*Without --with_optimizer, only weights are taken",
        ),
    ],
)
def test_what_cannot_be_forked(
    source: str, config: minimal.Config, named: str, run: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=named):
        train(tmp_path / "fork", config, f"{run}{source}", with_optimizer=True)
    assert list(tmp_path.iterdir()) == []


def test_more_steps_must_not_move_steps_that_are_done_into_another_phase(tmp_path: Path) -> None:
    base = bert.PRESETS["base"]
    schedule = replace(base.schedule, warmup_steps=10)
    config = replace(base, steps=100, schedule=schedule)  # 90 of the first phase
    folder = epath.Path(tmp_path)
    (folder / "config.json").write_text(json.dumps(run_settings("experiments.bert", "base", config)))
    (folder / "data.json").write_text("{}")
    (folder / "checkpoints" / "80").mkdir(parents=True)
    build_run(bert.build, replace(config, steps=200), folder)
    (folder / "checkpoints" / "95").mkdir()
    with pytest.raises(
        UserError, match=r"boundary of the phases of 90 and 10 steps, and the run is at step 95"
    ):
        build_run(bert.build, replace(config, steps=200), folder)
    build_run(bert.build, config, folder)


def test_a_file_has_all_settings_of_a_run_or_a_few_fields(run: Path, tmp_path: Path) -> None:
    asked = parse("--config", run / "config.json", "--noise", 0.1)
    assert asked.config == replace(CONFIG, noise=0.1)
    assert (asked.preset, asked.options.workdir) == ("digits", "runs/minimal-digits")
    file = tmp_path / "few.yaml"
    file.write_text("steps: 30\nschedule:\n  learning_rate: 1e-3\ntrain: {batch_size: 8}\n")
    config = parse("--config", file, "digits", "--steps", 40).config
    default = minimal.PRESETS["digits"]
    assert config == replace(
        default,
        steps=40,
        schedule=replace(default.schedule, learning_rate=1e-3),
        train=replace(default.train, batch_size=8),
    )
    with pytest.raises(UserError, match="leave out the preset digits"):
        parse("digits", "--config", run / "config.json")


def test_sections_of_a_list_are_filled_up_from_the_preset(tmp_path: Path) -> None:
    preset = simclr.PRESETS["digits"]
    file = tmp_path / "views.json"
    file.write_text('{"views": [{"flip": 0.5}, {}, {"size": 4}]}')
    views = read_config_file(str(file), "experiments.simclr", preset).config.views
    first, second = preset.views
    assert views == (replace(first, flip=0.5), second, replace(second, size=4))


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("a.yaml", "train: {sed: 3}", r"no field train\.sed; did you mean train\.seed"),
        ("a.yaml", "train: {seed: -1}", r"config\.train\.seed -1: expected"),
        ("a.yaml", "train: 3", r"a\.yaml: config\.train"),
        ("a.yaml", "- 3", "is not a dict"),
        ("a.yaml", "a: [", "not YAML"),
        ("a.yaml", "a: &x {b: 1}\nc: *x", "aliases are not read"),
        ("a.yaml", "steps: 2026-01-01", "not YAML"),
        ("a.yaml", "a: !!python/object/apply:os.system ['true']", "not YAML"),
        ("a.json", "{", "not JSON"),
        ("a.toml", "a = 1", r"ends with \.json, \.yaml or \.yml"),
        ("missing.yml", None, "no such file"),
    ],
)
def test_a_bad_file_of_settings_is_named(name: str, text: str | None, named: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=named):
        read_config_file(str(tmp_path / name), MODULE, CONFIG)


def test_the_data_of_a_run_may_be_elsewhere(run: Path) -> None:
    places = DataPlaces(source="there", probe_source="here")
    preset = simclr.PRESETS["digits"]
    config = places.put_into(preset, epath.Path(run))
    assert config == replace(preset, data=replace(preset.data, source="there", probe_source="here"))
    with pytest.raises(UserError, match=r"--data\.source: the run .* reads no such data"):
        open_run(RunReference(epath.Path(run)), places=places)
    assert open_run(RunReference(epath.Path(run)), places=DataPlaces()).step == 6
