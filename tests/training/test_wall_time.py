"""The account of the time of a run: every moment belongs to one activity, and each process adds an entry."""

import time

import pytest

from ssl_jax.training.wall_time import WallTime, read_wall_time


def test_every_moment_belongs_to_one_activity(tmp_path):
    started = time.perf_counter()
    wall_time = WallTime()
    wall_time.begin(tmp_path, 0, 10, writes=True)
    with wall_time.of("step"):
        time.sleep(0.02)
        with wall_time.of("evaluation"):
            time.sleep(0.04)
        time.sleep(0.01)
    wall_time.write(10, "finished")
    (sitting,) = read_wall_time(tmp_path)
    seconds = sitting["seconds"]
    assert sum(seconds.values()) <= time.perf_counter() - started
    assert 0.04 <= seconds["evaluation"] < 0.2
    assert 0.03 <= seconds["step"] < 0.2
    assert (sitting["last_step"], sitting["steps"], sitting["ended"]) == (10, 10, "finished")


def test_an_error_gives_the_time_back_to_the_activity_around_it(tmp_path):
    wall_time = WallTime()
    wall_time.begin(tmp_path, 0, 1, writes=True)
    with pytest.raises(ValueError, match="x"), wall_time.of("report"):
        raise ValueError("x")
    time.sleep(0.02)
    wall_time.write(0)
    (sitting,) = read_wall_time(tmp_path)
    assert sitting["seconds"]["start_up"] >= 0.02
    assert "ended" not in sitting


def test_another_process_adds_an_entry_and_keeps_the_others(tmp_path):
    for first in (0, 5):
        wall_time = WallTime()
        wall_time.begin(tmp_path, first, 10, writes=True)
        wall_time.write(first + 2)
        wall_time.write(first + 5, "stopped")
    assert [(s["first_step"], s["last_step"]) for s in read_wall_time(tmp_path)] == [(0, 5), (5, 10)]


def test_a_damaged_file_ends_no_run_and_other_processes_write_nothing(tmp_path):
    other = WallTime()
    other.begin(tmp_path, 0, 10, writes=False)
    other.write(1)
    assert not (tmp_path / "wall_time.json").exists()
    (tmp_path / "wall_time.json").write_text("[{}]")
    wall_time = WallTime()
    wall_time.begin(tmp_path, 0, 10, writes=True)
    wall_time.write(1)
    assert len(read_wall_time(tmp_path)) == 1
