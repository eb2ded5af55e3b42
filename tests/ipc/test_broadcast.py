"""A broadcast: the newest frames for whoever reads, and a named gap for whoever is slow."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest

from ipc.broadcast import CastReader, CastWriter, Gap
from ipc.errors import FrameTooLarge, VersionMismatch


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "cast")


def read_all(reader: CastReader) -> list[bytes]:
    found = []
    while (frame := reader.read()) is not None:
        found.append(frame)
    return found


def test_readers_get_every_frame_in_order_from_when_they_came(path: str) -> None:
    writer = CastWriter(path, 4096)
    writer.put(b"before")
    one = CastReader(path)
    writer.put(b"a")
    two = CastReader(path)
    writer.put(b"")
    assert read_all(one) == [b"a", b""]
    assert read_all(two) == [b""]
    assert one.read() is None


def test_history_begins_at_the_oldest_frame_that_is_left(path: str) -> None:
    writer = CastWriter(path, 1024)
    frames = [b"%d" % n * (n % 40 + 1) for n in range(500)]
    for frame in frames:
        writer.put(frame)
    found = read_all(CastReader(path, history=True))
    assert 5 < len(found) < 40
    assert found == frames[-len(found) :]


def test_a_slow_reader_is_told_how_many_frames_it_lost_and_goes_on(path: str) -> None:
    rng = random.Random(3)
    writer = CastWriter(path, 2048)
    reader = CastReader(path)
    put = got = lost = 0
    for _ in range(2000):
        for _ in range(rng.choice((0, 1, 3, 60))):
            put += 1
            writer.put(b"%d," % put * rng.randint(1, 40))
        while True:
            try:
                frame = reader.read()
            except Gap as gap:
                lost += gap.lost
                continue
            if frame is None:
                break
            got += 1
            assert int(frame.split(b",")[0]) == got + lost
            assert len(set(frame.split(b",")[:-1])) == 1
    assert got + lost == put
    assert got > 1000
    assert lost > 1000


def test_a_reader_beside_a_racing_writer_never_sees_a_torn_frame(path: str) -> None:
    writer = CastWriter(path, 4096)
    reader = CastReader(path)
    done = threading.Event()

    def write() -> None:
        for n in range(30_000):
            writer.put(b"%06d" % n * (n % 50 + 1))
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    last = -1
    while not done.is_set():
        try:
            frame = reader.read()
        except Gap:
            continue
        if frame:
            assert frame == frame[:6] * (len(frame) // 6)
            assert int(frame[:6]) > last
            last = int(frame[:6])
    thread.join()
    assert last >= 0


def test_a_new_writer_makes_a_new_file_which_readers_notice(path: str) -> None:
    CastWriter(path, 1024).put(b"x")
    reader = CastReader(path)
    assert not reader.replaced()
    CastWriter(path, 1024)
    assert reader.replaced()


def test_what_does_not_fit_is_refused_by_name(path: str, tmp_path: Path) -> None:
    writer = CastWriter(path, 1024)
    writer.put(b"x" * writer.frame_bytes_max)
    with pytest.raises(FrameTooLarge):
        writer.put(b"x" * (writer.frame_bytes_max + 1))
    (tmp_path / "other").write_bytes(bytes(4096))
    with pytest.raises(VersionMismatch):
        CastReader(str(tmp_path / "other"))
