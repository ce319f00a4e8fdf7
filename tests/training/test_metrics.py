"""The log of a run as it is read: damaged lines are named, and what it lacks is said."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ssl_jax.errors import UserError
from ssl_jax.training import metrics
from tests.training import toys

LINE = b'{"step": 1, "loss": 0.5, "timing": {"seconds": 1.0}}\n'


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (b"\0\0\0\n", "not JSON"),
        (b"\xff\n", "not JSON"),
        (b"{'step': 2}\n", "not JSON"),
        (b"[" * 100_000 + b"\n", "not JSON"),
        (b"\n", "not JSON"),
        (b"[2]\n", "not an object"),
        (b'{"loss": 0.5}\n', "step is not the number of a step"),
        (b'{"step": "2"}\n', "step is not the number of a step"),
        (b'{"step": true}\n', "step is not the number of a step"),
        (b'{"step": -1}\n', "step is not the number of a step"),
        (b'{"step": 2, "split": 3}\n', "split is not a name"),
        (b'{"step": 2, "timing": 3}\n', "timing is not an object"),
        (b'{"step": 2, "timing": {"seconds": "3"}}\n', "seconds is not a number"),
        (b'{"step": 2, "loss": null}\n', "loss is not a number"),
        (b'{"step": 2, "loss": [1]}\n', "loss is not a number"),
    ],
)
def test_a_damaged_line_is_named(line: bytes, named: str, tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(LINE + line + LINE)
    with pytest.raises(UserError, match=f"^{file} line 2: {named}.*remove the line"):
        metrics.read(tmp_path)


def test_a_last_line_that_was_cut_short_does_not_count(tmp_path: Path) -> None:
    assert metrics.read(tmp_path) == []
    (tmp_path / "metrics.jsonl").write_bytes(LINE + LINE[:20])
    assert metrics.read(tmp_path) == [{"step": 1, "loss": 0.5, "timing": {"seconds": 1.0}}]


def test_a_log_that_is_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(UserError, match=r"metrics\.jsonl cannot be read \(Is a directory\)"):
        metrics.read(tmp_path)


def test_what_a_log_lacks_and_holds_twice() -> None:
    lines = [{"step": 1}, {"step": 2}, {"step": 2}, {"step": 4, "split": "heldout"}]
    promised = [(1, None), (2, None), (4, "heldout")]
    assert metrics.irregular([lines[0], *lines[2:]], promised) is None
    assert metrics.irregular(lines, promised) == "it holds more than once step 2"
    assert metrics.irregular(lines[:2], promised) == "it lacks step 4 (heldout)"
    assert metrics.irregular([], [(step, None) for step in range(1, 51)]) == (
        "it lacks step 1, step 2, step 3, step 4, step 5, ..., step 50 (50 lines)"
    )


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed after its checkpoint 15, with a log of all 20 steps."""
    folder = tmp_path_factory.mktemp("interrupted") / "run"
    toys.train(toys.experiment(), folder)
    shutil.rmtree(folder / "checkpoints" / "20")
    return folder


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (lambda lines: [], r"lacks step 1, .*, step 10 \(heldout\) \(16 lines\)\."),
        (lambda lines: lines[:3] + lines[4:], r"lacks step 4\."),
        (lambda lines: [line for line in lines if b"split" not in line], r"lacks step 10 \(heldout\)\."),
        (lambda lines: lines[:1] + lines, r"holds more than once step 1\."),
        (lambda lines: lines, None),
    ],
    ids=["deleted", "a hole", "no evaluations", "doubled", "whole"],
)
def test_a_continued_run_says_what_its_log_lacks(
    kept: Callable[[list[bytes]], list[bytes]],
    said: str | None,
    interrupted: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    folder = tmp_path / "run"
    file = folder / "metrics.jsonl"
    shutil.copytree(interrupted, folder)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(kept(lines)))
    capsys.readouterr()
    assert toys.train(toys.experiment(), folder) == 0
    whole = toys.log(interrupted)
    found = [line for line in capsys.readouterr().out.splitlines() if "metrics.jsonl is not what" in line]
    if said is None:
        assert found == []
        assert toys.log(folder) == whole
    else:
        (line,) = found
        assert line.startswith(f"{file} is not what the run wrote up to step 15: it ")
        assert re.search(said, line)
        assert toys.log(folder)[-6:] == whole[-6:]  # what came after the checkpoint is written as ever
