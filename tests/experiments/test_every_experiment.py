"""Every experiment in small: two steps, an evaluation, a checkpoint, a continuation from it, and the report."""

import math
import shutil

import pytest

from ssl_jax.runs.listing import experiment_names, import_experiment
from ssl_jax.training import loop
from tests import processes
from tests.cases import SMALL, length

NAMES = [name.removeprefix("experiments.") for name in experiment_names()]
STUDIES = [name for name in NAMES if hasattr(import_experiment(f"experiments.{name}"), "study")]
RUNS = [name for name in NAMES if name not in STUDIES]
TWO_STEPS = [
    *length(2, 1),
    *("--train.log_every", 1, "--train.eval_every", 2, "--train.save_every", 1, "--train.keep_every", 2),
]
SHOWN_WITHOUT_REPORT = {"minimal"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder for the files that the experiments read; the text is tokenized once for all of one vocabulary."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_JAX_CACHE", str(folder / "cache"))
        yield folder


@pytest.mark.parametrize("name", RUNS)
def test_an_experiment_trains_continues_and_reports(name, command, data, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    arguments = [*SMALL[name](data), *TWO_STEPS, "--workdir", folder]
    with monkeypatch.context() as ended:  # as if it was killed after its last step, before the report
        ended.setattr(loop.Run, "_report", lambda run: None)
        code, _, error = command(name, *arguments)
    assert (code, error) == (0, "")
    wanted = processes.log(folder)
    assert [line["step"] for line in wanted] == [1, 2, 2]
    assert ["split" in line for line in wanted] == [False, False, True]
    numbers = {key: value for line in wanted for key, value in line.items() if isinstance(value, float)}
    assert all(map(math.isfinite, numbers.values())), numbers

    shutil.rmtree(folder / "checkpoints" / "2")
    code, out, error = command(name, *arguments)
    assert (code, error) == (0, "")
    assert f"{folder}: continuing at step 1 of 2" in out
    assert processes.log(folder) == wanted
    assert "nan" not in out
    assert (folder / "checkpoints" / "2").exists()
    assert list((folder / "plots").glob("*.png"))


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_has_tests_of_its_own(name):
    tests = processes.ROOT / "tests" / "experiments" / "test_studies.py"
    assert f"run({name}, " in tests.read_text()
