"""What a thread may ask of the kernel in order to be prompt."""

import ctypes
import os
import platform
import threading
from collections.abc import Callable
from typing import Any

import pytest

from ipc import proc

_PR_GET_TIMERSLACK, _SYS_SCHED_GETATTR = 30, 315
KERNEL = tuple(int(part) for part in platform.release().split(".")[:2])
libc = ctypes.CDLL(None)


def in_a_thread_of_its_own(act: Callable[[], Any]) -> Any:
    """So that the test's own thread stays as it is."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(act()))
    thread.start()
    thread.join()
    return found[0]


def scheduling() -> tuple[int, ...]:
    attributes = ctypes.create_string_buffer(48)
    assert libc.syscall(_SYS_SCHED_GETATTR, 0, attributes, 48, 0) == 0
    return proc._SCHED_ATTR.unpack(attributes.raw)


def test_sleeps_of_a_thread_with_fine_timers_are_not_put_off() -> None:
    def act() -> int:
        proc.fine_timers()
        return int(libc.prctl(_PR_GET_TIMERSLACK, 0, 0, 0, 0))

    assert in_a_thread_of_its_own(act) == 1


@pytest.mark.skipif(KERNEL < (6, 12), reason="kernels before 6.12 know no time slices of one's own")
def test_a_thread_with_short_slices_keeps_its_policy_and_niceness() -> None:
    def act() -> tuple[tuple[int, ...], tuple[int, ...]]:
        os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
        before = scheduling()
        proc.short_slices()
        return before, scheduling()

    before, after = in_a_thread_of_its_own(act)
    assert after[5] == proc.SLICE_NS
    assert after[1:5] == before[1:5]


def test_a_thread_in_real_time_starts_ordinary_ones_and_is_ordinary_again() -> None:
    def act() -> tuple[bool, list[int]]:
        permitted = proc.real_time(True)
        policies = [os.sched_getscheduler(0), in_a_thread_of_its_own(lambda: os.sched_getscheduler(0))]
        proc.real_time(False)
        return permitted, [*policies, os.sched_getscheduler(0)]

    permitted, policies = in_a_thread_of_its_own(act)
    first = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK if permitted else os.SCHED_OTHER
    assert policies == [first, os.SCHED_OTHER, os.SCHED_OTHER | (first & os.SCHED_RESET_ON_FORK)]


def test_who_may_not_be_in_real_time_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refused)
    assert not proc.real_time(True)
