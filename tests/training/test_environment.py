"""What a run says of the code that it was made with, and what it reads from the environment."""

import shutil
import subprocess
from pathlib import Path

import pytest

from ssl_jax.errors import UserError
from ssl_jax.training import distributed, environment


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=x", "-c", "user.email=x@x"]
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the file of the module in its place, which is taken for the code."""
    folder = tmp_path / "code"
    module = folder / "ssl_jax" / "training" / "environment.py"
    module.parent.mkdir(parents=True)
    (folder / "experiments").mkdir()
    shutil.copy(str(environment.__file__), module)
    monkeypatch.setattr(environment, "__file__", str(module))
    return folder


def test_files_that_differ_from_the_revision_are_named(code: Path) -> None:
    git(code, "init")
    git(code, "add", ".")
    git(code, "commit", "-m", "x")
    clean = environment.environment()
    assert len(clean["revision"]) == 40
    assert clean["uncommitted"] == []
    (code / "ssl_jax" / "training" / "environment.py").write_text("")
    (code / "experiments" / "mine.py").write_text("")
    (code / "thesis.tex").write_text("")  # no code
    dirty = environment.environment()
    assert dirty["revision"] == f"{clean['revision']}-dirty"
    assert dirty["uncommitted"] == ["ssl_jax/training/environment.py", "experiments/mine.py"]
    for number in range(60):
        (code / "ssl_jax" / f"{number}.py").write_text("")
    assert environment.environment()["uncommitted"][-1] == "and 12 more"


def test_code_in_no_repository_has_no_revision(code: Path) -> None:
    found = environment.environment()
    assert (found["revision"], found["uncommitted"]) == (None, None)


@pytest.mark.parametrize("value", ["abc", "-3", "99999999999999999999", ""])
def test_a_number_of_tasks_that_is_none_is_named(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_NTASKS", value)
    with pytest.raises(UserError, match=rf"SLURM_NTASKS is '{value}'; expected the number of tasks"):
        distributed.join("auto")
