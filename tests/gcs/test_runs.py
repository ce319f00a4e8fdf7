"""Run folders on gs://: a run there is the run that it would be in a local folder, whatever happens to it."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from etils import epath

from ssl_jax import report
from ssl_jax.errors import UserError
from ssl_jax.training import growing
from ssl_jax.training.checkpoint_writer import CheckpointWriter
from ssl_jax.training.checkpoints import Checkpoints
from tests.bucket import Storage, until
from tests.training import toys

RUN = epath.Path("gs://bucket/runs/[x]")
NAME = "runs/[x]"


def log(storage: Storage, name: str = NAME) -> list[dict]:
    lines = map(json.loads, storage.read(f"{name}/metrics.jsonl").splitlines())
    return [{name: value for name, value in line.items() if name != "timing"} for line in lines]


def steps(storage: Storage, folder: str = "checkpoints") -> set[str]:
    return {name.split("/")[3] for name in storage.names(f"{NAME}/{folder}/")}


def data_file(storage: Storage, step: int) -> str:
    """The object that holds the model's arrays."""
    names = storage.names(f"{NAME}/checkpoints/{step}/model/")
    return max((name for name in names if "/d/" in name), key=lambda name: len(storage.read(name)))


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """The log of the same run in a local folder."""
    folder = tmp_path_factory.mktemp("local") / "run"
    assert toys.train(toys.experiment(), folder) == 0
    return toys.log(folder)


def test_a_run_is_the_same_as_in_a_local_folder(
    storage: Storage, local: list[dict], capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    for _ in range(2):  # to its end, then continued there
        assert toys.train(toys.experiment(), RUN) == 0
        assert log(storage) == local
        assert steps(storage) == {"15", "20"}
    assert "continuing at step 20 of 20" in capsys.readouterr().out
    assert {name.split("/")[2] for name in storage.names(NAME)} == {
        *("checkpoints", "config.json", "data.json", "environment.json"),
        *("metrics.jsonl", "plots", "tensorboard", "wall_time.json"),
    }
    assert report.main([str(RUN), "--output", str(page)]) == 0
    assert "finished at step 20 of 20" in page.read_text()
    with pytest.raises(UserError, match=r"another configuration; nothing was touched.*seed: None -> 1"):
        toys.train(toys.experiment(), RUN, {"config": {"seed": 1}})
    assert Checkpoints(RUN / "checkpoints").steps() == [15, 20]


def test_the_log_is_sent_on_a_clock(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """No checkpoint is due while the first evaluation waits for the log to arrive."""
    monkeypatch.setattr(growing, "SENT_EVERY", 0.02)

    def arrived() -> None:
        until(lambda: len(log(storage)) >= 10)

    experiment = toys.experiment(train={"save_every": 100}, on_evaluate=arrived)
    assert toys.train(experiment, RUN) == 0
    assert len(log(storage)) == 22


def truncate(storage: Storage, name: str) -> None:
    storage.put(name, storage.read(name)[:-20])


def flip(storage: Storage, name: str) -> None:
    content = bytearray(storage.read(name))
    content[len(content) // 2] ^= 0xFF
    storage.put(name, bytes(content))


def remove(storage: Storage, name: str) -> None:
    storage.delete(name, {})


@pytest.fixture(scope="module")
def finished(server: Storage) -> dict[str, bytes]:
    """The objects of a run of 20 steps."""
    server.objects.clear()
    server.refuse = lambda request: None
    assert toys.train(toys.experiment(), RUN) == 0
    return {name: server.read(name) for name in server.names(NAME)}


@pytest.fixture
def run(finished: dict[str, bytes], storage: Storage) -> Storage:
    """The storage with a copy of it."""
    for name, content in finished.items():
        storage.put(name, content)
    return storage


@pytest.mark.parametrize(
    "damage",
    [
        lambda storage: truncate(storage, data_file(storage, 20)),
        lambda storage: flip(storage, data_file(storage, 20)),
        lambda storage: remove(storage, data_file(storage, 20)),
        lambda storage: remove(storage, f"{NAME}/checkpoints/20/_CHECKPOINT_METADATA"),
        lambda storage: flip(storage, f"{NAME}/checkpoints/20/training/manifest.ocdbt"),
    ],
    ids=["truncated", "changed", "missing", "without notes", "manifest"],
)
def test_a_damaged_checkpoint_is_set_aside(
    damage: Callable[[Storage], None], run: Storage, local: list[dict], capsys: pytest.CaptureFixture
) -> None:
    damage(run)
    damaged = {name: run.read(name) for name in run.names(f"{NAME}/checkpoints/20/")}
    assert toys.train(toys.experiment(), RUN) == 0
    out = capsys.readouterr().out
    assert re.search(r"checkpoint 20 is damaged \(.*\); moved to gs://bucket/runs/\[x\]/damaged/20", out)
    assert "continuing at step 15 of 20" in out
    assert log(run) == local
    assert steps(run) == {"15", "20"}
    moved = {name.replace("checkpoints", "damaged"): content for name, content in damaged.items()}
    assert {name: run.read(name) for name in run.names(f"{NAME}/damaged/")} == moved


@pytest.mark.parametrize("status", [403, 503])
@pytest.mark.parametrize("refused", ["/model/d/", "_CHECKPOINT_METADATA", "LIST runs/[x]/checkpoints/"])
def test_a_refusal_is_not_damage(
    refused: str, status: int, run: Storage, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ssl_jax.training.stored_arrays.RETRIES", {"max_retries": 1, "initial_delay": "1ms"})
    run.refuse = lambda request: status if refused in request and "DELETE" not in request else None
    before = {name: stored for name, stored in run.objects.items() if "/checkpoints/" in name}
    with pytest.raises(UserError, match=r"cannot be (read|written).*\n?") as told:
        toys.train(toys.experiment(), RUN)
    assert "\n" not in str(told.value)
    assert "damage" not in str(told.value).replace("this is not damage", "")
    assert {name: stored for name, stored in run.objects.items() if "/checkpoints/" in name} == before


def test_what_an_interrupted_save_has_left_is_removed(run: Storage, local: list[dict]) -> None:
    remove(run, f"{NAME}/checkpoints/20/commit_success.txt")
    left = data_file(run, 20)
    assert Checkpoints(RUN / "checkpoints").steps() == [15]
    CheckpointWriter(RUN / "checkpoints", keep_latest=3)
    assert steps(run) == {"15"}
    assert toys.train(toys.experiment(), RUN) == 0
    assert left not in run.names()
    assert log(run) == local


def test_a_save_that_is_refused(storage: Storage, impatient: None, tmp_path: Path) -> None:
    """Whatever meets the refusal first, the checkpoint before stays, and the run goes on when it may write again."""
    storage.refuse = lambda request: 403 if request.startswith(f"POST {NAME}/checkpoints/10/") else None
    with pytest.raises(
        UserError,
        match=r"could not be written \((Google .* refuses it|Permission denied).*kept: 5\. .* give write permission",
    ):
        toys.train(toys.experiment(), RUN)
    storage.refuse = lambda request: None
    assert toys.train(toys.experiment(), RUN) == 0
    assert steps(storage) == {"15", "20"}
