"""A fence that is used up is replaced, and where CPython has no semaphore a lock does."""

import pytest

import ipc.fence
from ipc.ring import RingReader, RingWriter, format_region, region_bytes


def ten_frames() -> list[bytes]:
    view = memoryview(bytearray(region_bytes(1024)))
    format_region(view, 1024)
    writer, reader = RingWriter(view), RingReader(view)
    for number in range(10):
        assert writer.try_put(bytes([number]))
    return reader.peek_many(1 << 20)


def test_a_producer_goes_on_when_its_fence_is_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipc.fence, "FENCES", 4)
    used = ipc.fence.fence()
    for _ in range(3):  # it was tried once
        used()
    with pytest.raises(ValueError, match="too many times"):
        used()
    assert ten_frames() == [bytes([number]) for number in range(10)]


def test_where_there_is_no_such_semaphore_a_lock_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipc.fence, "_Semaphore", object)
    for _ in range(3):
        ipc.fence.fence()()
    assert ten_frames() == [bytes([number]) for number in range(10)]
