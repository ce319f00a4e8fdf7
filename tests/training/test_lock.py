"""One process at a time in a run folder, and what is left of it when it ends."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from etils import epath

from ssl_jax.errors import UserError
from ssl_jax.training import lock
from ssl_jax.training.lock import locked
from tests import processes
from tests.training import toys


def hold(folder: Path) -> subprocess.Popen:
    """A process that holds a folder until it is killed."""
    code = (
        "import time; from etils import epath; from ssl_jax.training.lock import locked\n"
        f"with locked(epath.Path({str(folder)!r}), print): print('held', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=processes.environment(), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    holder = hold(tmp_path / "run")
    try:
        with pytest.raises(UserError) as refused:
            toys.train(toys.experiment(), tmp_path / "run")
        assert f"run is in use by process {holder.pid} on {socket.gethostname()}, which started at 2" in str(
            refused.value
        )
        assert {path.name for path in (tmp_path / "run").iterdir()} == {lock.FILE}
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    assert (tmp_path / "run" / lock.FILE).exists()
    assert toys.train(toys.experiment(steps=5), tmp_path / "run") == 0
    assert not (tmp_path / "run" / lock.FILE).exists()


def test_a_folder_is_held_once_and_released_at_the_end(tmp_path: Path) -> None:
    folder = epath.Path(tmp_path / "run")
    for _ in range(2):
        with (
            locked(folder, print),
            pytest.raises(UserError, match=f"in use by process {os.getpid()} on"),
            locked(folder, print),
        ):
            pass
        assert not folder.exists()  # it was made for the lock, and nothing is in it


def test_folders_within_a_folder_have_locks_of_their_own(tmp_path: Path) -> None:
    with locked(epath.Path(tmp_path), print), locked(epath.Path(tmp_path / "vqvae"), print):
        assert (tmp_path / "vqvae" / lock.FILE).exists()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_removed_between_opening_and_locking_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when another process ends at this moment, which removes the file that both have opened."""
    flock, calls = fcntl.flock, []

    def removed_first(descriptor: int, operation: int) -> None:
        if not calls:
            (tmp_path / lock.FILE).unlink()
        calls.append(descriptor)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", removed_first)
    with locked(epath.Path(tmp_path), print):
        assert len(calls) == 2
        assert json.loads((tmp_path / lock.FILE).read_text())["process"] == os.getpid()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_in_the_file_system_the_run_goes_on(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(descriptor: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    lines = []
    with locked(epath.Path(tmp_path), lines.append):
        pass
    assert lines == [
        f"{tmp_path}: its file system has no locks, so nothing keeps a second run out of this folder"
    ]


def test_a_link_in_place_of_the_locked_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "precious").write_text("x")
    (tmp_path / "run" / lock.FILE).symlink_to(tmp_path / "precious")
    with pytest.raises(UserError, match="cannot be written"), locked(epath.Path(tmp_path / "run"), print):
        pass
    assert (tmp_path / "precious").read_text() == "x"
