"""cat, verify, stat: on journals at rest, damaged, and while they are written."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from oms_actors import journal_tools as tools
from oms_actors.edges.disk import OsFile
from oms_actors.edges.journal import JournalCorrupt
from oms_actors.messages import Kind
from tests.support.journals import START_NS, Script, mixed_day, open_script


@pytest.fixture
def day(tmp_path: Path) -> Script:
    script = open_script(tmp_path, segment_bytes=1 << 14, durability="power")
    mixed_day(script, 200, 3)
    return script


def test_cat_shows_every_record_with_names_and_decimals(day: Script, tmp_path: Path) -> None:
    order = day.new("LAST", quantity=7)
    day.send(order)
    day.ack(order)
    day.flush()
    found = list(tools.cat(tmp_path, "intake"))
    assert [entry.sequence for entry in found] == list(range(1, day.intake.sequence))
    new = found[-1]
    assert new.kind == "NEW"
    assert new.wall_ns == START_NS + day.now - 1_000_000
    assert new.fields == {
        "side": "BUY", "order_type": "LIMIT", "upstream": 1, "quantity": "7", "price": "585.33",
        "receive_time_ns": new.fields["receive_time_ns"], "client_order_id": "LAST", "symbol": "AAPL",
        "order_number": order.number,
    }  # fmt: skip
    kinds = {entry.kind for entry in tools.cat(tmp_path, "sender")}
    assert {"INTENT_NEW", "RESULT", "REPORT", "SESSION", "TEXT"} <= kinds <= {kind.name for kind in Kind}


def test_cat_begins_and_ends_where_it_is_told(day: Script, tmp_path: Path) -> None:
    found = list(tools.cat(tmp_path, "sender", first=100, limit=7))
    assert [entry.sequence for entry in found] == list(range(100, 107))
    assert found == list(tools.cat(tmp_path, "sender"))[99:106]
    assert list(tools.cat(tmp_path, "sender", first=day.sender.sequence)) == []
    assert list(tools.cat(tmp_path, "nobody")) == []


def test_a_frame_that_is_no_records_is_shown_as_such(day: Script, tmp_path: Path) -> None:
    day.intake.append(bytes(64), 1, 5, 5)
    assert list(tools.cat(tmp_path, "intake"))[-1].fields == {"error": "no record at byte 0 of 64: kind 0"}


def test_verify_counts_everything_and_finds_nothing_wrong_while_the_writer_runs(day: Script, tmp_path: Path) -> None:
    found = tools.verify(tmp_path, "sender")
    assert found.problems == []
    assert found.records == day.sender.sequence - 1
    assert (found.next_sequence, found.tail_bytes, found.lost) == (day.sender.sequence, 0, [])
    assert found.segments == len(tools.stat(tmp_path, "sender")) > 1
    assert tools.roles(tmp_path) == ["intake", "sender"]


def test_verify_tells_a_torn_tail_from_damage(day: Script, tmp_path: Path) -> None:
    stats = tools.stat(tmp_path, "sender")
    last, early = tmp_path / stats[-1].name, tmp_path / stats[0].name
    data = bytearray(last.read_bytes())
    data[stats[-1].used_bytes : stats[-1].used_bytes + 100] = b"x" * 100
    last.write_bytes(data)
    assert tools.verify(tmp_path, "sender").problems == []
    assert tools.verify(tmp_path, "sender").tail_bytes == 100
    data = bytearray(early.read_bytes())
    data[300] ^= 1
    early.write_bytes(data)
    found = tools.verify(tmp_path, "sender")
    assert [problem.partition(":")[0] for problem in found.problems] == [early.name]
    with pytest.raises(JournalCorrupt, match=early.name):
        list(tools.cat(tmp_path, "sender"))


def test_damage_in_the_midst_of_the_last_segment_is_not_taken_for_its_end(day: Script, tmp_path: Path) -> None:
    last = tools.stat(tmp_path, "sender")[-1]
    assert last.frames > 2
    path = tmp_path / last.name
    data = bytearray(path.read_bytes())
    data[300] ^= 1
    path.write_bytes(data)
    with pytest.raises(JournalCorrupt, match=f"{last.name}: .* was durable and does not check out: restore the file"):
        list(tools.cat(tmp_path, "sender"))
    assert len(list(tools.cat(tmp_path, "sender", limit=5))) == 5


def test_a_frame_written_while_it_is_looked_at_is_no_damage(
    day: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = tools.stat(tmp_path, "sender")[-1]
    looks = []

    def pread(self: OsFile, size: int, at: int) -> bytes:
        data = read(self, size, at)
        looks.append(size)
        return data[:200] + bytes(200) + data[400:] if size == last.file_bytes and len(looks) == 1 else data

    read = OsFile.pread
    monkeypatch.setattr(OsFile, "pread", pread)
    assert [each.problem for each in tools.stat(tmp_path, "sender")] == [""] * len(tools.stat(tmp_path, "sender"))


def test_verify_misses_a_segment_that_is_gone_and_names_a_head_that_is_bad(day: Script, tmp_path: Path) -> None:
    stats = tools.stat(tmp_path, "intake")
    (tmp_path / stats[1].name).unlink()
    assert "ends at offset" in tools.verify(tmp_path, "intake").problems[0]
    (tmp_path / stats[0].name).write_bytes(b"nothing")
    assert "a segment's head" in tools.verify(tmp_path, "intake").problems[0]


def test_stat_tells_how_far_each_segment_reaches(day: Script, tmp_path: Path) -> None:
    stats = tools.stat(tmp_path, "intake")
    for before, after in pairwise(stats):
        assert before.next_sequence == after.first_sequence
        assert before.last_wall_ns <= after.first_wall_ns
    assert stats[-1].next_sequence == day.intake.sequence
    assert all(each.file_bytes == 1 << 14 for each in stats)
