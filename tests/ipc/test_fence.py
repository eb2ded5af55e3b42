"""A fence that is used up is replaced."""

import pytest

import ipc.fence
from ipc.ring import RingReader, RingWriter, format_region, region_bytes


def test_a_producer_goes_on_when_its_fence_is_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipc.fence, "FENCES", 3)
    used = ipc.fence.fence()
    for _ in range(3):
        used()
    with pytest.raises(ValueError, match="too many times"):
        used()
    view = memoryview(bytearray(region_bytes(1024)))
    format_region(view, 1024)
    writer, reader = RingWriter(view), RingReader(view)
    for number in range(10):
        assert writer.try_put(bytes([number]))
    assert reader.peek_many(1 << 20) == [bytes([number]) for number in range(10)]
