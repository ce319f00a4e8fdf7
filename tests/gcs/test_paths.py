"""Paths on gs://: what epath, and with it the whole program, does there, and what a store that is not reached tells."""

import contextlib
import errno
from pathlib import Path

import pytest
from etils import epath

from ssl_jax import bucket, files
from ssl_jax.errors import UserError
from tests.bucket import Storage

NAMES = ["lr[1e-3]", "*?", "a b", "100%20#1?x=y&z", "é 漢字", "~"]
ROOT = epath.Path("gs://bucket/runs")


def test_a_folder_is_there_as_long_as_something_is_in_it(storage: Storage) -> None:
    folder = ROOT / "a"
    assert (folder.exists(), folder.is_dir()) == (False, False)
    with pytest.raises(FileNotFoundError):
        list(folder.iterdir())
    folder.mkdir(parents=True)
    (folder / "b" / "c").write_text("é")
    (folder / "d").write_bytes(b"123")
    storage.put("runs/a-b", b"another folder of nearly the same name")
    assert (folder.exists(), folder.is_dir(), folder.is_file()) == (True, True, False)
    assert ((folder / "d").exists(), (folder / "d").is_dir(), (folder / "d").is_file()) == (True, False, True)
    assert [path.name for path in folder.iterdir()] == ["b", "d"]
    assert (folder / "b" / "c").read_text() == "é"
    assert ((folder / "d").stat().length, (folder / "b").stat().is_directory) == (3, True)
    assert list(folder.glob("[d-z]")) == [folder / "d"]
    (folder / "b").rename(folder / "e")
    (folder / "d").replace(folder / "e" / "f")
    (folder / "e" / "f").copy(folder / "e" / "g")
    assert storage.names() == ["runs/a-b", "runs/a/e/c", "runs/a/e/f", "runs/a/e/g"]
    (folder / "e" / "g").unlink()
    with pytest.raises(FileNotFoundError):
        (folder / "e" / "g").unlink()
    folder.rmtree()
    assert storage.names() == ["runs/a-b"]


def test_a_mark_of_the_console_is_not_a_file(storage: Storage) -> None:
    storage.put("runs/a/", b"")
    assert list((ROOT / "a").iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_any_name(name: str, storage: Storage) -> None:
    (ROOT / name / "x").write_text("1")
    assert [path.name for path in ROOT.iterdir()] == [name]
    assert (ROOT / name / "x").read_text() == "1"
    assert (ROOT / name / "x").exists()
    (ROOT / name).rmtree()
    assert storage.names() == []


def test_lists_have_pages(storage: Storage) -> None:
    for number in range(250):
        storage.put(f"runs/{number:03}/x", b"")
    assert [path.name for path in ROOT.iterdir()] == [f"{number:03}" for number in range(250)]
    assert len(bucket.list_all(str(ROOT))) == 250
    assert storage.requests.count("LIST runs/") == 6


def test_local_and_remote_files_are_written_by_the_same_function(storage: Storage, tmp_path: Path) -> None:
    with contextlib.suppress(ZeroDivisionError), files.whole(ROOT / "x") as draft:
        draft.write_text("half")
        raise ZeroDivisionError
    with contextlib.suppress(ZeroDivisionError), (ROOT / "x").open("wb") as out:
        out.write(b"half")
        raise ZeroDivisionError
    assert storage.names() == []
    files.write_whole(ROOT / "x", "whole")
    files.copy_file(ROOT / "x", epath.Path(tmp_path) / "x")
    files.copy_file(epath.Path(tmp_path) / "x", ROOT / "y")
    assert storage.read("runs/y") == b"whole"


def test_an_object_is_written_only_over_the_one_that_is_meant(storage: Storage) -> None:
    path = str(ROOT / "x")
    first = bucket.write(path, b"1", bucket.ABSENT)
    with pytest.raises(FileExistsError):
        bucket.write(path, b"2", bucket.ABSENT)
    second = bucket.write(path, b"2", first)
    with pytest.raises(FileExistsError):
        bucket.append(path, b"3", str(ROOT / "part"), first)
    assert storage.read("runs/x") == b"2"
    bucket.append(path, b"3", str(ROOT / "part"), second)
    assert storage.read("runs/x") == b"23"
    with pytest.raises(FileExistsError):
        bucket.delete(path, second)


@pytest.mark.parametrize("status", [401, 403, 429, 503])
def test_a_store_that_refuses_is_not_taken_for_an_empty_one(
    status: int, storage: Storage, impatient: None
) -> None:
    storage.put("runs/x", b"1")
    storage.refuse = lambda request: status
    number = errno.EACCES if status in (401, 403) else errno.EIO
    for ask in (
        (ROOT / "x").exists,
        ROOT.is_dir,
        ROOT.exists,
        lambda: list(ROOT.iterdir()),
        (ROOT / "x").read_bytes,
        (ROOT / "x").unlink,
        ROOT.rmtree,
    ):
        with pytest.raises(OSError, match="Google Cloud Storage") as told:
            ask()
        assert told.value.errno == number
    with pytest.raises(
        UserError, match=r"^gs://bucket/runs/x cannot be written \(Google Cloud Storage .*test"
    ):
        files.write_whole(ROOT / "x", "2")
    assert storage.read("runs/x") == b"1"


def test_a_store_that_is_not_there(
    storage: Storage, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    with pytest.raises(OSError, match=r"was not reached: Cannot connect to host 127\.0\.0\.1:9"):
        ROOT.exists()


def test_a_bucket_that_is_not_there(storage: Storage) -> None:
    with pytest.raises(UserError, match=r"^gs://other/x cannot be written \(there is no bucket other\)"):
        files.write_whole(epath.Path("gs://other/x"), "1")
    with pytest.raises(OSError, match="there is no bucket other"):
        epath.Path("gs://other/x").exists()
