"""Where compiled programs are kept, and where not."""

import os
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from ssl_jax.training.program_cache import keep_programs, make_room


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's cache folder, with no place of compiled programs named, on one device."""
    before = jax.config.jax_compilation_cache_dir
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    jax.config.update("jax_compilation_cache_dir", None)
    yield tmp_path / "cache"
    jax.config.update("jax_compilation_cache_dir", before)
    jax.config.update("jax_enable_compilation_cache", True)


def place() -> Path | None:
    named = jax.config.jax_compilation_cache_dir
    return None if named is None else Path(named)


def test_programs_are_kept_in_a_folder_that_only_the_user_may_read(cache: Path) -> None:
    keep_programs()
    assert place().parent == cache
    assert place().stat().st_mode & 0o777 == 0o700


def test_a_place_that_the_user_has_named_stays(cache: Path) -> None:
    jax.config.update("jax_compilation_cache_dir", "gs://bucket/programs")
    keep_programs()
    assert jax.config.jax_compilation_cache_dir == "gs://bucket/programs"
    assert not cache.exists()


@pytest.mark.parametrize("way", ["mode", "link"])
def test_programs_that_others_may_have_written_are_not_run(
    way: str, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    keep_programs()
    folder = place()
    jax.config.update("jax_compilation_cache_dir", None)
    if way == "mode":
        folder.chmod(0o770)
    else:
        folder.rmdir()
        folder.symlink_to(tmp_path)
    keep_programs()
    assert place() is None
    assert "other users may write there" in capsys.readouterr().err


def test_programs_of_several_cpu_devices_are_not_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "device_count", lambda: 2)
    keep_programs()
    assert place() is None
    assert not jax.config.jax_enable_compilation_cache


def test_a_cache_that_cannot_be_written_ends_nothing(cache: Path) -> None:
    cache.write_text("a file is in its place")
    keep_programs()
    assert place() is None


def test_processors_with_other_instructions_have_a_folder_of_their_own(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = []
    for flags, speed in (("fpu sse2", 2.0), ("fpu sse2", 2.1), ("fpu sse2 avx2", 2.0)):
        about = f"processor\t: 0\ncpu MHz\t\t: {speed}\nflags\t\t: {flags}\n"
        monkeypatch.setattr(Path, "read_text", lambda file, about=about: about)
        jax.config.update("jax_compilation_cache_dir", None)
        keep_programs()
        places.append(place())
    assert places[0] == places[1] != places[2]


def test_programs_that_were_not_used_for_long_make_room(tmp_path: Path) -> None:
    for age, name in enumerate(("used_now", "old_but_used", "older", "oldest")):
        (tmp_path / name).write_bytes(b"x" * 10)
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    os.utime(tmp_path / "old_but_used", (1000, 1))
    make_room(tmp_path, 40)
    assert len([*tmp_path.iterdir()]) == 4
    make_room(tmp_path, 25)
    assert {file.name for file in tmp_path.iterdir()} == {"used_now", "old_but_used"}
