"""Where several hosts stop together: they agree on a place that none of them has passed."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_jax.training.stop_place import StopPlace

SIGNAL = 15


def inside(turns: int) -> StopPlace:
    """In its loop, after so many places."""
    place = StopPlace()
    place.enter()
    assert [place.due() for _ in range(turns)] == [None] * turns
    return place


def decide(hosts: list[StopPlace]) -> bool:
    """What the coordinator does with the answers of all hosts."""
    answers = [host.hold(SIGNAL) for host in hosts]
    together = all(answers) and len({loop for loop, _ in answers}) == 1
    decided = {host.decide(max(turn for _, turn in answers) if together else None) for host in hosts}
    return decided == {True}


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_all_stop_at_the_first_place_that_none_has_passed(turns: list[int]) -> None:
    hosts = [inside(turn) for turn in turns]
    assert decide(hosts)
    for host, turn in zip(hosts, turns, strict=True):
        assert [host.due() for _ in range(max(turns) - turn)] == [None] * (max(turns) - turn)
        assert host.due() == SIGNAL
        assert host.leave() is None


@pytest.mark.parametrize("loops", [(0, 1), (1, 2)])
def test_hosts_that_are_not_in_the_same_loop_have_no_place(loops: tuple[int, int]) -> None:
    hosts = [StopPlace() for _ in loops]
    for host, loop in zip(hosts, loops, strict=True):
        for _ in range(loop):
            host.enter()
            host.due()
            host.leave()
        host.enter() if loop else None
    assert not decide(hosts)
    assert hosts[1].due() is None


def test_a_loop_that_ends_before_the_place_reports_the_signal() -> None:
    hosts = [inside(3), inside(4)]
    assert decide(hosts)
    assert hosts[0].due() is None
    assert [host.leave() for host in hosts] == [SIGNAL, SIGNAL]


def test_the_loop_waits_for_the_decision() -> None:
    """And passes no place meanwhile."""
    place, passed = inside(1), threading.Event()
    assert place.hold(SIGNAL) == (1, 2)
    loop = threading.Thread(target=lambda: (place.due(), passed.set()), daemon=True)
    loop.start()
    assert not passed.wait(0.05)
    place.decide(9)
    assert passed.wait(10)
    assert place.hold(SIGNAL) == (1, 3)
    place.release()
    assert place.due() is None
