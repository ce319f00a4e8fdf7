"""Studies of several runs: one table, whatever happened on the way to it."""

import json
import re
import signal
from dataclasses import replace

import jax
import matplotlib.image
import pytest
from etils import epath

from experiments import minimal
from ssl_jax import replay
from ssl_jax.errors import UserError
from ssl_jax.runs.opening import open_run
from ssl_jax.runs.prerequisites import PlannedRun
from ssl_jax.runs.reference import RunReference
from ssl_jax.runs.study import Study, load_study, run_study, study_settings
from tests import processes, toy_study

NAMES = ["noise-0.1", "noise-0.3"]


def run(folder, preset="digits", **changed):
    config = replace(toy_study.PRESETS[preset], **changed)
    settings = study_settings("tests.toy_study", preset, config)
    return run_study(toy_study.study(config), epath.Path(folder), settings)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished study."""
    folder = tmp_path_factory.mktemp("study") / "toy"
    assert run(folder) == 0
    return folder


def results(folder):
    """The files of a study that do not depend on the clock."""
    files = {name: (folder / name).read_text() for name in ("errors.txt", "errors.json", "config.json")}
    return files | {name: processes.log(folder / name) for name in NAMES}


def test_a_table_and_plots_of_ordinary_runs(finished):
    values = json.loads((finished / "errors.json").read_text())
    assert list(values) == NAMES
    for name, row in values.items():
        assert row == pytest.approx(
            {"reconstruction_loss": processes.log(finished / name)[-1]["reconstruction_loss"]}
        )
        assert (
            json.loads((finished / name / "config.json").read_text())["experiment"] == "experiments.minimal"
        )
        assert (finished / name / "plots" / "loss.png").exists(), "each run makes its own report"
    lines = (finished / "errors.txt").read_text().splitlines()
    assert [line.split(":")[0] for line in lines] == NAMES
    assert matplotlib.image.imread(finished / "plots" / "errors.png")[..., :3].std() > 0.05


def test_finished_runs_are_not_trained_again(finished, capsys):
    before = results(finished)
    written = [(finished / name / "checkpoints" / "40").stat().st_mtime_ns for name in NAMES]
    (finished / "errors.txt").unlink()
    assert run(finished) == 0
    out = capsys.readouterr().out
    for number, name in enumerate(NAMES, 1):
        assert f"\nrun {number} of 2: {name}\n{finished / name}: already finished\n" in out
    assert "continuing" not in out
    assert before["errors.txt"] in out
    assert results(finished) == before
    assert [(finished / name / "checkpoints" / "40").stat().st_mtime_ns for name in NAMES] == written


def test_killed_in_the_second_run_and_continued_it_gives_the_same_table(tmp_path):
    def start(folder):
        return processes.start("tests.toy_study", ["long"], folder, devices=jax.device_count())

    assert run(tmp_path / "undisturbed", "long") == 0
    folder = tmp_path / "killed"
    process = start(folder)
    processes.wait_until(process, lambda: (folder / NAMES[1] / "checkpoints" / "100").exists())
    process.kill()
    process.communicate()
    assert not (folder / "errors.json").exists()

    process = start(folder)
    seen = processes.last_step(folder / NAMES[1])
    processes.wait_until(process, lambda: processes.last_step(folder / NAMES[1]) > seen)
    process.send_signal(signal.SIGTERM)
    code, out, err = processes.finish(process)
    assert (code, err) == (128 + signal.SIGTERM, ""), out
    assert f"{folder / NAMES[0]}: already finished" in out
    assert re.search(r"noise-0\.3: continuing at step \d00 of 400", out)

    code, out, err = processes.finish(start(folder))
    assert (code, err) == (0, "")
    assert results(folder) == results(tmp_path / "undisturbed")


def test_another_configuration_is_refused_with_the_differences(finished):
    before = results(finished)
    other = replace(toy_study.Config().each, width=9)
    with pytest.raises(UserError, match=r"\(old -> new\): each\.width: \d+ -> 9") as refused:
        run(finished, each=other)
    assert "init_from" not in str(refused.value)
    assert results(finished) == before


def test_a_run_that_exists_is_compared_as_it_is(finished, tmp_path):
    existing = f"{finished / NAMES[0]}@20"
    assert run(tmp_path / "new", noises=(), runs=(existing,)) == 0
    values = json.loads((tmp_path / "new" / "errors.json").read_text())
    logged = {line["step"]: line for line in processes.log(finished / NAMES[0]) if "split" in line}
    assert values == {existing: {"reconstruction_loss": pytest.approx(logged[20]["reconstruction_loss"])}}
    assert not (tmp_path / "new" / NAMES[0]).exists()


def test_a_run_starts_from_a_checkpoint_of_another_one_of_the_study(tmp_path, capsys):
    first = PlannedRun(minimal.__name__, "digits", replace(toy_study.Config().each, steps=20))
    second = first._replace(config=replace(first.config, noise=0.1), init_from="first@10")
    study = Study("errors", {"first": first, "second": second}, toy_study.tabulate, toy_study.plot)
    folder = epath.Path(tmp_path / "study")
    settings = study_settings("tests.toy_study", "digits", toy_study.Config())
    assert run_study(study, folder, settings) == 0
    assert f"warm start from {folder / 'first@10'}: " in capsys.readouterr().out
    assert json.loads((folder / "second" / "config.json").read_text())["init_from"] == str(
        folder / "first@10"
    )

    assert run_study(study, folder, settings) == 0
    out = capsys.readouterr().out
    assert [f"{folder / name}: already finished" in out for name in study.runs] == [True, True]


def test_a_source_that_is_not_there_is_missed_before_anything_is_trained(tmp_path):
    first = PlannedRun(minimal.__name__, "digits", replace(toy_study.Config().each, steps=10))
    second = first._replace(init_from=f"{tmp_path}/absent")
    study = Study("errors", {"first": first, "second": second}, toy_study.tabulate, toy_study.plot)
    settings = study_settings("tests.toy_study", "digits", toy_study.Config())
    with pytest.raises(UserError, match="absent: neither a run folder with checkpoints nor weights"):
        run_study(study, epath.Path(tmp_path / "study"), settings)
    assert not (tmp_path / "study" / "first").exists()


def test_the_folder_of_a_study_is_no_run(finished):
    with pytest.raises(
        UserError, match=r"holds a study of several runs; name one of them: noise-0\.1, noise-0\.3"
    ):
        open_run(RunReference(epath.Path(finished)))
    assert load_study(epath.Path(finished / NAMES[0])) is None


def test_replay_evaluates_each_run(finished, tmp_path, capsys):
    assert replay.main([str(finished), "--output", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert [f"{finished / name}:" in out for name in NAMES] == [True, True]
    assert out.count("4 of 4 metrics equal those logged at training time") == 2


def test_help_has_the_options_of_studies():
    code, out, err = processes.run("tests.toy_study", ["--help-all"])
    assert (code, err) == (0, "")
    assert {"--workdir", "--hosts", "--noises", "--each.steps"} <= {*out.split()}
    assert not {"--init_from", "--profile"} & {*out.split()}
