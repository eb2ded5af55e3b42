"""The journal against a hostile disk: what was durable is there, what is torn is cut, what is damaged is refused."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oms_actors import record
from oms_actors.edges import journal_format
from oms_actors.edges.disk import OsDisk
from oms_actors.edges.journal import (
    FRAME,
    MARK_CHECK,
    MARK_DURABLE,
    MARK_GENERATION,
    MARK_WORDS,
    JournalCorrupt,
    JournalError,
    JournalFailed,
    JournalFull,
    JournalReader,
    JournalWriter,
    Position,
    ReaderAhead,
    ReaderBehind,
    frames,
    remove_below,
    segments,
)
from oms_actors.edges.journal_format import HEAD
from tests.support.disk import FakeDisk, Killed

SEGMENT = 4096
PAYLOAD = 160


class Log:
    """A role's journal through many lives; remembers what was promised."""

    def __init__(self, disk: Any = None, durability: str = "power", segment: int = SEGMENT, boot: int = 1) -> None:
        self.disk = disk or FakeDisk()
        self.durability, self.segment, self.boot = durability, segment, boot
        self.mark = [0] * MARK_WORDS
        self.promised: list[bytes] = []
        self.attempted: list[bytes] = []
        self.writer = self.open()

    def open(self, **changes: object) -> JournalWriter:
        arguments = {"durability": self.durability, "segment_bytes": self.segment, "desk": 7, "boot": self.boot,
                     "wall_ns": 0, "mark": self.mark} | changes  # fmt: skip
        self.writer = JournalWriter(self.disk, "intake", **arguments)  # type: ignore[arg-type]
        return self.writer

    def add(self, count: int = 1, sync: bool = True) -> None:
        for _ in range(count):
            payload = (len(self.attempted) | 0xAA000000).to_bytes(4, "little") * (PAYLOAD // 4)
            self.attempted.append(payload)
            self.writer.append(payload, 1, 5, 6, 7)
            if sync:
                self.writer.sync()
                self.promised = list(self.attempted)

    def reboot(self, rng: random.Random | None = None) -> None:
        self.disk.power_cut(rng)
        self.boot += 1

    def content(self) -> list[bytes]:
        return [frame.payload for frame in frames(self.disk, "intake")]

    def reader(self, position: Position | None = None) -> JournalReader:
        return JournalReader(self.disk, "intake", position, self.mark, self.boot)


def all_of(reader: JournalReader) -> list[bytes]:
    found: list[bytes] = []
    while batch := reader.read():
        found += [frame.payload for frame in batch]
    return found


# -- appending and reading --------------------------------------------------------------------------------------------


def test_what_was_appended_is_read_back_across_segments_and_lives() -> None:
    log = Log()
    log.add(50)
    log.writer.close()
    log.open()
    log.add(50)
    assert log.content() == log.promised
    assert [frame.sequence for frame in frames(log.disk, "intake")] == list(range(1, 101))
    assert len(segments(log.disk, "intake")) > 4


def test_a_frame_tells_its_times_its_place_and_the_other_journals_sequence() -> None:
    log = Log()
    log.add(2)
    first, second = frames(log.disk, "intake")
    assert (first.wall_ns, first.mono_ns, first.input, first.records, first.generation) == (5, 6, 7, 1, 1)
    assert (first.offset, first.end, second.offset) == (0, FRAME.size + PAYLOAD, FRAME.size + PAYLOAD)


def test_a_reader_stops_at_what_is_durable_and_goes_on_from_there() -> None:
    log = Log()
    reader = log.reader()
    assert reader.read() == []
    log.add(3)
    log.add(2, sync=False)
    assert reader.ready()
    assert all_of(reader) == log.promised
    assert not reader.ready()
    log.writer.sync()
    assert all_of(reader) == log.attempted[3:]


def test_with_process_durability_what_was_appended_is_readable_at_once_without_a_sync() -> None:
    log = Log(durability="process")
    log.disk.before = lambda what, name: pytest.fail(what) if what == "sync" else None
    log.add(40, sync=False)
    log.writer.sync()
    assert all_of(log.reader()) == log.attempted


def test_a_reader_that_knows_its_place_goes_on_there_also_after_the_writer_has_lived_again() -> None:
    log = Log()
    log.add(30)
    reader = log.reader()
    all_of(reader)
    position, sequence = reader.position, reader.sequence
    log.open()
    log.add(30)
    later = log.reader()
    later.seek(position, sequence)
    assert all_of(later) == log.attempted[30:]
    assert all_of(reader) == log.attempted[30:]
    assert later.sequence == 61


def test_a_frame_above_the_read_size_is_read_whole() -> None:
    log = Log(segment=1 << 20)
    payload = os.urandom(300_000)
    log.writer.append(payload, 1, 0, 0)
    log.writer.sync()
    assert [frame.payload for frame in log.reader().read(1000)] == [payload]


def test_a_frame_that_fits_no_segment_is_refused_and_changes_nothing() -> None:
    log = Log()
    with pytest.raises(JournalError, match="above the segment's 4096"):
        log.writer.append(bytes(SEGMENT), 1, 0, 0)
    log.add()
    assert log.content() == log.promised


def test_the_marks_of_another_boot_are_not_believed() -> None:
    log = Log()
    log.add(3)
    log.boot = 2
    assert all_of(log.reader()) == log.promised
    assert log.reader().durable() is None


def test_a_folder_without_a_journal_has_nothing_to_read() -> None:
    assert JournalReader(FakeDisk(), "intake").read() == []


def test_two_roles_in_one_folder_do_not_see_each_other() -> None:
    log = Log()
    log.add(3)
    other = JournalWriter(log.disk, "sender", durability="power", segment_bytes=SEGMENT, desk=7, boot=1, wall_ns=0,
                          mark=[0] * MARK_WORDS)  # fmt: skip
    other.append(b"x" * 32, 1, 0, 0)
    assert log.content() == log.promised


def test_on_a_real_file_system_it_is_the_same(tmp_path: Path) -> None:
    log = Log(OsDisk(tmp_path / "journal"))
    log.add(60)
    log.writer.prepare()
    log.open()
    log.add(3)
    log.writer.close()
    assert log.content() == log.promised
    assert sum(path.stat().st_size for path in (tmp_path / "journal").iterdir()) < 5 * SEGMENT
    assert not [path for path in (tmp_path / "journal").iterdir() if path.suffix != ".journal"]


# -- torn tails -------------------------------------------------------------------------------------------------------


def test_a_tail_torn_at_any_byte_of_the_last_three_frames_leaves_the_longest_valid_prefix() -> None:
    log = Log()
    log.add(4)
    log.add(3, sync=False)
    size = FRAME.size + PAYLOAD
    name = segments(log.disk, "intake")[-1].name
    for cut in range(3 * size):
        disk = log.disk.copy()
        data = disk.bytes_of(name)
        begin = HEAD.size + 4 * size + cut
        data[begin:] = bytes(len(data) - begin)
        twin = Log(disk, boot=2)
        assert twin.content() == log.attempted[: 4 + cut // size], f"torn at byte {cut}"
        twin.writer.append(b"z" * 32, 1, 0, 0)
        assert twin.content()[-1] == b"z" * 32


def test_a_cut_tail_is_reported_and_a_new_life_cannot_be_taken_for_the_old_one() -> None:
    log = Log()
    log.add(3)
    reader = log.reader()
    all_of(reader)
    log.add(2, sync=False)
    log.reboot(random.Random(3))
    writer = log.open()
    assert not writer.recovered.same_boot
    assert writer.generation == 2
    assert writer.sequence == len(log.content()) + 1


@pytest.mark.parametrize("durability", ["power", "process"])
def test_after_a_kill_at_any_call_of_the_writer_everything_promised_is_there(durability: str) -> None:
    for number in range(1, 90):
        for after in (False, True):
            log = Log(durability=durability)
            log.disk.at_call(number, Killed(), after=after)
            try:
                log.add(30)
            except Killed:
                pass
            log.disk.calm()
            log.open()
            content = log.content()
            assert content == log.attempted[: len(content)]
            assert len(content) >= len(log.promised)
            log.attempted = list(content)
            log.add(3)
            assert log.content() == log.attempted


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60), st.booleans())
def test_after_a_power_cut_at_any_call_everything_promised_under_power_is_there(
    seed: int, number: int, after: bool
) -> None:
    rng = random.Random(seed)
    log = Log()
    for _ in range(3):
        log.disk.at_call(rng.randint(1, number), Killed(), after=after)
        try:
            while len(log.attempted) < 200:
                log.add(rng.randint(1, 4), sync=False)
                log.writer.sync()
                log.promised = list(log.attempted)
        except Killed:
            pass
        log.disk.calm()
        log.reboot(rng)
        log.open()
        content = log.content()
        assert content == log.attempted[: len(content)]
        assert len(content) >= len(log.promised)
        log.attempted, log.promised = list(content), list(content)
    assert log.writer.sequence == len(log.promised) + 1


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_after_a_power_cut_without_power_durability_a_prefix_is_left_and_the_journal_goes_on(seed: int) -> None:
    rng = random.Random(seed)
    log = Log(durability="process")
    seen: list[Position] = []
    for _ in range(3):
        log.add(rng.randint(0, 70))
        reader = log.reader()
        all_of(reader)
        seen.append(reader.position)
        log.reboot(rng)
        log.open()
        content = log.content()
        assert content == log.attempted[: len(content)]
        log.attempted, log.promised = list(content), list(content)
        end = Position(log.writer.generation, log.writer.offset)
        for position in seen:  # wherever a reader was: it goes on, or is told that it is ahead
            try:
                found = all_of(log.reader(position))
            except ReaderAhead:
                assert position.offset > min(s.start for s in segments(log.disk, "intake") if s.position > position)
            else:
                assert position.offset + sum(len(p) + FRAME.size for p in found) == end.offset


def test_a_run_with_power_after_a_run_without_leaves_nothing_unsynced() -> None:
    log = Log(durability="process")
    log.add(50)
    log.durability = "power"
    log.open()
    log.reboot()
    log.open()
    assert log.content() == log.attempted


def test_a_sync_that_failed_is_not_believed_after_a_restart_either() -> None:
    log = Log()
    log.add(3)
    log.disk.at_call(1, OSError(errno.EIO, "Input/output error"), "sync")
    with pytest.raises(JournalFailed, match="sync at offset"):
        log.add()
    log.disk.calm()
    log.open()
    content = log.content()  # the page cache still has it, and the kernel calls it clean
    log.writer.sync()
    log.reboot()
    log.open()
    assert log.content() == content


# -- damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", [0, 7, 20, 45])
@pytest.mark.parametrize("byte", [0, 5, 9, 13, 30, FRAME.size + 1])
def test_a_bit_flipped_below_what_was_durable_is_refused_by_name_and_nothing_is_cut(frame: int, byte: int) -> None:
    log = Log()
    log.add(50)
    found = list(frames(log.disk, "intake"))[frame]
    segment = [s for s in segments(log.disk, "intake") if s.start <= found.offset][-1]
    data = log.disk.bytes_of(segment.name)
    data[HEAD.size + found.offset - segment.start + byte] ^= 1
    size = len(data)
    log.boot = 2  # the shared words are of no use
    with pytest.raises(JournalCorrupt, match=segment.name):
        log.open() and log.content()
    assert len(log.disk.bytes_of(segment.name)) == size


def test_a_reader_refuses_a_damaged_frame_below_the_durable_mark() -> None:
    log = Log()
    log.add(5)
    name = segments(log.disk, "intake")[0].name
    log.disk.bytes_of(name)[HEAD.size + 2 * (FRAME.size + PAYLOAD) + 70] ^= 1
    reader = log.reader()
    assert [frame.sequence for frame in reader.read()] == [1, 2]
    with pytest.raises(JournalCorrupt, match=name):
        reader.read()


def test_a_damaged_head_another_version_and_a_renamed_file_are_told_apart() -> None:
    log = Log()
    log.add(1)
    name = segments(log.disk, "intake")[0].name
    head = log.disk.bytes_of(name)
    head[40] ^= 1
    with pytest.raises(JournalCorrupt, match="its head does not check out"):
        log.open()
    head[40] ^= 1
    head[8] = 9
    with pytest.raises(JournalError, match="version 9, this program speaks 1: stop the desk with the release that"):
        log.open()
    head[8] = 1
    log.disk.rename(name, name.replace("00000001", "00000005"))
    with pytest.raises(JournalCorrupt, match="was it renamed"):
        log.open()


def test_a_new_record_version_is_a_new_journal_version() -> None:
    """Who raises one raises the other: a reader looks at the segment's only (docs/decisions, upgrades)."""
    assert (record.VERSION, journal_format.VERSION) == (1, 1)


# -- full and failing disks -------------------------------------------------------------------------------------------


def test_a_full_disk_is_known_before_anything_is_accepted_and_later_it_works_again() -> None:
    disk = FakeDisk(free=3 * SEGMENT)
    log = Log(disk)

    def fill() -> None:
        while True:
            log.writer.reserve(FRAME.size + PAYLOAD)
            log.add()

    with pytest.raises(JournalFull, match="free some space"):
        fill()
    assert len(log.promised) > 45
    assert log.content() == log.promised
    disk.free = SEGMENT
    log.writer.reserve(FRAME.size + PAYLOAD)
    log.add(5)
    assert log.content() == log.promised


def test_what_room_says_can_be_appended_for_certain() -> None:
    disk = FakeDisk(free=2 * SEGMENT)
    log = Log(disk)
    log.writer.prepare()
    assert disk.free == 0
    room = log.writer.room()
    assert room == 2 * (SEGMENT - HEAD.size)
    log.add(2 * ((SEGMENT - HEAD.size) // (FRAME.size + PAYLOAD)))
    assert log.content() == log.promised
    assert log.writer.room() < FRAME.size + PAYLOAD


def test_a_spare_is_wanted_once_half_of_the_segment_is_used_and_a_roll_takes_it() -> None:
    log = Log()
    assert not log.writer.wants_spare()
    while not log.writer.wants_spare():
        log.add()
    assert log.writer.offset >= SEGMENT // 2 - FRAME.size - PAYLOAD
    log.writer.prepare()
    assert "intake.spare" in log.disk.names()
    created = [0]
    log.disk.before = lambda what, name: created.append(1) if what == "create" else None
    log.add(12)
    assert sum(created) == 0
    assert "intake.spare" not in log.disk.names()
    assert log.content() == log.promised


@pytest.mark.parametrize(("what", "said"), [("pwrite", "write"), ("sync", "sync")])
def test_an_error_of_the_disk_stops_the_writer_for_good(what: str, said: str) -> None:
    log = Log()
    log.add(3)
    log.disk.at_call(1, OSError(errno.EIO, "Input/output error"), what)
    with pytest.raises(JournalFailed, match=f"intake: {said} at offset .*Input/output error"):
        log.add()
    log.disk.calm()
    with pytest.raises(JournalFailed):
        log.writer.append(b"x" * 32, 1, 0, 0)
    with pytest.raises(JournalFailed):
        log.writer.sync()


def test_an_error_at_any_call_leaves_a_journal_that_the_next_life_can_use() -> None:
    for number in range(1, 80):
        log = Log()
        log.disk.at_call(number, OSError(errno.EIO, "Input/output error"))
        try:
            log.add(30)
        except JournalFailed:
            pass
        log.disk.calm()
        log.open()
        content = log.content()
        assert content == log.attempted[: len(content)]
        assert len(content) >= len(log.promised)


# -- positions --------------------------------------------------------------------------------------------------------


def test_a_reader_beyond_the_valid_end_is_told_so_by_name() -> None:
    log = Log(durability="process")
    log.add(10)
    reader = log.reader()
    all_of(reader)
    log.reboot()
    log.open()
    with pytest.raises(ReaderAhead, match="beyond generation 1, which ended at 0"):
        log.reader(reader.position).read()
    log.add(20)
    with pytest.raises(ReaderAhead):
        log.reader(reader.position).read()
    with pytest.raises(ReaderAhead, match="in no segment"):
        log.reader(Position(9, 0)).read()
    with pytest.raises(ReaderAhead, match="there is no journal"):
        JournalReader(FakeDisk(), "intake", Position(1, 32)).read()


def test_retention_removes_only_what_lies_wholly_below_and_says_who_comes_too_late() -> None:
    log = Log()
    log.add(60)
    found = segments(log.disk, "intake")
    middle = found[2].position
    gone = remove_below(log.disk, "intake", Position(middle.generation, middle.offset + 5))
    assert gone == [s.name for s in found[:2]]
    assert all_of(log.reader(middle)) == log.promised[found[2].sequence - 1 :]
    assert all_of(log.reader()) == log.promised[found[2].sequence - 1 :]
    with pytest.raises(ReaderBehind, match="move what holds it away"):
        log.reader(found[1].position).read()
    assert remove_below(log.disk, "intake", log.writer.position) == [s.name for s in found[2:-1]]


def test_retention_keeps_the_segment_at_whose_end_a_position_stands() -> None:
    log = Log()
    log.add(5)
    end = log.writer.position
    log.open()
    log.add(5)
    assert remove_below(log.disk, "intake", end) == []
    assert all_of(log.reader(end)) == log.promised[5:]


def test_a_restart_in_the_same_boot_believes_the_shared_words_only_if_they_belong_together() -> None:
    for spoil in (None, MARK_CHECK, MARK_GENERATION, MARK_DURABLE):
        log = Log()
        log.add(5)
        log.add(2, sync=False)
        if spoil is not None:
            log.mark[spoil] ^= 64
        writer = log.open()
        assert (writer.sequence, writer.generation) == (8, 2)
        assert log.content() == log.attempted


class DyingWords(list[int]):
    """Shared words of a process that dies at its n-th store."""

    left = 1 << 30

    def __setitem__(self, index: Any, value: Any) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed
        super().__setitem__(index, value)


@pytest.mark.parametrize("durability", ["power", "process"])
def test_a_kill_between_two_stores_of_the_shared_words_does_no_harm(durability: str) -> None:
    for number in range(1, 14):
        log = Log(durability=durability)
        log.add(3)
        log.mark = DyingWords(log.mark)
        log.open()
        log.mark.left = number
        with pytest.raises(Killed):
            log.add(3)
        log.mark = list(log.mark)
        log.open()
        content = log.content()
        assert content == log.attempted[: len(content)]
        assert len(content) >= len(log.promised)
        assert log.writer.sequence == len(content) + 1
        log.writer.append(b"x" * 32, 1, 0, 0)
        assert [frame.sequence for frame in frames(log.disk, "intake")] == list(range(1, len(content) + 2))


def test_a_generation_that_was_lost_with_its_segments_is_never_used_again() -> None:
    log = Log(durability="process")
    log.add(30)
    log.open()
    log.add(5)
    reader = log.reader()
    all_of(reader)
    first = segments(log.disk, "intake")[0]
    log.disk.bytes_of(first.name)[HEAD.size : HEAD.size + 64] = bytes(64)  # never reached the medium
    log.boot = 2
    log.disk.at_call(1, Killed(), "create")
    with pytest.raises(Killed):
        log.open()
    log.disk.calm()
    assert [name for name in log.disk.names() if name.endswith(".lost")]
    assert log.open().generation == 3
    assert log.content() == []
    with pytest.raises(ReaderAhead):
        log.reader(reader.position).read()


def test_recovery_gives_the_space_behind_the_valid_end_back() -> None:
    log = Log()
    log.add(2)
    name = segments(log.disk, "intake")[0].name
    log.open()
    assert len(log.disk.bytes_of(name)) == HEAD.size + 2 * (FRAME.size + PAYLOAD)
