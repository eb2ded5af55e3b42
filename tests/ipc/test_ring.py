"""The ring as a contract: what goes in comes out once, in order and whole, or is refused by name."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ipc import ring
from ipc.errors import AlreadyLocked, FrameTooLarge, NotThere, RingCorrupt, RingFull, VersionMismatch
from ipc.ring import RingReader, RingWriter, create_ring, format_region, open_reader, open_writer, region_bytes

CAPACITY = 1024


def memory_ring(capacity: int = CAPACITY) -> tuple[memoryview, RingWriter, RingReader]:
    view = memoryview(bytearray(region_bytes(capacity)))
    format_region(view, capacity)
    return view, RingWriter(view), RingReader(view)


class AnyUseOfARing(RuleBasedStateMachine):
    """Against a list: `published` holds what is not committed, the first `peeked` of them were peeked."""

    def __init__(self) -> None:
        super().__init__()
        self.view, self.writer, self.reader = memory_ring()
        self.published: list[bytes] = []
        self.peeked = 0
        self.put = 0
        self.lying: list[tuple[memoryview, bytes]] = []

    @rule(length=st.integers(0, CAPACITY // 4 - 8))
    def puts(self, length: int) -> None:
        payload = random.Random(self.put).randbytes(length)
        if self.writer.try_put(payload):
            self.published.append(payload)
            self.put += 1
        else:
            assert self.published, "an empty ring refused a frame of legal size"

    @rule()
    def peeks(self) -> None:
        expected = self.published[self.peeked] if self.peeked < len(self.published) else None
        assert self.reader.ready() == (expected is not None)
        assert self.reader.peek() == expected
        self.peeked += expected is not None

    @rule(max_bytes=st.integers(1, CAPACITY))
    def peeks_many(self, max_bytes: int) -> None:
        frames = self.reader.peek_many(max_bytes)
        assert frames == self.published[self.peeked : self.peeked + len(frames)]
        assert frames or self.peeked == len(self.published)
        self.peeked += len(frames)

    @rule(max_bytes=st.integers(1, CAPACITY))
    def peeks_where_they_lie(self, max_bytes: int) -> None:
        frames = self.reader.peek_views(max_bytes)
        self.lying += zip(frames, self.published[self.peeked :], strict=False)
        assert frames or self.peeked == len(self.published)
        self.peeked += len(frames)

    @invariant()
    def what_lies_in_the_ring_stays_there_until_the_commit(self) -> None:
        assert all(frame == published for frame, published in self.lying)

    @rule()
    def commits(self) -> None:
        self.lying.clear()
        self.reader.commit()
        del self.published[: self.peeked]
        self.peeked = 0

    @rule()
    def rewinds(self) -> None:
        self.reader.rewind()
        self.peeked = 0

    @rule()
    def reader_restarts(self) -> None:
        self.reader = RingReader(self.view)
        self.peeked = 0

    @rule()
    def writer_restarts(self) -> None:
        self.writer = RingWriter(self.view)

    @precondition(lambda self: not self.published)
    @rule()
    def an_empty_ring_takes_the_largest_frame(self) -> None:
        self.puts(CAPACITY // 4 - 8)

    @invariant()
    def counts_agree(self) -> None:
        assert 0 <= self.writer.free_bytes() <= CAPACITY
        assert (self.reader.depth_bytes() == 0) == (not self.published)


AnyUseOfARing.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestAnyUseOfARingGivesWhatAListWouldGive = AnyUseOfARing.TestCase


def test_a_quarter_of_the_ring_fits_at_every_offset() -> None:
    largest = CAPACITY // 4 - 8
    for offset in range(0, CAPACITY, 16):
        _, writer, reader = memory_ring()
        while writer.position % CAPACITY != offset:  # walk there in the smallest steps
            assert writer.try_put(b"")
            reader.peek()
            reader.commit()
        for _ in range(9):
            assert writer.try_put(bytes(largest))
            assert reader.peek() == bytes(largest)
            reader.commit()


def test_a_frame_above_a_quarter_of_the_ring_is_refused_by_name() -> None:
    _, writer, reader = memory_ring()
    with pytest.raises(FrameTooLarge, match=r"frame of 249 bytes .* limit 248"):
        writer.try_put(bytes(249))
    assert reader.peek() is None


def test_a_full_ring_is_a_named_refusal_and_loses_nothing() -> None:
    _, writer, reader = memory_ring()
    count = 0
    while writer.try_put(count.to_bytes(4, "little")):
        count += 1
    with pytest.raises(RingFull, match="free 0 of 1024"):
        writer.put(b"more", timeout_s=0.001)
    assert [int.from_bytes(p, "little") for p in reader.peek_many(1 << 20)] == list(range(count))


def test_room_comes_back_with_the_commit_and_not_with_the_peek() -> None:
    _, writer, reader = memory_ring()
    while writer.try_put(b"x"):
        pass
    reader.peek_many(1 << 20)
    assert not writer.try_put(b"x")
    reader.commit()
    assert writer.try_put(b"x")


def test_a_frame_of_an_earlier_lap_is_none_of_this_one() -> None:
    """A tail that went ahead of what was written, as no order of stores on x86-64 lets it."""
    view, writer, reader = memory_ring()
    for _ in range(CAPACITY // 64 * 2):  # each place has a frame of the same length from the lap before
        assert writer.try_put(bytes(56))
        assert reader.peek()
        reader.commit()
    words = view.cast("Q")
    words[ring.RING_TAIL_AT // 8] += 64
    with pytest.raises(RingCorrupt, match="in lap 3"):
        reader.peek()


def test_laps_are_counted_anew_after_the_last_one() -> None:
    view, writer, reader = memory_ring()
    words = view.cast("Q")
    words[ring.RING_HEAD_AT // 8] = words[ring.RING_TAIL_AT // 8] = (ring.FRAME_LAPS - 2) * CAPACITY
    writer, reader = RingWriter(view), RingReader(view)
    for i in range(200):
        assert writer.try_put(i.to_bytes(100, "little"))
        assert writer._mark > 0, "zeroed memory is never a frame"
        assert reader.peek() == i.to_bytes(100, "little")
        reader.commit()
    assert writer.position > ring.FRAME_LAPS * CAPACITY


def test_a_frame_that_was_not_published_does_not_exist() -> None:
    view, writer, reader = memory_ring()
    before = bytes(view)
    writer.try_put(b"torn")
    words = view.cast("Q")
    words[ring.RING_TAIL_AT // 8] = int.from_bytes(before[ring.RING_TAIL_AT : ring.RING_TAIL_AT + 8], "little")
    assert not reader.ready()
    assert reader.peek() is None
    successor = RingWriter(view)
    successor.try_put(b"whole")
    assert reader.peek() == b"whole"


HOSTILE_HEADERS: list[tuple[str, Callable[[memoryview], None]]] = [
    ("tail before head", lambda words: words.__setitem__(ring.RING_TAIL_AT // 8, 0)),
    ("tail more than a lap ahead", lambda words: words.__setitem__(ring.RING_TAIL_AT // 8, 1 << 40)),
    ("tail not aligned", lambda words: words.__setitem__(ring.RING_TAIL_AT // 8, words[ring.RING_TAIL_AT // 8] + 1)),
]


@pytest.mark.parametrize(("what", "scribble"), HOSTILE_HEADERS, ids=[name for name, _ in HOSTILE_HEADERS])
def test_an_impossible_tail_is_named_and_stays_refused(what: str, scribble: Callable[[memoryview], None]) -> None:
    view, writer, reader = memory_ring()
    for _ in range(3):
        writer.try_put(b"frame")
    reader.peek_many(1 << 20)  # what the tail said before is still good
    reader.commit()
    scribble(view.cast("Q"))
    for _ in range(2):
        with pytest.raises(RingCorrupt, match=r"position \d+, offset \d+"):
            reader.peek_many(1 << 20)


def test_an_impossible_head_is_named_to_the_producer() -> None:
    view, writer, _ = memory_ring()
    view.cast("Q")[ring.RING_HEAD_AT // 8] = 1 << 40
    with pytest.raises(RingCorrupt):
        writer.free_bytes()


@pytest.mark.parametrize("bit", [20, 31, 32, 50, 63], ids=["length", "long", "lap", "far lap", "wrap"])
def test_a_scribbled_frame_header_is_named(bit: int) -> None:
    view, writer, reader = memory_ring()
    writer.try_put(b"frame")
    view.cast("Q")[ring.RING_DATA_AT // 8] ^= 1 << bit
    with pytest.raises(RingCorrupt):
        reader.peek()


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_whatever_is_scribbled_a_reader_ends_and_reads_only_inside(data: st.DataObject) -> None:
    view, writer, reader = memory_ring()
    for _ in range(data.draw(st.integers(0, 30))):
        writer.try_put(bytes(data.draw(st.integers(0, 240))))
        if data.draw(st.booleans()):
            reader.peek()
            reader.commit()
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(view) // 8 - 1))
        value = data.draw(st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 4096).map(lambda n: n * 16)))
        view.cast("Q")[at] = value
    for end in (reader, None):
        try:
            end = end or RingReader(view)
            frames = end.peek_many(1 << 20)
        except (RingCorrupt, VersionMismatch):
            continue
        assert sum(map(len, frames)) <= CAPACITY
        assert all(len(frame) <= CAPACITY // 4 for frame in frames)


@given(st.binary(max_size=4096))
@settings(max_examples=100, deadline=None)
def test_any_bytes_opened_as_a_ring_are_refused_by_name(content: bytes) -> None:
    with pytest.raises((RingCorrupt, VersionMismatch)):
        RingReader(memoryview(bytearray(content)))


def test_another_version_is_refused_and_names_both() -> None:
    view, _, _ = memory_ring()
    view[ring.RING_VERSION_AT] = 9
    with pytest.raises(VersionMismatch, match=r"found version 9 with .* expected a ring of version 2"):
        RingWriter(view)


@pytest.mark.parametrize("capacity", [0, 960, 1000, 1025, (1 << 34) + 64])
def test_a_capacity_that_cannot_work_is_refused(capacity: int) -> None:
    with pytest.raises(ValueError, match="multiple of 64"):
        region_bytes(capacity)


def test_a_ring_file_has_one_producer(shm: Path) -> None:
    path = str(shm / "r.ring")
    create_ring(path, CAPACITY)
    first = open_writer(path)
    with pytest.raises(AlreadyLocked, match=r"locked by process \d+"):
        open_writer(path)
    first.close()
    open_writer(path).close()


def test_a_live_ring_is_adopted_by_both_ends_where_they_were(shm: Path) -> None:
    path = str(shm / "r.ring")
    create_ring(path, CAPACITY)
    writer, reader = open_writer(path), open_reader(path)
    for i in range(10):
        writer.put(bytes([i]))
    assert reader.peek() == b"\0"
    reader.commit()
    reader.peek()
    writer.close()
    reader.close()
    writer, reader = open_writer(path), open_reader(path)
    writer.put(b"\x0a")
    assert reader.peek_many(1 << 20) == [bytes([i]) for i in range(1, 11)]


def test_a_ring_that_is_not_there_is_refused_by_name(shm: Path) -> None:
    with pytest.raises(NotThere, match=r"none\.ring"):
        open_reader(str(shm / "none.ring"))


def test_an_empty_file_is_not_a_ring(shm: Path) -> None:
    (shm / "empty.ring").touch()
    with pytest.raises(NotThere, match="cannot be mapped"):
        open_reader(str(shm / "empty.ring"))
