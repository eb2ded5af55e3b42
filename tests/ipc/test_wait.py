"""The doorbell: who sleeps is woken, who is awake costs the producer one load."""

import errno
import os
import threading
from pathlib import Path

import pytest

from ipc.errors import NotThere, VersionMismatch
from ipc.wait import (
    AWAY_NS,
    BELL_ASLEEP,
    BELL_AWAKE,
    BELL_BYTES,
    BELL_LOOKING,
    Bell,
    format_bell,
    look_ns_of_the_others,
)


def memory_bell(look_ns: int = 0) -> Bell:
    view = memoryview(bytearray(BELL_BYTES))
    format_bell(view)
    return Bell(view, look_ns=look_ns)


def test_a_wait_with_something_ready_does_not_sleep() -> None:
    bell = memory_bell()
    assert bell.wait(lambda: True, timeout_s=60)
    assert bell.sleeps == 0


def test_a_wait_ends_at_its_timeout_and_says_so() -> None:
    bell = memory_bell()
    assert not bell.wait(lambda: False, timeout_s=0.12)
    assert bell.sleeps >= 2, "the first sleep is 50 ms at most"
    assert bell.wakes == 0


def test_the_quieter_it_is_the_longer_a_sleep_until_somebody_rings(monkeypatch: pytest.MonkeyPatch) -> None:
    bell, asked = memory_bell(), []
    monkeypatch.setattr(Bell, "_futex_wait", lambda self, ns: asked.append(ns) or errno.ETIMEDOUT)
    monkeypatch.setattr("ipc.wait.monotonic_ns", lambda: 50_000_000 * len(asked))
    assert not bell.wait(lambda: False, timeout_s=0.3)
    assert asked[:4] == [50_000_000, 100_000_000, 200_000_000, 150_000_000], "at most 200 ms, nor beyond the deadline"
    monkeypatch.setattr(Bell, "_futex_wait", lambda self, ns: asked.append(ns) or 0)
    bell.wait(lambda: len(asked) > 6, timeout_s=60)
    bell.wait(lambda: len(asked) > 7, timeout_s=60)
    assert asked[-1] == 50_000_000


def test_a_ring_from_another_thread_ends_the_sleep() -> None:
    bell = memory_bell()
    published: list[int] = []

    def produce() -> None:
        while not bell.flag[0]:  # until the consumer is about to sleep
            os.sched_yield()
        published.append(1)
        bell.ring()

    producer = threading.Thread(target=produce)
    producer.start()
    assert bell.wait(lambda: bool(published), timeout_s=60)
    producer.join()
    assert bell.lost == 0


def test_data_without_a_ring_is_found_at_the_cap_and_counted_as_lost() -> None:
    bell = memory_bell()
    asked: list[int] = []
    assert bell.wait(lambda: asked.append(1) or len(asked) > 1, timeout_s=60)  # type: ignore[func-returns-value]
    assert (bell.sleeps, bell.cap_ends, bell.lost) == (1, 1, 1)


def test_a_ring_that_comes_after_the_cap_is_late_and_not_lost() -> None:
    bell = memory_bell()
    bell.lost_grace_ns = 30_000_000_000

    def produce() -> None:
        while not bell.cap_ends:  # put off between its put and its ring
            os.sched_yield()
        bell.ring()

    producer = threading.Thread(target=produce)
    producer.start()
    asked: list[int] = []
    assert bell.wait(lambda: asked.append(1) or len(asked) > 1, timeout_s=60)  # type: ignore[func-returns-value]
    producer.join()
    assert (bell.cap_ends, bell.late, bell.lost) == (1, 1, 0)


def test_nobody_waits_so_ringing_changes_nothing() -> None:
    bell = memory_bell()
    bell.ring()
    assert bell.flag[0] == 0


def test_an_interrupt_ends_the_wait() -> None:
    bell = memory_bell()
    bell.interrupt()
    assert not bell.wait(lambda: False, timeout_s=60)
    assert bell.wait(lambda: True, timeout_s=60), "it ends one wait only"


def used_to_be_rung_at_once(bell: Bell) -> Bell:
    for _ in range(20):
        bell.wait(lambda: True, timeout_s=60)
    return bell


def test_a_consumer_that_is_rung_often_looks_and_is_found_without_a_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipc.wait.CROWDED_NS", 60_000_000_000)  # the other thread keeps the interpreter for 5 ms
    bell = used_to_be_rung_at_once(memory_bell(look_ns=60_000_000_000))
    published: list[int] = []
    seen: list[int] = []

    def produce() -> None:
        while bell.flag[0] != BELL_LOOKING:
            os.sched_yield()
        seen.append(bell.flag[0])
        published.append(1)
        bell.ring()

    producer = threading.Thread(target=produce)
    producer.start()
    assert bell.wait(lambda: bool(published), timeout_s=60)
    producer.join()
    assert (seen, bell.sleeps, bell.flag[0]) == ([BELL_LOOKING], 0, 0)


def test_who_looks_is_told_in_the_word_behind_and_sees_it() -> None:
    bell = memory_bell()
    bell.flag[0] = BELL_LOOKING
    bell.ring()
    assert bell.flag[0] == BELL_LOOKING, "the first word is the consumer's while it looks"
    assert bell._look(now_ns=1, until_ns=1)


def test_who_looks_and_is_rung_is_back_without_asking_again() -> None:
    bell = used_to_be_rung_at_once(memory_bell(look_ns=1_000_000_000))
    asked: list[int] = []

    def ready() -> bool:
        asked.append(bell.flag[0])
        bell.ring()
        return False

    assert bell.wait(ready, timeout_s=60)
    assert asked == [BELL_LOOKING]


@pytest.mark.parametrize(
    ("word", "after"), [(BELL_AWAKE, BELL_AWAKE), (BELL_LOOKING, BELL_LOOKING), (BELL_ASLEEP, BELL_AWAKE)]
)
def test_an_announcement_wakes_who_sleeps_and_nobody_else(word: int, after: int) -> None:
    bell = memory_bell()
    bell.flag[0] = word
    bell.announce()
    assert (bell.flag[0], bell._rung[0]) == (after, 0)


def test_a_consumer_that_is_rung_seldom_sleeps_at_once() -> None:
    bell = memory_bell(look_ns=1_000_000)
    words: list[int] = []
    assert not bell.wait(lambda: words.append(bell.flag[0]) is not None, timeout_s=0.06)
    assert set(words) == {BELL_ASLEEP}
    assert bell.sleeps


def test_looking_ends_and_then_the_consumer_sleeps() -> None:
    bell = used_to_be_rung_at_once(memory_bell(look_ns=1_000_000))
    words: list[int] = []
    assert not bell.wait(lambda: words.append(bell.flag[0]) is not None, timeout_s=0.06)
    assert (words[0], words[-1]) == (BELL_LOOKING, BELL_ASLEEP)
    assert bell.sleeps


def test_who_does_not_get_the_processor_back_looks_no_more_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    bell, clock, looks = used_to_be_rung_at_once(memory_bell(look_ns=2_000_000)), [0], []
    monkeypatch.setattr("ipc.wait.monotonic_ns", lambda: clock[0])
    monkeypatch.setattr("ipc.wait._yield", lambda: clock.__setitem__(0, clock[0] + 1_000_000))
    monkeypatch.setattr(Bell, "_futex_wait", lambda self, ns: 0)
    for pause_ns in (0, 1, AWAY_NS - 2, 1, 2 * AWAY_NS):
        clock[0] += pause_ns
        before, asked = clock[0], []
        bell.wait(lambda asked=asked: len(asked.append(1) or asked) > 2, timeout_s=60)
        looks.append(clock[0] > before)
    assert looks == [True, False, False, True, True], "each time it stays away twice as long"


def test_a_ring_with_nothing_behind_it_announces_what_is_then_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    bell = memory_bell()
    words: list[int] = []

    def rung(self: Bell, ns: int) -> int:
        self.flag[0] = 0
        return 0

    monkeypatch.setattr(Bell, "_futex_wait", rung)
    assert bell.wait(lambda: words.append(bell.flag[0]) or len(words) > 2, timeout_s=60)  # type: ignore[func-returns-value]
    assert words == [BELL_ASLEEP, BELL_AWAKE, BELL_LOOKING]


@pytest.mark.parametrize(("processors", "look_ns"), [(2, 0), (3, 0), (4, 7)])
def test_with_few_processors_only_the_first_looks(
    monkeypatch: pytest.MonkeyPatch, processors: int, look_ns: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(processors)))
    assert look_ns_of_the_others(7) == look_ns


def test_who_wants_to_be_on_time_wakes_early_and_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    bell, clock, slept = memory_bell(), [0], []
    bell.early_ns = 100_000
    monkeypatch.setattr("ipc.wait.monotonic_ns", lambda: clock[0])
    monkeypatch.setattr("ipc.wait._yield", lambda: clock.__setitem__(0, clock[0] + 1_000))

    def sleeps(self: Bell, ns: int) -> int:
        slept.append(ns)
        clock[0] += ns
        return errno.ETIMEDOUT

    monkeypatch.setattr(Bell, "_futex_wait", sleeps)
    assert not bell.wait(lambda: False, timeout_s=0.001)
    assert (slept, clock) == ([900_000], [1_000_000])


def test_a_producer_that_saw_somebody_looking_leaves_the_word_of_who_fell_asleep_meanwhile() -> None:
    bell = memory_bell()
    flag = bell.flag

    class FallsAsleepAfterALook:
        def __getitem__(self, at: int) -> int:
            found, flag[at] = flag[at], BELL_ASLEEP
            return found

        def __setitem__(self, at: int, word: int) -> None:
            flag[at] = word

    flag[0] = BELL_LOOKING
    bell.flag = FallsAsleepAfterALook()  # type: ignore[assignment]
    bell.wake()
    assert flag[0] == BELL_ASLEEP, "or the next producer would not wake"


def test_a_bell_file_is_shared_by_all_who_attach(shm: Path) -> None:
    mine = Bell.create(str(shm / "a.bell"))
    theirs = Bell.attach(str(shm / "a.bell"))
    mine.flag[0] = 1
    theirs.ring()
    assert mine.flag[0] == 0


def test_what_is_no_bell_is_refused_by_name(shm: Path) -> None:
    with pytest.raises(NotThere):
        Bell.attach(str(shm / "none.bell"))
    (shm / "short.bell").write_bytes(b"x" * 64)
    with pytest.raises(VersionMismatch, match="64 bytes"):
        Bell.attach(str(shm / "short.bell"))
    (shm / "other.bell").write_bytes(b"OTHER" + bytes(BELL_BYTES))
    with pytest.raises(VersionMismatch, match="magic"):
        Bell.attach(str(shm / "other.bell"))
